//! The store of a worker, as long as the worker has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Store, StoreError};

/// Holds the store for everybody in a worker. Those who use it take it for one call at a time, so
/// that it is free as soon as the worker lets go of it.
#[derive(Clone)]
pub(crate) struct StoreCell(Arc<Mutex<Option<Arc<dyn Store>>>>);

impl StoreCell {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Mutex::new(Some(store))))
    }

    /// The store, for one call.
    pub(crate) fn get(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.lock().as_ref().map(Arc::clone).ok_or(StoreError::Closed)
    }

    /// Lets go of the store; gives it to the first who asks.
    pub(crate) fn release(&self) -> Option<Arc<dyn Store>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Store>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
