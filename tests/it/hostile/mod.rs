//! Workloads that do everything a workload must not do: nobody else suffers.

#[cfg(feature = "sled")]
mod deep;
mod kept;
mod matrix;
mod much;
mod on_fork;
#[cfg(feature = "sled")]
mod poison;
mod trap;
mod watchdog;

use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Waits in real time, and lets the present runtime work meanwhile.
#[expect(clippy::disallowed_methods, reason = "the watchdog lives in real time")]
async fn real_wait(what: &str, limit: Duration, done: impl Fn() -> bool) -> Duration {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed() < limit, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
        tokio::task::yield_now().await;
    }
    began.elapsed()
}

/// Says which ignored test is to be executed, in a process of its own.
pub(crate) const ROLE: &str = "SESSIONKEEPER_TEST_ROLE";

/// Whether this process was begun for a test; a test that is to be executed in one returns else.
pub(crate) fn is_child() -> bool {
    env::var_os(ROLE).is_some()
}

/// Executes an ignored test of this binary in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROLE, test)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}
