//! Decisions.

pub mod path;
pub mod route;
