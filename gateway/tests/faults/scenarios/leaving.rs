//! A gateway that leaves while another stays, behind a load balancer.

use super::{Scenario, row};
use crate::report::Expected::AllServed;
use crate::report::Played;
use crate::stage::{Form, Stage};
use crate::support::eventually;

pub(super) const ROWS: &[Scenario] = &[row("one of two gateways leaves", AllServed, one_of_two)];

/// The client is the load balancer: it opens no more connections to a gateway that is not ready,
/// and goes on with those that it has, until they are closed.
fn one_of_two(form: Form) -> Played {
    let mut stage = Stage::with_static_instances(form);
    stage.start_another_gateway();
    stage.play(|stage, load| {
        let leaving = stage.gateways.remove(0);
        leaving.terminate();
        eventually("it is not ready", || (!leaving.is_ready()).then_some(()));
        load.goes_to(vec![stage.gateways[0].address]);
        load.goes_on_for(stage.form.beat);
        leaving.has_left();
    })
}
