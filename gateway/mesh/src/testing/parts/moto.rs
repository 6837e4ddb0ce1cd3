//! A moto server: an emulator of AWS that others wrote.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Time for the server to say where it listens; Python needs some to import.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// A running server on a port of its own, which keeps all in memory; killed when dropped.
#[derive(Debug)]
pub struct Moto {
    url: String,
    process: Child,
}

impl Moto {
    /// Starts the executable that `MOTO_SERVER` names.
    pub async fn start() -> Self {
        let program = env::var_os("MOTO_SERVER")
            .expect("MOTO_SERVER is not set; run ./copilotw.sh test, which installs moto");
        let mut process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let stderr = process.stderr.take().expect("stderr is piped");
        let mut lines = BufReader::new(stderr).lines();
        let url = tokio::time::timeout(START_DEADLINE, async {
            while let Some(line) = lines.next_line().await.expect("moto writes text") {
                if let Some((_, url)) = line.split_once("Running on ") {
                    return url.trim().to_owned();
                }
            }
            panic!("moto ended before it listened; run it by hand to see why");
        })
        .await
        .expect("moto listens in time");
        // It logs each request: a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url, process }
    }

    /// Ends it, with all that it keeps.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it is ours");
    }

    /// The endpoint for an AWS SDK.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
