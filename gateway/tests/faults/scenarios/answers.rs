//! Instances that live, and answer badly.

use super::{Scenario, row};
use crate::behaviour::Behaviour;
use crate::report::Expected::{AllServed, IdempotentServed, LoadBounded};
use crate::report::Played;
use crate::report::Standing::{Asserted, Measured};
use crate::stage::{Form, HANGING, Stage};

/// What ends when its answer has begun cannot be asked for again: the instance must be left out.
const EJECTION: &str = "a bound: the first answers break off before the endpoint is left out";
const RETRY_ON_INVALID: &str = "retries of what was answered with no valid HTTP";
const RETRY_ON_STATUS: &str = "503 under `retry_on` in the suite's file";
const BUDGET: &str = "a longer run: what was saved before may be spent in the first two seconds";

/// Requests a second where each waits for all its tries: more would only be more that waits.
const HANGING_RATE: u32 = 100;

pub(super) const ROWS: &[Scenario] = &[
    row("one hangs", Asserted(IdempotentServed), hang),
    row(
        "one resets before the head",
        Asserted(IdempotentServed),
        reset_before_head,
    ),
    row(
        "one resets after the head",
        Measured(IdempotentServed, EJECTION),
        reset_after_head,
    ),
    row(
        "one sends half a body",
        Measured(IdempotentServed, EJECTION),
        half_body,
    ),
    row("one sends its body slowly", Asserted(AllServed), slow_body),
    row(
        "one sends garbage",
        Measured(IdempotentServed, RETRY_ON_INVALID),
        garbage,
    ),
    row(
        "one sends a head without end",
        Measured(IdempotentServed, RETRY_ON_INVALID),
        long_head,
    ),
    row(
        "one answers 503",
        Measured(IdempotentServed, RETRY_ON_STATUS),
        unavailable,
    ),
    row(
        "outage: all reset",
        Measured(LoadBounded, BUDGET),
        all_reset,
    ),
    row("outage: all hang", Measured(LoadBounded, BUDGET), all_hang),
    row(
        "outage: all answer 503",
        Asserted(LoadBounded),
        all_unavailable,
    ),
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
