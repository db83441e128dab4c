//! What is done for a commit before the thread that writes has it: all that takes time and needs no
//! look at the database.

use std::sync::Arc;

use super::{
    chunks::{self, Cut},
    events::Packed,
    table::Table,
    value::Value,
};
use crate::{
    model::{ids::WorkerGeneration, time::SupervisedTime},
    store::{Batch, Commit, StoreError, codec},
};

/// After how many commits other tasks have their turn.
const TURN: usize = 256;

/// A batch that is ready to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) generation: WorkerGeneration,
    pub(super) supervised: SupervisedTime,
    pub(super) commits: Vec<Ready>,
}

/// A commit that is ready to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) commit: Arc<Commit>,
    pub(super) record: Value,
    pub(super) events: Packed,
    /// A large snapshot, in chunks.
    pub(super) cut: Option<Cut>,
}

impl Prepared {
    /// Without a large snapshot this takes microseconds for each commit.
    pub(super) async fn new(batch: Batch) -> Result<Self, StoreError> {
        let Batch { generation, supervised, commits: batch } = batch;
        let mut commits = Vec::with_capacity(batch.len());
        for commit in batch {
            let cut = match &commit.snapshot {
                Some(snapshot) if chunks::is_large(snapshot) => {
                    let (session, snapshot) = (commit.record.id, Arc::clone(snapshot));
                    let cutting = move || Cut::new(session, snapshot);
                    let cut = tokio::task::spawn_blocking(cutting).await;
                    Some(cut.map_err(|error| {
                        StoreError::unavailable("the runtime is shutting down", error)
                    })?)
                }
                Some(_) | None => None,
            };
            commits.push(Ready::new(commit, cut));
            if commits.len().is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        Ok(Self { generation, supervised, commits })
    }
}

impl Ready {
    fn new(commit: Arc<Commit>, cut: Option<Cut>) -> Self {
        let record = Value::new(Table::Records, codec::record(&commit.record));
        let events = Packed::new(&commit.events);
        Self { commit, record, events, cut }
    }
}
