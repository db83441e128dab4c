//! What the writer thread and the readers of a store share.
//!
//! A reader sees what the writer has applied, also before it is durable. So a reader notes the
//! number of the last group that may have been applied while it read, and its answer waits until
//! that group is durable: nothing is visible that a power cut could take back.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{
    damage::Damages,
    engine::{Engine, guarded},
};
use crate::store::StoreError;

#[derive(Debug)]
pub(super) struct Shared {
    /// `None` where the store is closed, or failed and could not be opened again.
    engine: RwLock<Option<Engine>>,
    applied: AtomicU64,
    progress: watch::Sender<Progress>,
    pub(super) damages: Arc<Damages>,
}

#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// The last group of commits that is durable.
    pub(super) durable: u64,
    pub(super) health: Health,
}

#[derive(Debug, Clone)]
pub(super) enum Health {
    Well,
    /// Nothing is acknowledged until the store is healed.
    Failed(Arc<str>),
    Closed,
}

impl Health {
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

impl Shared {
    pub(super) fn new(engine: Engine, durable: u64, damages: Arc<Damages>) -> Self {
        Self {
            engine: RwLock::new(Some(engine)),
            applied: AtomicU64::new(durable),
            progress: watch::Sender::new(Progress { durable, health: Health::Well }),
            damages,
        }
    }

    pub(super) fn engine(&self) -> RwLockReadGuard<'_, Option<Engine>> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the readers: whoever takes the engine out of this drops it alone.
    pub(super) fn engine_mut(&self) -> RwLockWriteGuard<'_, Option<Engine>> {
        self.engine.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        self.progress.borrow().health.clone()
    }

    /// To be called before a group is applied.
    pub(super) fn applying(&self, number: u64) {
        self.applied.store(number, Ordering::SeqCst);
    }

    pub(super) fn durable(&self, number: u64) {
        self.progress.send_modify(|progress| progress.durable = number);
    }

    pub(super) fn set_health(&self, health: Health) {
        self.progress.send_modify(|progress| progress.health = health);
    }

    /// Reads off the async threads, and waits until what was read is durable.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let engine = shared.engine();
            let Some(engine) = engine.as_ref() else {
                shared.health().check()?;
                return Err(StoreError::Closed);
            };
            let found = guarded(AssertUnwindSafe(|| read(engine)))
                .map_err(|panic| StoreError::unavailable("reading panicked", panic))??;
            Ok((found, shared.applied.load(Ordering::SeqCst)))
        });
        let (found, seen) = reading
            .await
            .map_err(|error| StoreError::unavailable("the runtime is shutting down", error))??;
        let mut progress = self.progress.subscribe();
        let reached = progress
            .wait_for(|now| now.durable >= seen || !matches!(now.health, Health::Well))
            .await
            .map_err(|_| StoreError::Closed)?;
        if reached.durable < seen {
            reached.health.check()?;
        }
        Ok(found)
    }
}
