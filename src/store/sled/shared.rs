//! What the writer thread and the readers of a store share.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::Semaphore;

use super::{
    damage::Damages,
    engine::{Engine, guarded},
    visible::{Health, Visible},
};
use crate::{
    faults::{self, Bug},
    store::StoreError,
};

/// How many reads there are at once. Most take microseconds: more of them would only be more
/// threads for the same cores.
const READERS: usize = 4;

#[derive(Debug)]
pub(super) struct Shared {
    /// `None` where the store is closed, or failed and could not be opened again.
    engine: RwLock<Option<Engine>>,
    visible: Visible,
    readers: Arc<Semaphore>,
    pub(super) damages: Arc<Damages>,
    /// How many bytes were handed to the database, for the tests of how little that is.
    #[cfg(test)]
    written: std::sync::atomic::AtomicUsize,
}

impl Shared {
    pub(super) fn new(engine: Engine, durable: u64, damages: Arc<Damages>) -> Self {
        Self {
            engine: RwLock::new(Some(engine)),
            visible: Visible::new(durable),
            readers: Arc::new(Semaphore::new(READERS)),
            damages,
            #[cfg(test)]
            written: 0.into(),
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
        self.visible.health()
    }

    /// To be called before a group is applied.
    pub(super) fn applying(&self, number: u64) {
        self.visible.applying(number);
    }

    pub(super) fn durable(&self, number: u64) {
        self.visible.durable(number);
    }

    #[cfg(test)]
    pub(super) fn count(&self, bytes: usize) {
        self.written.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// How many bytes were counted since this was asked last.
    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        self.written.swap(0, std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn set_health(&self, health: Health) {
        self.visible.set_health(health);
    }

    /// Reads off the async threads, and waits until what was read is durable.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // It is never closed.
        let turn = Arc::clone(&self.readers).acquire_owned().await;
        let shared = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let engine = shared.engine();
            let Some(engine) = engine.as_ref() else {
                shared.health().check()?;
                return Err(StoreError::Closed);
            };
            let found = guarded(AssertUnwindSafe(|| read(engine)))
                .map_err(|panic| StoreError::unavailable("reading panicked", panic))??;
            Ok((found, shared.visible.seen()))
        });
        let (found, seen) = reading
            .await
            .map_err(|error| StoreError::unavailable("the runtime is shutting down", error))??;
        if faults::planted(Bug::ReadBeforeDurable) {
            return Ok(found);
        }
        self.visible.wait(seen).await?;
        Ok(found)
    }
}
