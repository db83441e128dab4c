//! Where the store of a test is kept.

use std::future::Future;

use crate::{
    model::ids::SessionId,
    store::{MemoryStore, Store},
};

/// Where a store is kept while a test lasts, be it a folder, a server or a memory.
///
/// A test opens a store there, drops it, and opens it again, as a worker does that was killed
/// and the one after it. What was durable must be there again.
///
/// ```
/// # #[cfg(feature = "sled")] {
/// use sessionkeeper::{store::SledStore, testing::Place};
///
/// struct Folder(tempfile::TempDir);
///
/// impl Place for Folder {
///     type Store = SledStore;
///
///     fn new() -> Self {
///         Self(tempfile::tempdir().expect("a folder"))
///     }
///
///     async fn open(&self) -> SledStore {
///         SledStore::open(self.0.path()).expect("open")
///     }
/// }
/// # }
/// ```
pub trait Place: Sized + Send + Sync + 'static {
    /// What is kept there.
    type Store: Store;
    /// Whether the store works on tokio's paused time: it waits for no disk, no thread and no
    /// socket. Where it does wait for one, paused time runs ahead, and sessions expire meanwhile.
    const PAUSED_TIME: bool = false;

    /// A new place, and nothing is there yet. It is cleared away when it is dropped.
    ///
    /// # Panics
    /// Where there is no such place to be had: then the test fails.
    fn new() -> Self;

    /// Opens the store. Whatever opened it before was dropped or closed.
    ///
    /// # Panics
    /// Where it cannot be opened: then the test fails.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;
}

/// A [`Place`] where a test can make a session unreadable, as a bad sector does.
pub trait Damageable: Place {
    /// Makes the record of a session unreadable, whatever it takes: closing the store, spoiling
    /// the stored bytes, opening it again. Gives back the store, on which no worker has begun.
    ///
    /// # Panics
    /// Where it cannot be done: then the test fails.
    fn damage_record(
        &self,
        store: Self::Store,
        session: SessionId,
    ) -> impl Future<Output = Self::Store> + Send;
}

/// A place for its own clones.
impl Place for MemoryStore {
    type Store = Self;
    const PAUSED_TIME: bool = true;

    fn new() -> Self {
        Self::new()
    }

    async fn open(&self) -> Self {
        self.clone()
    }
}

impl Damageable for MemoryStore {
    async fn damage_record(&self, store: Self, session: SessionId) -> Self {
        store.damage(session, crate::store::Part::Record);
        store
    }
}
