//! A thread for what takes a while.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

/// Added to the priority of a thread that has time (nice(2)): the most there is.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;

/// Does what takes a while on a thread of its own, which gives way to those that serve: what is to
/// be done for ten thousand routes takes a sixth of a second of a processor that may be the only one.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = oneshot::channel();
    let begun = begin(move || {
        let _nobody_waits = sender.send(work());
    });
    begun.expect("a thread can be started");
    result.await.expect("what is done aside does not panic")
}

/// Takes apart there what is large; nobody waits for it.
pub(super) fn drop_aside(large: impl Send + 'static) {
    // Without a thread it is dropped here.
    let _best_effort = begin(move || drop(large));
}

fn begin(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("reload".into());
    thread.spawn(move || {
        // Elsewhere it would be the whole process that gives way.
        #[cfg(target_os = "linux")]
        let _best_effort = rustix::process::nice(NICEST);
        work();
    })
}
