//! What is done for a commit before the thread that writes has it: all that takes time and needs no
//! look at the database.

use std::sync::Arc;

use super::chunks::{self, Cut};
use crate::store::{Batch, StoreError};

/// A batch whose large snapshots are cut into chunks.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) batch: Batch,
    /// One for each commit.
    pub(super) cuts: Vec<Option<Cut>>,
}

impl Prepared {
    /// Without a large snapshot this is done at once.
    pub(super) async fn new(batch: Batch) -> Result<Self, StoreError> {
        let mut snapshots = batch.commits.iter().filter_map(|commit| commit.snapshot.as_ref());
        if !snapshots.any(|snapshot| chunks::is_large(snapshot)) {
            let cuts = batch.commits.iter().map(|_| None).collect();
            return Ok(Self { batch, cuts });
        }
        tokio::task::spawn_blocking(move || {
            let cut = |commit: &Arc<crate::store::Commit>| {
                let large = commit.snapshot.as_ref().filter(|bytes| chunks::is_large(bytes))?;
                Some(Cut::new(commit.record.id, Arc::clone(large)))
            };
            Self { cuts: batch.commits.iter().map(cut).collect(), batch }
        })
        .await
        .map_err(|error| StoreError::unavailable("the runtime is shutting down", error))
    }
}
