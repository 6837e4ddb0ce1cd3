//! Load tests and comparisons with other proxies, on loopback.
//!
//! `bench load` drives one URL; `bench compare` judges two of its results; `bench peers` runs our
//! gateway beside other proxies and prices a request in CPU time; `bench idle` weighs idle
//! connections. Linux only: processes are pinned
//! to cores and read through `/proc`.

mod cli;
mod client;
mod compare;
mod cores;
mod idle;
mod load;
mod output;
mod peers;
mod relay;
mod scenario;
mod upstream;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // Becomes another program, so it must not start a runtime first.
    if let Command::Child(arguments) = command {
        return Err(peers::process::become_child(&arguments));
    }
    if let Command::Compare(arguments) = command {
        return compare::run(&arguments);
    }
    cores::raise_open_file_limit();
    if let Command::Relay(arguments) = command {
        return relay::run(&arguments).map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Load(arguments) => load::run(arguments).await,
            Command::Peers(arguments) => peers::run(arguments).await,
            Command::Idle(arguments) => idle::run(arguments).await,
            Command::Upstream(arguments) => upstream::run(arguments).await,
            Command::Child(_) | Command::Relay(_) | Command::Compare(_) => {
                unreachable!("handled before the runtime started")
            }
        }
    })
}
