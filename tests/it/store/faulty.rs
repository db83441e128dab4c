//! The store of the test kit that fails on demand: with nothing demanded, it is the store inside.

use std::sync::{Arc, Mutex};

use sessionkeeper::{
    SessionId,
    store::{MemoryStore, Part},
    testing::{FaultyStore, Interference, conformance},
};

use super::fixture::{Damageable, Place};

/// A store in memory behind one that gives way to other tasks before each call.
struct Wrapped {
    store: MemoryStore,
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Place for Wrapped {
    type Store = FaultyStore<MemoryStore>;

    fn new() -> Self {
        let rng = Arc::new(Mutex::new(fastrand::Rng::with_seed(7)));
        Self { store: MemoryStore::new(), rng }
    }

    async fn open(&self) -> FaultyStore<MemoryStore> {
        let store = FaultyStore::new(self.store.clone());
        let rng = Arc::clone(&self.rng);
        store.inject(move |_| Interference::Yield(rng.lock().unwrap().u32(0..4)));
        store
    }
}

impl Damageable for Wrapped {
    async fn damage_record(
        &self,
        store: FaultyStore<MemoryStore>,
        session: SessionId,
    ) -> FaultyStore<MemoryStore> {
        store.inner().damage(session, Part::Record);
        store
    }
}

conformance!(Wrapped, damage);
