//! The scenarios, one file a subject; each is a row of the table.
//!
//! To add one: a function that opens a [`Stage`](crate::stage::Stage) and plays, and its line in
//! the `ROWS` of its file; a file of its own goes into [`all`].

mod answers;
mod cloud_map;
mod dns;
mod instances;
mod leaving;
#[cfg(feature = "real-parts")]
mod moto;
mod reload;
mod upgrade;

use crate::report::{Expected, Played};
use crate::stage::Form;

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) expected: Expected,
    pub(crate) play: fn(Form) -> Played,
}

const fn row(name: &'static str, expected: Expected, play: fn(Form) -> Played) -> Scenario {
    Scenario {
        name,
        expected,
        play,
    }
}

/// All scenarios, in the order in which they are played.
pub(crate) fn all() -> Vec<Scenario> {
    let files = [
        instances::ROWS,
        answers::ROWS,
        cloud_map::ROWS,
        dns::ROWS,
        #[cfg(feature = "real-parts")]
        moto::ROWS,
        leaving::ROWS,
        upgrade::ROWS,
        reload::ROWS,
    ];
    files.concat()
}
