//! `gateway upgrade`: has the running gateway replace itself.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::anyhow;
use clap::Args;

use super::{load, tell};
use crate::upgrade::{Place, ask_to_upgrade};

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// The routes file of the running gateway. It is checked before anything is started.
    #[arg(long, short, env = "GATEWAY_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &UpgradeArgs) -> anyhow::Result<()> {
    let compiled = load(&args.config)?;
    let Some(upgrade) = compiled.settings.upgrade else {
        return Err(anyhow!(
            "`{}` has no section `upgrade`; add `upgrade: {{socket: /run/gateway/upgrade.sock}}` \
             and restart the gateway once",
            args.config.display()
        ));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let place = Place::new(&upgrade.socket);
    runtime.block_on(ask_to_upgrade(&place, upgrade.timeout, |pid| {
        tell(&format!(
            "process {pid} is started; waiting until it is ready"
        ));
    }))?;
    let took = began.elapsed().as_millis();
    tell(&format!(
        "it serves after {took} ms; the old process leaves with its last connection"
    ));
    Ok(())
}
