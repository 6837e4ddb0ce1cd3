//! Sockets: what is read from them and written to them, and checked before any parser sees it.

mod framed;
mod input;
mod output;

pub(crate) use framed::{ConnectionState, Downstream, NEVER, Phase, Violation};
pub(crate) use input::Input;
pub(crate) use output::Output;
