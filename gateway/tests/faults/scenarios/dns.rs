//! Instances found by name, and name servers in trouble: what was found stays.

use super::{Scenario, row};
use crate::name_server::{Mood, NameServer};
use crate::report::Expected::AllServed;
use crate::report::Played;
use crate::stage::{Form, Stage};

pub(super) const ROWS: &[Scenario] = &[
    row("DNS fails", AllServed, failing),
    row("DNS knows no such name", AllServed, forgetful),
    row("DNS is silent", AllServed, silent),
    row("DNS lists nobody", AllServed, empty),
];

fn failing(form: Form) -> Played {
    in_trouble(form, Mood::Failing)
}

fn forgetful(form: Form) -> Played {
    in_trouble(form, Mood::Forgetful)
}

fn silent(form: Form) -> Played {
    in_trouble(form, Mood::Silent)
}

fn empty(form: Form) -> Played {
    in_trouble(form, Mood::Empty)
}

/// For a while in which it is asked more than once, and well again.
fn in_trouble(form: Form, mood: Mood) -> Played {
    let mut stage = Stage::without_gateway(form);
    let server = NameServer::start(stage.addresses());
    stage.start_gateway_by_name(server.address());
    stage.play(|stage, load| {
        server.turns(mood);
        load.goes_on_for(stage.form.beat);
        server.turns(mood);
        load.goes_on_for(stage.form.beat / 2);
        server.turns(Mood::Good);
        load.goes_on_for(stage.form.beat / 2);
    })
}
