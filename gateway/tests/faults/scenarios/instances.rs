//! Instances that die, hang, or cannot be reached.

use nix::sys::signal::Signal;

use super::{Scenario, row};
use crate::behaviour::Behaviour;
use crate::report::Expected::{AllServed, IdempotentServed};
use crate::report::Played;
use crate::stage::{Form, HANGING, Stage};

pub(super) const ROWS: &[Scenario] = &[
    row("steady", AllServed, steady),
    row("one killed, restarted", IdempotentServed, killed),
    row("one stopped, continued", IdempotentServed, stopped),
    row("one refuses", IdempotentServed, refuses),
];

fn steady(form: Form) -> Played {
    Stage::with_static_instances(form).play(|stage, load| load.goes_on_for(stage.form.beat))
}

fn killed(form: Form) -> Played {
    Stage::with_static_instances(form).play(|stage, load| {
        stage.instances[0].kill();
        load.goes_on_for(stage.form.beat);
        stage.instances[0].restart();
        stage.instances[0].is_used();
        load.goes_on_for(stage.form.beat / 2);
    })
}

/// Its connections stay open, and its system takes new ones: only time tells.
fn stopped(form: Form) -> Played {
    Stage::with_static_instances(form).play(|stage, load| {
        stage.instances[0].signal(Signal::SIGSTOP);
        load.goes_on_for(stage.form.beat.max(HANGING));
        stage.instances[0].signal(Signal::SIGCONT);
        load.goes_on_for(stage.form.beat);
    })
}

/// Closes its connections too, as a process does whose port was taken away.
fn refuses(form: Form) -> Played {
    Stage::with_static_instances(form).play(|stage, load| {
        stage.instances[0].behave(Behaviour::Refuse);
        load.goes_on_for(stage.form.beat);
        stage.instances[0].behave(Behaviour::Good);
        stage.instances[0].is_used();
        load.goes_on_for(stage.form.beat / 2);
    })
}
