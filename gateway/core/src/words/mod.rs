//! The vocabulary that every room shares.

pub mod reason;
pub mod rejection;
pub mod time;
