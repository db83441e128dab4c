//! When an answer may be seen.
//!
//! A reader sees what the writer has applied, also before it is durable. So a reader notes the
//! number of the last group that may have been applied while it read, and its answer waits until
//! that group is durable: nothing is visible that a power cut could take back.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    store::StoreError,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub(super) struct Visible {
    applied: AtomicU64,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone)]
struct Progress {
    /// The last group of commits that is durable.
    durable: u64,
    health: Health,
}

#[derive(Debug, Clone)]
pub(super) enum Health {
    Well,
    /// Nothing is acknowledged until the store is healed.
    Failed(Arc<str>),
    Closed,
}

impl Health {
    /// Whether the store can be used.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Well => Ok(()),
            Self::Failed(what) => {
                Err(StoreError::Unavailable { what: what.to_string(), source: None })
            }
            Self::Closed => Err(StoreError::Closed),
        }
    }
}

impl Visible {
    pub(super) fn new(durable: u64) -> Self {
        Self {
            applied: AtomicU64::new(durable),
            progress: watch::Sender::new(Progress { durable, health: Health::Well }),
        }
    }

    pub(super) fn health(&self) -> Health {
        self.progress.borrow().health.clone()
    }

    pub(super) fn set_health(&self, health: Health) {
        self.progress.send_modify(|progress| progress.health = health);
    }

    /// To be called before a group is applied.
    pub(super) fn applying(&self, number: u64) {
        self.applied.store(number, Ordering::SeqCst);
    }

    pub(super) fn durable(&self, number: u64) {
        self.progress.send_modify(|progress| progress.durable = number);
    }

    /// The last group that may be in what was read before.
    pub(super) fn seen(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Waits until that group is durable.
    pub(super) async fn wait(&self, seen: u64) -> Result<(), StoreError> {
        let mut progress = self.progress.subscribe();
        let reached = progress
            .wait_for(|now| now.durable >= seen || !matches!(now.health, Health::Well))
            .await
            .map_err(|_| StoreError::Closed)?;
        if reached.durable < seen {
            reached.health.check()?;
        }
        Ok(())
    }
}

#[cfg(all(test, sessionkeeper_loom))]
mod explored {
    use std::sync::Arc;

    use loom::{future::block_on, model};

    use super::*;
    use crate::sync::both;

    /// G1: what a reader has waited for is durable, however the writer overtakes it.
    #[test]
    fn what_was_read_is_durable_once_it_may_be_seen() {
        model(|| {
            let writer = Arc::new((Visible::new(0), AtomicU64::new(0), AtomicU64::new(0)));
            let reader = Arc::clone(&writer);
            let write = move || {
                let (visible, data, flushed) = &*writer;
                for number in 1..=2 {
                    visible.applying(number);
                    data.store(number, Ordering::Release);
                    flushed.fetch_add(1, Ordering::AcqRel);
                    visible.durable(number);
                }
            };
            let read = move || {
                let (visible, data, flushed) = &*reader;
                let read = data.load(Ordering::Acquire);
                block_on(visible.wait(visible.seen())).expect("the store is well");
                // Adding nothing reads the newest.
                (read, flushed.fetch_add(0, Ordering::AcqRel))
            };
            let ((), (read, flushed)) = both(write, read);
            assert!(flushed >= read, "{read} was seen, {flushed} is durable");
        });
    }
}
