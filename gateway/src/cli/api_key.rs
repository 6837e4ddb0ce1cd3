//! `gateway api-key`: keys for clients that cannot get tokens.

mod options;
mod store;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use aws_lc_rs::rand;
use clap::Subcommand;
use gateway_core::auth::api_keys::edit::{NewEntry, append, remove};
use gateway_core::auth::api_keys::{ApiKey, ApiKeys, NewKey, SECRET_BYTES};
use gateway_core::config::Source;
use gateway_core::words::time::{Date, UnixSeconds};

use super::{read_text, tell, tell_error};
use options::{ListArgs, NewArgs, RemoveArgs};

/// Problems of a file that are told at once.
const PROBLEMS_TOLD_MAX: usize = 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key: it goes to standard output, alone and this once.
    ///
    /// The file of keys holds a hash of it. Without `--file` the entry to add to that file goes to
    /// standard error; with `--file` it is added there, and a running gateway takes it up within
    /// seconds.
    #[command(
        after_help = "Example: gateway api-key new --id partner-a --scope users:read \
                            --expires 90d --file api-keys.yaml | pass insert -m partner-a"
    )]
    New(NewArgs),
    /// List the keys of a file: id, state, expiry, scopes. A key itself cannot be shown again.
    List(ListArgs),
    /// Remove a key from a file; a running gateway refuses it within seconds.
    Remove(RemoveArgs),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::New(args) => new(args),
        Command::List(args) => list(args),
        Command::Remove(args) => take_out(args),
    }
}

fn new(args: &NewArgs) -> anyhow::Result<()> {
    let mut random = [0; SECRET_BYTES];
    rand::fill(&mut random).map_err(|_| anyhow!("the system gives no random bytes"))?;
    let key = NewKey::compose(&args.id, &random);
    let entry = NewEntry {
        id: args.id.clone(),
        hash: key.hash,
        subject: args.subject.clone(),
        scopes: args.scopes.clone(),
        expires: args
            .expires
            .map(|expires| expires.after(now()))
            .transpose()?,
        attributes: args.attributes.iter().cloned().collect(),
        description: args.description.clone(),
    };
    entry.check()?;
    let until = match entry.expires {
        Some(date) => format!("is valid until {date}"),
        None => "never expires".into(),
    };
    match &args.file {
        Some(path) => {
            store::change(path, |text| Ok(append(text, &entry)?))?;
            let path = path.display();
            tell_error(&format!(
                "`{}` is added to `{path}` and {until}; the key itself is shown this once",
                entry.id
            ));
        }
        None => tell_error(&format!(
            "`{}` {until}; the key itself is shown this once. Add to the file of keys, under \
             `keys:`:\n\n{}",
            entry.id,
            entry.to_yaml()
        )),
    }
    tell(&key.text);
    Ok(())
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let text = read_text(&args.file)?;
    let name = args.file.display().to_string();
    let source = Source {
        name: &name,
        text: &text,
    };
    let keys = ApiKeys::parse(source)
        .map_err(|problems| anyhow!("`{name}`: {}", problems.brief(PROBLEMS_TOLD_MAX)))?;
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    let head = ["ID", "STATE", "EXPIRES", "SCOPES", "DESCRIPTION"].map(str::to_owned);
    let now = now();
    let rows: Vec<_> = [head]
        .into_iter()
        .chain(keys.into_iter().map(|key| row(key, now)))
        .collect();
    tell(&table(&rows));
    Ok(())
}

fn row(key: &ApiKey, now: UnixSeconds) -> [String; 5] {
    let is_over = key.expires.is_some_and(|expires| expires <= now);
    let scopes = key.claims.get("scope").and_then(|scope| scope.as_str());
    let dash = || "-".to_owned();
    [
        key.id.to_string(),
        if is_over { "expired" } else { "valid" }.into(),
        key.expires
            .map_or_else(dash, |expires| Date(expires).to_string()),
        scopes.map_or_else(dash, str::to_owned),
        key.description.as_deref().map_or_else(dash, printable),
    ]
}

/// Columns wide enough for their longest cell, two spaces apart.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a file says must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn take_out(args: &RemoveArgs) -> anyhow::Result<()> {
    store::change(&args.file, |text| Ok(remove(text, &args.id)?))?;
    let path = args.file.display();
    tell_error(&format!("`{}` is removed from `{path}`", args.id));
    Ok(())
}

fn now() -> UnixSeconds {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
