//! Reloads under load: nobody notices, and nothing grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{file, fixed, forwarded, listed};
use crate::support::backend::Backend;
use crate::support::gateway::whole;
use crate::support::http_client::{Fetch as _, client, fetch};
use crate::support::process::Process;
use crate::support::{eventually, runtime};

/// `RELOADS` makes it more: 1000 take half a minute.
const RELOADS: usize = 60;
/// Reloads until everything has been made once.
const WARM_UP: usize = 20;
const CLIENTS: usize = 4;
/// Memory that the process may have more of at the end; an old plan that stays is seen.
const GROWTH_KIB_MAX: usize = 16 * 1024;

/// What the system says of a process.
struct Size {
    memory_kib: usize,
    descriptors: usize,
}

impl Size {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = line.and_then(|line| line.split_whitespace().next());
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        Self {
            memory_kib: memory.and_then(|it| it.parse().ok()).expect("a number"),
            descriptors: descriptors.count(),
        }
    }
}

/// A good file in which something of each kind differs from one round to the next; every second
/// one is wrong.
fn yaml(round: usize, backend: &Backend) -> String {
    let text = file(
        &[
            listed("a", &[backend]),
            listed(&format!("u{}", round % 7), &[backend]),
        ],
        &[
            forwarded("a", "a"),
            fixed("round", 200 + u16::try_from(round % 90).expect("small")),
            fixed(&format!("r{}", round % 5), 200),
        ],
    );
    let wrong = if round % 2 == 1 { "nonsense: 1\n" } else { "" };
    let text = whole(&text).replace("output: \"${ACCESS_LOG}\"", "format: none");
    format!("{text}{wrong}")
}

#[test]
fn reloads_under_load_cost_no_request_and_leave_nothing_behind() {
    let reloads =
        std::env::var("RELOADS").map_or(RELOADS, |count| count.parse().expect("a number"));
    let backend = Backend::replying("a");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("routes.yaml");
    let write =
        |round| std::fs::write(&path, yaml(round, &backend)).expect("a file can be written");
    write(0);
    let process = Process::start(&["run", "--config", path.to_str().expect("text")]);
    let line = process.wait_for("listening");
    let [address, admin] =
        ["address", "admin"].map(|it| line[it].as_str().expect("text").to_owned());
    let url = format!("http://{address}/a");
    eventually("it serves", || client().get(&url).try_fetch().ok());

    let (is_over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients = (0..CLIENTS).map(|_| {
        let (url, is_over, served) = (url.clone(), Arc::clone(&is_over), Arc::clone(&served));
        runtime().spawn(async move {
            let mut failed = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                match fetch(client().get(&url)).await {
                    Ok(reply) if reply.status() == 200 => served.fetch_add(1, Ordering::SeqCst),
                    other => {
                        failed.push(format!("{other:?}"));
                        0
                    }
                };
            }
            failed
        })
    });
    let clients: Vec<_> = clients.collect();

    let mut before = None;
    for round in 1..=reloads {
        write(round);
        let reply = client().post(format!("http://{admin}/reload")).fetch();
        let expected = if round % 2 == 1 { 422 } else { 200 };
        assert_eq!(reply.status(), expected, "{}", reply.text());
        let in_force = u16::try_from(200 + (round - round % 2) % 90).expect("small");
        let round_url = format!("http://{address}/round");
        assert_eq!(client().get(round_url).fetch().status(), in_force);
        if round == WARM_UP {
            before = Some(Size::of(process.id()));
        }
    }
    let after = Size::of(process.id());
    is_over.store(true, Ordering::SeqCst);
    for client in clients {
        let failed = runtime().block_on(client).expect("it ends");
        assert!(failed.is_empty(), "{failed:?}");
    }
    let served = served.load(Ordering::SeqCst);
    assert!(served > reloads);
    let before = before.expect("there are more reloads than those to warm up");
    println!(
        "{reloads} reloads, {served} requests: {} KiB and {} descriptors, then {} KiB and {}",
        before.memory_kib, before.descriptors, after.memory_kib, after.descriptors
    );
    let grown = after.memory_kib.saturating_sub(before.memory_kib);
    assert!(
        grown <= GROWTH_KIB_MAX,
        "{} KiB, then {grown} KiB more",
        before.memory_kib
    );
    // A connection of this test's to the admin listener may have come or gone.
    assert!(
        after.descriptors <= before.descriptors + 4,
        "{}, then {}",
        before.descriptors,
        after.descriptors
    );
}
