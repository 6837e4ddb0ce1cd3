//! Sockets: what is read from them and written to them, and where each message begins and ends.

mod downstream;
mod input;
mod lines;
mod options;
mod output;
mod reader;
mod sender;
mod spares;

pub(crate) use downstream::{Arrival, ClientBody, Downstream};
pub(crate) use lines::{write_length, write_line};
pub(crate) use options::ConnectionOptions;
pub(crate) use output::Output;
pub(crate) use reader::Reader;
pub(crate) use sender::Sender;
pub(crate) use spares::{Spares, with_spares};
