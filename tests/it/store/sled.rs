//! What is special about the store on disk.

use std::{fs, path::Path};

use sessionkeeper::store::{SledStore, Store, StoreError};
use tempfile::TempDir;

use super::{
    contract::conformance,
    fixture::{
        Place, next, noise, only, opened, put, record, reopened, session, with_events,
        with_snapshot, worker,
    },
};

pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Place for Folder {
    type Store = SledStore;

    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    async fn open(&self) -> SledStore {
        SledStore::open(self.path()).expect("open")
    }
}

conformance!(Folder);
