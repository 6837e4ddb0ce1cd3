//! Instances found by Cloud Map: a deployment, and a Cloud Map in trouble.

use nix::sys::signal::Signal;

use super::{Scenario, row};
use crate::registry::{Mood, Registry};
use crate::report::Expected::{AllServed, IdempotentServed};
use crate::report::Played;
use crate::stage::{Form, Stage};

pub(super) const ROWS: &[Scenario] = &[
    row("rolling restart", AllServed, rolling_restart),
    row("Cloud Map throttles", AllServed, throttled),
    row("Cloud Map fails", AllServed, failing),
    row(
        "Cloud Map fails, one killed",
        IdempotentServed,
        failing_and_one_killed,
    ),
    row("Cloud Map is silent", AllServed, silent),
    row("Cloud Map lists nobody", AllServed, empty),
];

/// Questions after which the gateway has read what the registry says: the first of them may
/// have been under way.
const SEEN: u64 = 3;

fn open(form: Form) -> (Stage, Registry) {
    let mut stage = Stage::without_gateway(form);
    let registry = Registry::start(stage.addresses());
    stage.start_gateway_by_cloud_map(&registry.url());
    (stage, registry)
}

/// As ECS does it: a new task is registered before an old one is deregistered and told to leave,
/// at the same moment.
fn rolling_restart(form: Form) -> Played {
    let (stage, registry) = open(form);
    stage.play(|stage, load| {
        let old = std::mem::take(&mut stage.instances);
        let mut leaving = Vec::new();
        for instance in old {
            let new = stage.start_instance();
            registry.register(new.address());
            stage.instances.push(new);
            load.goes_on_for(stage.form.beat / 2);
            registry.deregister(instance.address());
            instance.signal(Signal::SIGTERM);
            leaving.push(instance);
            load.goes_on_for(stage.form.beat / 2);
        }
        registry.is_asked(SEEN);
        for instance in &mut leaving {
            instance.has_left();
        }
    })
}

fn throttled(form: Form) -> Played {
    in_trouble(form, Mood::Throttled)
}

fn failing(form: Form) -> Played {
    in_trouble(form, Mood::Failing)
}

fn silent(form: Form) -> Played {
    in_trouble(form, Mood::Silent)
}

fn empty(form: Form) -> Played {
    in_trouble(form, Mood::Empty)
}

/// Who cannot learn that an instance is gone must find out.
fn failing_and_one_killed(form: Form) -> Played {
    let (stage, registry) = open(form);
    stage.play(|stage, load| {
        registry.turns(Mood::Failing);
        stage.instances[0].kill();
        load.goes_on_for(stage.form.beat);
    })
}

/// To the end, which is after the gateway has been told of it.
fn in_trouble(form: Form, mood: Mood) -> Played {
    let (stage, registry) = open(form);
    stage.play(|stage, load| {
        registry.turns(mood);
        load.goes_on_for(stage.form.beat);
    })
}
