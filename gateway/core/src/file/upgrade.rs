//! `upgrade:` a new process takes over from a running one; see `docs/upgrading.md`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use crate::words::units::HumanDuration;

/// How a new process takes over, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeSpec {
    /// The path of the unix socket at which the running process hands over, at most 107 bytes,
    /// in a directory that only its owner may write to, such as `/run/gateway/upgrade.sock`.
    pub socket: String,
    /// Time in which the new process must be ready, 1 s to 1 h; default 60 s. If it is not, it
    /// ends, and the running one goes on.
    #[serde(default)]
    pub timeout: Option<HumanDuration>,
}

/// How a new process takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The path of the unix socket.
    pub socket: String,
    /// Time in which the new process must be ready.
    pub timeout: Duration,
}

/// What the system takes for the path of a unix socket (`sun_path`, unix(7)), without its end.
const SOCKET_BYTES_MAX: usize = 107;

impl UpgradeSpec {
    pub(super) fn compile(&self, check: &mut Checker<'_>) -> Upgrade {
        let at = "upgrade.socket";
        let bytes = self.socket.len();
        // Relative to what, would be the question: the process that asks may stand elsewhere.
        if !self.socket.starts_with('/') {
            check.problem(
                at,
                format!("`{}` is not an absolute path", self.socket),
                Some("write one, such as `/run/gateway/upgrade.sock`".into()),
            );
        } else if bytes > SOCKET_BYTES_MAX {
            check.problem(
                at,
                format!("the path has {bytes} bytes, and the system takes {SOCKET_BYTES_MAX}"),
                Some("choose a directory nearer to the root, such as `/run/gateway`".into()),
            );
        }
        Upgrade {
            socket: self.socket.clone(),
            timeout: check.duration(
                "upgrade.timeout",
                self.timeout,
                Duration::from_mins(1),
                Duration::from_secs(1)..=Duration::from_hours(1),
            ),
        }
    }
}
