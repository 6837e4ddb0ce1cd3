//! Decisions.

pub mod config;
pub mod words;
