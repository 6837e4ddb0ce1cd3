//! A real PostgreSQL that speaks TLS, with an authority of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Config, NoTls};

use super::free_port;
use crate::testing::PATIENCE;

/// A password that every layer could spoil.
pub const PASSWORD: &str = r#"p@ss:/?#[]%20"'\{}+ ä€"#;
/// Its superuser, and its database.
const NAME: &str = "postgres";
/// The user and group that the server runs as where we are root, which it refuses.
const NOBODY: u32 = 65534;
/// Pause before the next try to start where its last life is not quite over.
const PAUSE: Duration = Duration::from_millis(50);
const STARTS_MAX: usize = 200;

/// Who may log in: with a password, with and without TLS.
const HBA: &str = "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";

/// A server with a data directory of its own; killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    binaries: PathBuf,
    port: u16,
    tls: bool,
    child: Option<Child>,
}

impl Postgres {
    /// Starts the programs in the folder that `POSTGRES_BIN` names.
    #[must_use]
    pub fn start() -> Self {
        Self::new(true)
    }

    /// One that refuses to speak TLS.
    #[must_use]
    pub fn start_without_tls() -> Self {
        Self::new(false)
    }

    fn new(tls: bool) -> Self {
        let binaries = env::var_os("POSTGRES_BIN")
            .expect("POSTGRES_BIN is not set; run ./copilotw.sh test, which installs PostgreSQL");
        let directory = tempfile::tempdir().expect("there is room for a directory");
        if is_root(directory.path()) {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let mut server = Self {
            binaries: reachable(PathBuf::from(binaries), directory.path()),
            directory,
            port: free_port(),
            tls,
            child: None,
        };
        server.initialize();
        server.start_again();
        server
    }

    fn initialize(&self) {
        let password = self.path("password");
        fs::write(&password, PASSWORD).expect("a file");
        authority(self.directory.path(), "ca");
        certificate(self.directory.path(), "ca", "server", "DNS:localhost");
        self.give_away();
        let mut initdb = self.program("initdb");
        initdb
            .args(["--username", NAME, "--auth", "scram-sha-256", "--no-sync"])
            .args(["--encoding", "UTF8", "--locale", "C", "--pgdata"])
            .arg(self.path("data"))
            .arg("--pwfile")
            .arg(&password);
        let output = initdb.output().expect("initdb starts");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(self.path("data/pg_hba.conf"), HBA).expect("a file");
    }

    /// Hands what we wrote to the server's user; keys must belong to it.
    fn give_away(&self) {
        if fs::metadata(self.directory.path()).expect("ours").uid() != NOBODY {
            return;
        }
        for entry in fs::read_dir(self.directory.path()).expect("ours") {
            let path = entry.expect("ours").path();
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }

    /// Starts it where it was, with the rows that it had.
    ///
    /// A port that somebody took meanwhile, and shared memory of a life that was cut short, are
    /// waited for.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut said = Vec::new();
        for _ in 0..STARTS_MAX {
            match self.try_start() {
                Ok(child) => {
                    self.child = Some(child);
                    return;
                }
                Err(log) => said = log,
            }
            thread::sleep(PAUSE);
        }
        panic!("PostgreSQL does not start:\n{}", said.join("\n"));
    }

    fn try_start(&self) -> Result<Child, Vec<String>> {
        let path = |name| self.path(name).display().to_string();
        let mut postgres = self.program("postgres");
        for setting in [
            "listen_addresses=localhost".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".into(),
            "fsync=off".into(),
            "max_connections=50".into(),
            "shared_buffers=16MB".into(),
            format!("ssl={}", if self.tls { "on" } else { "off" }),
            format!("ssl_cert_file={}", path("server.pem")),
            format!("ssl_key_file={}", path("server.key")),
        ] {
            postgres.arg("-c").arg(setting);
        }
        let mut child = postgres
            .arg("-D")
            .arg(self.path("data"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("PostgreSQL starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (lines, log) = mpsc::channel();
        // Reads on to the end: a full pipe would stop it.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens once it runs.
                let _ = lines.send(line);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while let Ok(line) = log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains("ready to accept connections") {
                return Ok(child);
            }
            said.push(line);
        }
        // It has ended, or says nothing; either way it is not of use.
        let _ = child.kill();
        let _ = child.wait();
        Err(said)
    }

    /// Sends a signal: `INT` is a fast shutdown, `KILL` a crash. Waits for the end.
    pub fn stop(&mut self, signal: &str) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(status.expect("kill(1) is there").success());
        child.wait().expect("it is ours");
    }

    /// What a service needs in its environment to use it.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment_for("localhost", &self.path("ca.pem"))
    }

    /// The same by another name, with another authority.
    #[must_use]
    pub fn environment_for(&self, host: &str, ca: &Path) -> Vec<(&'static str, String)> {
        let password =
            percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("postgres://{NAME}:{password}@{host}:{}/{NAME}", self.port);
        vec![
            ("DATABASE_URL", url),
            ("DATABASE_CA", ca.display().to_string()),
            ("LOG", "info,access=off".into()),
        ]
    }

    /// The same, as Secrets Manager would say it.
    #[must_use]
    pub fn secret(&self) -> Vec<(&'static str, String)> {
        let secret = serde_json::json!({
            "dbClusterIdentifier": "cluster", "dbname": NAME, "engine": "postgres",
            "host": "localhost", "password": PASSWORD, "port": self.port, "username": NAME,
        });
        let ca = self.path("ca.pem").display().to_string();
        vec![
            ("DATABASE_SECRET", secret.to_string()),
            ("DATABASE_CA", ca),
            ("LOG", "info,access=off".into()),
        ]
    }

    /// An authority that has signed nothing.
    #[must_use]
    pub fn foreign_authority(&self) -> PathBuf {
        authority(self.directory.path(), "foreign");
        self.path("foreign.pem")
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        let mut config = Config::new();
        config
            .host("localhost")
            .port(self.port)
            .user(NAME)
            .dbname(NAME)
            .password(PASSWORD);
        let (client, connection) = config.connect(NoTls).await.expect("it runs");
        let driver = tokio::spawn(connection);
        client.batch_execute(sql).await.expect(sql);
        drop(client);
        driver.await.expect("no panic").expect("it says goodbye");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.current_dir(self.directory.path());
        if fs::metadata(self.directory.path()).expect("ours").uid() == NOBODY {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An immediate shutdown ends its children, too.
            let pid = child.id().to_string();
            let _ = Command::new("kill").args(["-s", "QUIT", &pid]).status();
            let _ = child.wait();
        }
    }
}

/// Whether we are root: whose is the directory that we made?
fn is_root(ours: &Path) -> bool {
    fs::metadata(ours).expect("ours").uid() == 0
}

/// The folder of the programs, or a copy of it where the server's user may not enter it, as
/// below root's home.
fn reachable(binaries: PathBuf, directory: &Path) -> PathBuf {
    let mut probe = Command::new(binaries.join("postgres"));
    probe.arg("--version").stdout(Stdio::null());
    if fs::metadata(directory).expect("ours").uid() != NOBODY {
        return binaries;
    }
    if probe
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .is_ok_and(|status| status.success())
    {
        return binaries;
    }
    let whole = binaries.parent().expect("programs have a folder");
    let copied = Command::new("cp")
        .arg("-R")
        .arg(whole)
        .arg(directory.join("programs"))
        .status();
    assert!(
        copied.expect("cp(1) is there").success(),
        "{}",
        whole.display()
    );
    directory
        .join("programs")
        .join(binaries.file_name().expect("a folder has a name"))
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let mut openssl = Command::new("openssl");
    let output = openssl.args(arguments).current_dir(directory).output();
    let output = output.expect("openssl is there");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes `NAME.pem` and `NAME.key`, an authority for a day.
fn authority(directory: &Path, name: &str) {
    let (key, pem, subject) = (
        format!("{name}.key"),
        format!("{name}.pem"),
        format!("/CN={name}"),
    );
    openssl(
        directory,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &pem,
            "-addext",
            "keyUsage=critical,keyCertSign",
        ],
    );
}

/// Makes `NAME.pem` and `NAME.key`, signed by the authority.
fn certificate(directory: &Path, authority: &str, name: &str, subject_alt_name: &str) {
    let (key, pem, request) = (
        format!("{name}.key"),
        format!("{name}.pem"),
        format!("{name}.csr"),
    );
    let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
    let extensions = format!("subjectAltName={subject_alt_name}\nextendedKeyUsage=serverAuth\n");
    fs::write(directory.join("extensions"), extensions).expect("a file");
    openssl(
        directory,
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=server",
            "-keyout",
            &key,
            "-out",
            &request,
        ],
    );
    openssl(
        directory,
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            "1",
            "-days",
            "1",
            "-extfile",
            "extensions",
            "-out",
            &pem,
        ],
    );
}
