//! Runtimes for tests.

use std::{future::Future, time::Duration};

use tokio::runtime::{Builder, Runtime};

/// Runs a test on a runtime of its own, with one thread and tokio's time paused: the test waits
/// for days in no time, and goes the same way each time. `#[tokio::test(start_paused = true)]`
/// does the same.
///
/// Time that is paused stands still while anything can go on, and jumps to the next timer when
/// nothing can. So let time pass with [`tokio::time::sleep`]. [`tokio::time::advance`] skips it in
/// one leap, which is what a stopped process or a sleeping laptop is to a worker: silence that
/// counts against nobody.
///
/// # Panics
/// Where the test does, and inside of a runtime.
pub fn block_on<F: Future>(test: F) -> F::Output {
    let runtime = runtime(true);
    let output = runtime.block_on(test);
    end(runtime);
    output
}

pub(super) fn runtime(paused: bool) -> Runtime {
    let built = Builder::new_current_thread().enable_all().start_paused(paused).build();
    built.expect("the system has threads and files for a runtime")
}

/// Ends a runtime and every task on it.
pub(super) fn end(runtime: Runtime) {
    // Calls that block a thread of their own may be on their way.
    runtime.shutdown_timeout(Duration::from_secs(10));
}
