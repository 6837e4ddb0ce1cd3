//! What is lost of the access log, and what is logged beside it.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Observed, sum};

pub(super) fn encode(observed: &Observed, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counts = observed.access_log.counts();
    let left_out = observed
        .workers
        .iter()
        .map(|cells| &cells.access_lines_left_out);
    for (name, help, count) in [
        (
            "gateway_access_log_lines_dropped",
            "Access lines lost to a slow output",
            counts.lines_dropped,
        ),
        (
            "gateway_access_log_lines_unwritten",
            "Access lines that the output refused, such as a full disk",
            counts.lines_unwritten,
        ),
        (
            "gateway_access_log_lines_left_out",
            "Requests without an access line, by the log's share or their route's",
            sum(left_out),
        ),
        (
            "gateway_access_log_reopened",
            "Times that the access log's file was opened anew",
            counts.reopened,
        ),
    ] {
        Family::counter(encoder, name, help)?.count(&[], count)?;
    }
    let is_other = observed
        .log_level
        .as_ref()
        .is_some_and(|level| level.other().is_some());
    for (name, help, value) in [
        (
            "gateway_access_log_failing",
            "1 while the access log refuses lines or cannot be opened anew",
            counts.is_failing,
        ),
        (
            "gateway_log_level_changed",
            "1 while another log filter than that of the start is in force",
            is_other,
        ),
    ] {
        Family::gauge(encoder, name, help)?.set(&[], value.into())?;
    }
    Ok(())
}
