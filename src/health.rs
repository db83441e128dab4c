//! How a worker does.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    runtime::{core::Core, watchdog::BlockedThread},
    store::StoreError,
};

/// How a worker does. Its `Display` is one line for people.
///
/// What is wrong here heals, or does not, without the worker being restarted: a full disk stays
/// full, and a thread that a workload blocks is no failure of the others.
#[derive(Debug, Clone)]
pub struct Health {
    store_error: Option<Arc<StoreError>>,
    blocked: Vec<BlockedThread>,
    stalled: Option<Duration>,
}

impl Health {
    pub(crate) fn of(core: &Core) -> Self {
        Self {
            store_error: core.checkpointer.health().error(),
            blocked: core.watchdog.blocked(),
            stalled: core.watchdog.stalled(),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.store_error.is_none() && self.blocked.is_empty() && self.stalled.is_none()
    }

    /// What the store failed with last, as long as it fails: sessions keep running on what they
    /// hold, commits are retried, and callers get errors until it heals.
    pub const fn store_error(&self) -> Option<&Arc<StoreError>> {
        self.store_error.as_ref()
    }

    /// The threads that have been in the code of one workload for a second or more. Whatever else
    /// is to run there waits; see [`Builder::workload_runtime`](crate::Builder::workload_runtime).
    ///
    /// Within `tokio::task::block_in_place` a thread counts as blocked too.
    pub fn blocked_threads(&self) -> &[BlockedThread] {
        &self.blocked
    }

    /// For how long the runtime of the supervisor has run nothing, if that is a second or more.
    /// Control does not answer then, and no deadline is kept. Without a
    /// [blocked thread](Self::blocked_threads) in the list it is not the code of a workload that
    /// blocks it, or nobody drives it.
    pub const fn runtime_stalled_for(&self) -> Option<Duration> {
        self.stalled
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_good() {
            return f.write_str("good");
        }
        let mut between = "";
        if let Some(error) = &self.store_error {
            write!(f, "degraded: {error}")?;
            between = "; ";
        }
        if let Some(stalled) = self.stalled {
            let stalled = humantime::format_duration(stalled);
            write!(f, "{between}the runtime of the supervisor has stood still for {stalled}")?;
            between = "; ";
        }
        for blocked in &self.blocked {
            write!(f, "{between}{blocked}")?;
            between = "; ";
        }
        Ok(())
    }
}
