//! The words that every room shares.

pub mod percent;
pub mod rate;
pub mod reason;
pub mod rejection;
pub mod time;
pub mod units;
