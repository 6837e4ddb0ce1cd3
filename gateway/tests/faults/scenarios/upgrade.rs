//! A gateway that is replaced where it stands, by processes that take over its sockets.

use super::{Scenario, row};
use crate::report::Expected::AllServed;
use crate::report::Played;
use crate::stage::{Form, Stage};

pub(super) const ROWS: &[Scenario] = &[row("gateway upgrade", AllServed, upgrade)];

/// Upgrades, each begun when the last has come to its end.
const UPGRADES: usize = 3;

/// The client notices nothing but that connections end with an answer.
fn upgrade(form: Form) -> Played {
    Stage::with_replaceable_gateway(form).play(|stage, load| {
        for _ in 0..UPGRADES {
            let old = stage.upgrade_gateway();
            load.goes_on_for(stage.form.beat);
            old.has_left();
        }
    })
}
