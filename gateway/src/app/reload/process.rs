//! What a reload cannot change: settings of the process, not of the plan.

use gateway_core::file::Settings;

/// The sections of the routes file that say something else now than at the start, and that only
/// a new process goes by.
pub(crate) fn needs_restart(started: &Settings, now: &Settings) -> Vec<&'static str> {
    let sections = [
        ("listeners", started.listeners == now.listeners),
        (
            "admin",
            started.admin == now.admin && started.admin_token == now.admin_token,
        ),
        ("workers", started.workers == now.workers),
        ("tracing", started.tracing == now.tracing),
        ("limits", started.limits == now.limits),
        ("shutdown", started.shutdown == now.shutdown),
        ("upgrade", started.upgrade == now.upgrade),
        ("zone", started.zone == now.zone),
        (
            "state_directory",
            started.state_directory == now.state_directory,
        ),
    ];
    let changed = sections.iter().filter(|(_, is_same)| !is_same);
    changed.map(|(section, _)| *section).collect()
}
