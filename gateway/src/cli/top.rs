//! `gateway top`: what a running gateway does now, in a terminal.
//!
//! | file | holds |
//! |---|---|
//! | `ask.rs` | the admin API, asked |
//! | `snapshot.rs` | what it says, at one moment |
//! | `sheets.rs` | tables of two snapshots: rates, shares, quantiles. Pure |
//! | `state.rs` | what is shown of them, and what a key changes of that. Pure |
//! | `draw.rs` | both, drawn |
//! | `terminal.rs` | the terminal, taken and given back |

mod ask;
mod draw;
mod sheets;
mod snapshot;
mod state;
mod terminal;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::tell;
use ask::Asker;
use state::State;

/// Bounds of `--interval`: fast enough to watch, slow enough to cost nothing.
const INTERVAL_BOUNDS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(1));
/// Columns and lines of `--once`.
const WIDTH_BOUNDS: std::ops::RangeInclusive<i64> = 40..=400;
const ONCE_LINES: u16 = 200;

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// The URL of the gateway's admin listener.
    #[arg(
        long,
        env = "GATEWAY_ADMIN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9090"
    )]
    admin: String,
    /// The token of `admin.token`, where the gateway asks for one.
    #[arg(
        long,
        env = "GATEWAY_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    admin_token: Option<String>,
    /// A file that holds that token.
    #[arg(long, value_name = "FILE", conflicts_with = "admin_token")]
    admin_token_file: Option<PathBuf>,
    /// Time between two looks, 200ms to 1m. Rates are over this time.
    #[arg(long, default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// How long to wait for an answer.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Look twice, print one frame as plain text, and end: exit 1 if there is no answer.
    #[arg(long)]
    once: bool,
    /// Columns of that frame, 40 to 400.
    #[arg(
        long,
        value_name = "COLUMNS",
        default_value = "120",
        requires = "once",
        value_parser = clap::value_parser!(u16).range(WIDTH_BOUNDS)
    )]
    width: u16,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = INTERVAL_BOUNDS;
    if (least..=most).contains(&interval) {
        Ok(interval)
    } else {
        Err("must be from 200ms to 1m".into())
    }
}

pub(super) fn run(args: &TopArgs) -> anyhow::Result<()> {
    let token = match &args.admin_token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("`{}` cannot be read", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => args.admin_token.clone(),
    };
    let asker = Asker::new(&args.admin, token.as_deref(), args.timeout)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if args.once {
        return runtime.block_on(once(args, &asker));
    }
    let has_colour = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let state = State::new(&args.admin, args.interval, has_colour);
    runtime.block_on(terminal::show(state, asker, args.interval))
}

async fn once(args: &TopArgs, asker: &Asker) -> anyhow::Result<()> {
    let mut state = State::new(&args.admin, args.interval, false);
    state.told(asker.ask().await?);
    tokio::time::sleep(args.interval).await;
    state.told(asker.ask().await?);
    tell(draw::text(&state, args.width, ONCE_LINES).trim_end());
    Ok(())
}
