//! How a [`SledStore`] is opened.

use std::path::PathBuf;

use super::SledStore;
use crate::store::StoreError;

/// What an acknowledged commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut. Every group of commits is synced to the device before it is acknowledged.
    #[default]
    Synced,
    /// The end of the process, also by `kill -9`, but not of the machine: after a power cut or a
    /// crash of the system the latest commits can be missing, or the store be damaged. Much
    /// faster on slow disks.
    Flushed,
}

/// What opening does with a store that is damaged as a whole.
///
/// Either way its files are first moved, as they are, into a folder `damaged-N` beside it. Where
/// something looks wrong with them, a copy is opened first, since opening them would change them.
/// That needs as much room as the store has; without it the files themselves are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// It fails with [`StoreError::StoreDamaged`], now and each time until somebody decides:
    /// [`repair`](crate::store::repair) rebuilds what can be read.
    #[default]
    Refuse,
    /// It begins with an empty store. [`Store::damaged`](crate::store::Store::damaged) names the
    /// folder that was set aside.
    StartFresh,
}

/// Options of a [`SledStore`]; see [`SledStore::options`].
#[derive(Debug, Clone)]
#[must_use = "options do nothing until they are used to open a store"]
pub struct SledOptions {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) on_damage: OnDamage,
    pub(super) cache_capacity: u64,
    pub(super) queue: usize,
}

impl SledOptions {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            durability: Durability::default(),
            on_damage: OnDamage::default(),
            cache_capacity: 32 << 20,
            queue: 1024,
        }
    }

    /// What an acknowledged commit survives (default [`Durability::Synced`]).
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// What is done with a store that is damaged as a whole (default [`OnDamage::Refuse`]).
    pub const fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.on_damage = on_damage;
        self
    }

    /// How many bytes of pages may stay in memory (default 32 MiB). More than this rarely helps:
    /// what a worker reads often it keeps itself.
    pub const fn cache_capacity(mut self, bytes: u64) -> Self {
        self.cache_capacity = bytes;
        self
    }

    /// Opens the store, or makes one where there is none.
    ///
    /// This call blocks, for about a quarter of a second with 100,000 sessions and a million
    /// events: make it before the runtime has work, or in `spawn_blocking`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has the store open; [`StoreError::StoreDamaged`]
    /// as [`on_damage`](Self::on_damage) says; [`StoreError::Open`], which says what to do, if
    /// the folder cannot be used.
    pub fn open(self) -> Result<SledStore, StoreError> {
        SledStore::open_with(self)
    }
}
