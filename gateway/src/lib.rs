//! The gateway's shell.
pub mod discovery;
