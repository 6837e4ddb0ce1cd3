//! Instances that live, and answer badly.

use super::{Scenario, row};
use crate::behaviour::Behaviour;
use crate::report::Expected::{AllServed, IdempotentServed, LoadBounded};
use crate::report::Played;
use crate::stage::{Form, HANGING, Stage};

/// Requests a second where each waits for all its tries: more would only be more that waits, and
/// with less the reserve of the retry budget would be seen.
const HANGING_RATE: u32 = 200;

pub(super) const ROWS: &[Scenario] = &[
    row("one hangs", IdempotentServed, hang),
    row(
        "one resets before the head",
        IdempotentServed,
        reset_before_head,
    ),
    row(
        "one resets after the head",
        IdempotentServed,
        reset_after_head,
    ),
    row("one sends half a body", IdempotentServed, half_body),
    row("one sends its body slowly", AllServed, slow_body),
    row("one sends garbage", IdempotentServed, garbage),
    row("one sends a head without end", IdempotentServed, long_head),
    row("one answers 503", IdempotentServed, unavailable),
    row("outage: all reset", LoadBounded, all_reset),
    row("outage: all hang", LoadBounded, all_hang),
    row("outage: all answer 503", LoadBounded, all_unavailable),
];

fn reset_before_head(form: Form) -> Played {
    one(form, Behaviour::ResetBeforeHead)
}

fn reset_after_head(form: Form) -> Played {
    one(form, Behaviour::ResetAfterHead)
}

fn half_body(form: Form) -> Played {
    one(form, Behaviour::HalfBody)
}

fn slow_body(form: Form) -> Played {
    one(form, Behaviour::SlowBody)
}

fn garbage(form: Form) -> Played {
    one(form, Behaviour::Garbage)
}

fn long_head(form: Form) -> Played {
    one(form, Behaviour::LongHead)
}

fn hang(form: Form) -> Played {
    let beat = form.beat.max(HANGING);
    one(Form { beat, ..form }, Behaviour::Hang)
}

fn unavailable(form: Form) -> Played {
    one(form, Behaviour::Unavailable)
}

/// One of three does so for a beat, and is good again.
fn one(form: Form, behaviour: Behaviour) -> Played {
    Stage::with_static_instances(form).play(|stage, load| {
        stage.instances[0].behave(behaviour);
        load.goes_on_for(stage.form.beat);
        stage.instances[0].behave(Behaviour::Good);
    })
}

fn all_reset(form: Form) -> Played {
    all(form, Behaviour::ResetBeforeHead)
}

fn all_hang(form: Form) -> Played {
    let rate = HANGING_RATE;
    all(Form { rate, ..form }, Behaviour::Hang)
}

fn all_unavailable(form: Form) -> Played {
    all(form, Behaviour::Unavailable)
}

/// From before the first request to after the last, so that all that is counted is the load on a
/// dead upstream. It listens, because nobody counts what a closed port refuses.
fn all(form: Form, behaviour: Behaviour) -> Played {
    let mut stage = Stage::with_static_instances(form);
    for instance in &mut stage.instances {
        instance.behave(behaviour);
    }
    stage.play(|stage, load| load.goes_on_for(stage.form.beat))
}
