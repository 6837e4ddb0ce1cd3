//! Differences for people.

use std::fmt::Write as _;

use gateway_core::config::Visible;
use gateway_core::diff::{Aspect, Change, Difference, OptionChange, Place, Value};

use super::Told;
use super::replay::Replayed;
use crate::cli::count;

/// Things that are shown; the JSON has all of them.
const THINGS_MAX: usize = 200;
/// Groups of requests that are shown.
const GROUPS_SHOWN_MAX: usize = 50;
/// Names in one line.
const NAMES_MAX: usize = 20;

pub(super) fn text(told: &Told<'_>) -> String {
    let mut out = String::new();
    let things = &told.differences.things;
    for thing in things.iter().take(THINGS_MAX) {
        one(&mut out, thing, &told.needs_restart);
    }
    if things.len() > THINGS_MAX {
        let rest = things.len() - THINGS_MAX;
        line(
            &mut out,
            &format!("… and {rest} more; `--format json` has all"),
        );
    }
    let reordered = &told.differences.reordered;
    if !reordered.is_empty() {
        let names: Vec<_> = reordered.iter().take(NAMES_MAX).map(|it| &**it).collect();
        let more = match reordered.len() - names.len() {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        let what = format!(
            "in another order, which changes nothing: {}{more}",
            names.join(", ")
        );
        line(&mut out, &what);
    }
    line(&mut out, &summary(told));
    if let Some(replayed) = &told.replayed {
        replay(&mut out, replayed);
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to memory does not fail.
    let _ = writeln!(out, "{}", Visible(text));
}

fn summary(told: &Told<'_>) -> String {
    let things = &told.differences.things;
    let of = |change: Change| things.iter().filter(|it| it.change == change).count();
    if things.is_empty() {
        return "both mean the same".to_owned();
    }
    format!(
        "{} changed, {} added, {} removed",
        of(Change::Changed),
        of(Change::Added),
        of(Change::Removed)
    )
}

fn one(out: &mut String, thing: &Difference, needs_restart: &[&str]) {
    let sign = match thing.change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    };
    let section = match thing.section {
        "routes" => "route",
        "upstreams" => "upstream",
        "jwt_providers" => "JWT provider",
        "api_keys" => "API keys",
        _ => "setting",
    };
    let places = [&thing.before, &thing.after].into_iter().flatten();
    let places: Vec<_> = places.map(shown).collect();
    let places = match places.as_slice() {
        [] => String::new(),
        places => format!(" ({})", places.join(" → ")),
    };
    let is_setting = thing.section == "settings";
    let waits = if is_setting && needs_restart.contains(&&*thing.name) {
        ": holds from the next start or `gateway upgrade` on"
    } else {
        ""
    };
    line(
        out,
        &format!("{sign} {section} `{}`{places}{waits}", thing.name),
    );
    for change in &thing.options {
        option(out, change);
    }
}

fn shown(place: &Place) -> String {
    format!("{}:{}", place.file, place.line)
}

fn option(out: &mut String, change: &OptionChange) {
    let by = if change.is_default {
        " (by `defaults`)"
    } else {
        ""
    };
    let words = |value: &Option<Value>| {
        let value = value.as_ref();
        value.map_or("not given".to_owned(), |it| format!("`{}`", it.text))
    };
    let what = match (&change.before, &change.after) {
        (None, None) => "means something else".to_owned(),
        (before, after) => format!("{} → {}", words(before), words(after)),
    };
    line(out, &format!("    {}: {what}{by}", change.option));
}

fn replay(out: &mut String, replayed: &Replayed) {
    let counts = &replayed.counts;
    let requests = count_of(counts.requests, "logged request");
    line(out, "");
    line(
        out,
        &format!(
            "of {requests}, {} would be treated otherwise",
            counts.changed
        ),
    );
    for group in replayed.groups.iter().take(GROUPS_SHOWN_MAX) {
        let changes: Vec<_> = group.changes.iter().map(aspect).collect();
        line(out, &format!("{:>8}  {}", group.count, changes.join("; ")));
        line(out, &format!("          such as {}", group.sample));
    }
    let hidden = replayed.groups.iter().skip(GROUPS_SHOWN_MAX);
    let hidden = hidden.map(|it| it.count).sum::<u64>() + counts.ungrouped;
    let left_out = &replayed.left_out;
    for (number, what) in [
        (hidden, "more in smaller groups"),
        (
            counts.uncertain,
            "may go elsewhere by a header or query, which the log does not have",
        ),
        (left_out.bad_lines, "left out: no JSON line of the gateway"),
        (left_out.long_lines, "left out: the line is too long"),
        (left_out.without_request, "left out: no method and path"),
    ] {
        if number > 0 {
            line(out, &format!("{number:>8}  {what}"));
        }
    }
    if left_out.is_cut {
        line(
            out,
            "the rest of the log was not read: it has too many lines",
        );
    }
}

fn aspect(aspect: &Aspect) -> String {
    let Aspect {
        what,
        before,
        after,
    } = aspect;
    let words = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    if before == after {
        return format!("{what}: {} otherwise", words(before));
    }
    format!("{what}: {} → {}", words(before), words(after))
}

fn count_of(number: u64, thing: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), thing)
}
