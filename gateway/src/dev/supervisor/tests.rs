//! The supervisor with real processes: shell scripts of a line or two.

use nix::errno::Errno;

use super::*;

/// Longest wait for anything; far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

const QUICK: Policy = Policy {
    first_pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(1),
    window: Duration::from_hours(1),
    max_deaths: 2,
    stop_timeout: PATIENCE,
};

fn directory() -> Directory {
    Directory::new(
        "test.local",
        &[("srv", "users")],
        fastrand::Rng::with_seed(1),
    )
}

fn shell(name: &str, script: &str) -> ChildSpec {
    ChildSpec {
        name: name.to_owned(),
        service_id: "srv".to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING", "hello".into())],
    }
}

struct Run {
    supervisor: Supervisor,
    lines: mpsc::Receiver<String>,
}

impl Run {
    fn start(children: Vec<ChildSpec>, policy: Policy, directory: &Directory) -> Self {
        let (sender, lines) = mpsc::channel(64);
        let supervisor = Supervisor::start(children, policy, directory, &sender);
        Self { supervisor, lines }
    }

    async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.recv())
            .await
            .expect("a line in time")
            .expect("a line")
    }

    async fn pid(&mut self) -> Pid {
        let line = self.line().await;
        let (_, pid) = line.split_once(" | ").unwrap();
        Pid::from_raw(pid.parse().unwrap())
    }

    async fn shutdown(self) {
        timeout(PATIENCE, self.supervisor.shutdown())
            .await
            .expect("children stop in time");
    }
}

#[tokio::test]
async fn what_children_say_carries_their_names() {
    let children = vec![
        shell("users-1", "echo $GREETING; read _"),
        shell("products-1", "echo oops >&2; read _"),
    ];
    let mut run = Run::start(children, QUICK, &directory());
    let mut lines = [run.line().await, run.line().await];
    lines.sort();
    assert_eq!(lines, ["products-1 | oops", "users-1    | hello"]);
    run.shutdown().await;
}

#[tokio::test]
async fn a_killed_child_leaves_the_registry_and_starts_again() {
    let directory = directory();
    let mut run = Run::start(vec![shell("a", "echo $$; read _")], QUICK, &directory);
    let first = run.pid().await;
    let attributes = [
        ("AWS_INSTANCE_IPV4", "127.0.0.1"),
        ("AWS_INSTANCE_PORT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    directory.register("srv", "a", attributes.into()).unwrap();
    let registered = [("srv".to_owned(), "a".to_owned())];
    assert!(directory.missing(&registered).is_empty());

    kill(first, Signal::SIGKILL).unwrap();
    assert_eq!(
        run.line().await,
        "a | died with signal: 9 (SIGKILL); starts again in 1ms"
    );
    assert_eq!(directory.missing(&registered), ["a"]);
    let second = run.pid().await;
    assert_ne!(first, second);
    run.shutdown().await;
    assert_eq!(kill(second, None), Err(Errno::ESRCH));
}

#[tokio::test]
async fn a_child_that_dies_too_often_ends_the_run() {
    let children = vec![shell("b", "exit 3"), shell("a", "read _")];
    let mut run = Run::start(children, QUICK, &directory());
    let error = timeout(PATIENCE, run.supervisor.failed()).await.unwrap();
    assert_eq!(
        error.to_string(),
        "b died more than 2 times within 1h, the last time with exit status: 3; \
         its lines above say why"
    );
    run.shutdown().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut child = shell("a", "");
    child.program = "/nowhere/users-svc".into();
    let mut run = Run::start(vec![child], QUICK, &directory());
    let error = timeout(PATIENCE, run.supervisor.failed()).await.unwrap();
    assert_eq!(error.to_string(), "a: cannot start `/nowhere/users-svc`");
    assert!(
        matches!(&error, SuperviseError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound),
        "{error:?}"
    );
}

#[tokio::test]
async fn stopping_asks_first() {
    let script = "trap 'echo bye; exit 0' TERM; echo ready; read _";
    let mut run = Run::start(vec![shell("a", script)], QUICK, &directory());
    assert_eq!(run.line().await, "a | ready");
    timeout(PATIENCE, run.supervisor.shutdown()).await.unwrap();
    assert_eq!(run.lines.recv().await.as_deref(), Some("a | bye"));
    assert_eq!(run.lines.recv().await, None);
}

#[tokio::test]
async fn a_child_that_does_not_listen_is_killed_after_the_limit() {
    let policy = Policy {
        stop_timeout: Duration::from_millis(20),
        ..QUICK
    };
    // An ignored signal stays ignored in what the shell turns into.
    let script = "trap '' TERM; echo $$; exec sleep 600";
    let mut run = Run::start(vec![shell("a", script)], policy, &directory());
    let pid = run.pid().await;
    run.shutdown().await;
    assert_eq!(kill(pid, None), Err(Errno::ESRCH));
}

#[tokio::test]
async fn children_have_an_open_pipe_for_input_and_are_told_what_its_end_means() {
    let script =
        r#"echo "$EXIT_ON_STDIN_EOF $(test -p /dev/stdin && echo pipe)"; read _; echo closed"#;
    let mut run = Run::start(vec![shell("a", script)], QUICK, &directory());
    assert_eq!(run.line().await, "a | 1 pipe");
    timeout(PATIENCE, run.supervisor.shutdown()).await.unwrap();
    assert_eq!(run.lines.recv().await, None, "the pipe was open to the end");
}
