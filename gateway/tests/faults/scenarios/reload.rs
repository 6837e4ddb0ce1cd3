//! Another routes file while requests are served.

use super::{Scenario, row};
use crate::report::Expected::AllServed;
use crate::report::Played;
use crate::stage::{Form, Stage};

pub(super) const ROWS: &[Scenario] = &[row("config reload", AllServed, good_bad_good)];

const APPLIED: &str = "another configuration is in force";
const REFUSED: &str = "the configuration is refused; the one before it stays in force";
/// Routes that nobody asks for, so that the file is another one.
const MORE: &str = "  - {name: more, match: {path: /more}, auth: none, respond: {status: 204}}\n";

/// Each good file changes what requests go by: routes, the choice of an endpoint, the endpoints.
fn good_bad_good(form: Form) -> Played {
    let stage = Stage::with_static_instances(form);
    stage.play(|stage, load| {
        let beat = stage.form.beat / 3;
        let all = stage.static_upstream();
        let two = stage.addresses().take(2).map(|it| format!("\"{it}\""));
        let two = two.collect::<Vec<_>>().join(", ");
        let files = [
            (format!("{all}, load_balancer: round_robin"), MORE, APPLIED),
            (all.clone(), "nonsense: 1\n", REFUSED),
            (format!("static: [{two}]"), "", APPLIED),
            (format!("{all}, statc: []"), "", REFUSED),
            (format!("{all}, limits: {{connections: 500}}"), "", APPLIED),
        ];
        for (upstream, more, told) in files {
            stage.write_routes(&upstream, more);
            stage.gateways[0].reload(told);
            load.goes_on_for(beat);
        }
    })
}
