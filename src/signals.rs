//! From a signal to a graceful shutdown.

use std::{io, sync::Arc, time::Duration};

use crate::{report::ShutdownReport, supervisor::Supervisor};

impl Supervisor {
    /// Runs until the process is told to end (SIGTERM or SIGINT; on Windows Ctrl-C), then
    /// [shuts down](Self::shutdown) within the budget. A second signal ends the process at once,
    /// with exit code 130: nothing that was acknowledged is lost by that.
    ///
    /// # Errors
    /// If the signals cannot be listened to; then nothing was done.
    ///
    /// # Cancel safety
    /// Before the first signal wholly; a shutdown that has begun is not withdrawn.
    pub async fn run_until_signal(&self, budget: Duration) -> io::Result<Arc<ShutdownReport>> {
        let mut signals = Signals::listen()?;
        signals.next().await;
        tokio::select! {
            biased;
            report = self.shutdown(budget) => Ok(report),
            () = signals.next() => std::process::exit(130),
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
