//! The gateway.

pub mod dev;
