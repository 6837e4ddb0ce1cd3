//! A thread for what takes a while.

use tokio::sync::oneshot;

/// Added to the priority of a thread that has time (nice(2)): the most there is.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;

/// Does what takes a while on a thread of its own, which gives way to those that serve: what is to
/// be done for ten thousand routes takes a sixth of a second of a processor that may be the only one.
///
/// It begins at once, and goes on when nobody waits for it.
pub(super) fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let (sender, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".into());
    let spawned = thread.spawn(move || {
        // Elsewhere it would be the whole process that gives way.
        #[cfg(target_os = "linux")]
        let _best_effort = rustix::process::nice(NICEST);
        let _nobody_waits = sender.send(work());
    });
    spawned.expect("a thread can be started");
    async { result.await.expect("what is done aside does not panic") }
}
