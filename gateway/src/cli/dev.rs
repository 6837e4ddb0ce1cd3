//! `gateway dev`: the system of [`crate::dev`], and the gateway in front of it.
//!
//! ```text
//! services register → the gateway starts → it is ready → the banner
//! Ctrl-C → the gateway drains → the services stop
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::anyhow;
use gateway_core::config::Source;
use gateway_core::file::{Compiled, read};
use mesh::shutdown::{Signal, Signals};
use tokio::sync::watch;

use crate::app::{Gateway, Stop};
use crate::dev::{self, DevError, DevOptions, DevSystem};
use crate::lifecycle::Readiness;

/// Runs until a signal, or until a service cannot be kept running.
pub(super) fn run(options: DevOptions) -> anyhow::Result<()> {
    // The registry, the issuer and the services' supervisor live here, beside the gateway's
    // own runtimes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let Some((system, signals)) = runtime.block_on(start(options))? else {
        return Ok(());
    };
    // Not before the services are there: the gateway would take an empty first answer of the
    // registry for the truth until it asks again.
    let gateway = Gateway::build(compile(&system.routes(), &system.variables())?)?;
    let (stop, stopped) = Stop::on_signals_or();
    let (left, has_left) = watch::channel(false);
    let supervision = Supervision {
        system,
        signals,
        listen: gateway.addresses()[0],
        readiness: gateway.readiness(),
        stop,
        has_left,
    };
    let supervising = runtime.spawn(supervision.run());
    let ran = gateway.run(stopped);
    left.send_replace(true);
    runtime.block_on(supervising)??;
    Ok(ran?)
}

/// Starts the system and waits for its services; nothing, when a signal came first.
async fn start(options: DevOptions) -> anyhow::Result<Option<(DevSystem, Signals)>> {
    // First of all: from here on Ctrl-C leaves nothing behind.
    let mut signals = Signals::listen()?;
    let mut system = dev::start(options).await?;
    let ready = tokio::select! {
        ready = system.ready() => ready.map(|()| true),
        _ = signals.next() => Ok(false),
    };
    if let Ok(true) = ready {
        return Ok(Some((system, signals)));
    }
    system.shutdown().await;
    ready?;
    Ok(None)
}

fn compile(text: &str, variables: &BTreeMap<String, String>) -> anyhow::Result<Compiled> {
    let source = Source {
        name: "the routes file of `gateway dev`",
        text,
    };
    read(source, &|name| variables.get(name).cloned()).map_err(|problems| anyhow!("{problems}"))
}

/// What goes on beside the gateway while it runs.
struct Supervision {
    system: DevSystem,
    signals: Signals,
    listen: SocketAddr,
    readiness: Readiness,
    stop: watch::Sender<Option<Signal>>,
    has_left: watch::Receiver<bool>,
}

impl Supervision {
    async fn run(mut self) -> anyhow::Result<()> {
        let failed = tokio::select! {
            error = supervise(&mut self.system, &self.readiness, self.listen) => Some(error),
            // The gateway listens for signals too, but only since it runs.
            signal = self.signals.next() => {
                self.stop.send_replace(Some(signal));
                None
            }
            _ = self.has_left.wait_for(|&has_left| has_left) => None,
        };
        if failed.is_some() {
            self.stop.send_replace(Some(Signal::Interrupt));
        }
        // Requests under way need the services. A sender that is gone has left, too.
        let _ = self.has_left.wait_for(|&has_left| has_left).await;
        self.system.shutdown().await;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Says when the system is ready; ends when it cannot go on.
async fn supervise(system: &mut DevSystem, readiness: &Readiness, listen: SocketAddr) -> DevError {
    if let Err(error) = system.gateway_ready(readiness).await {
        return error;
    }
    system.announce(listen).await;
    system.failed().await
}
