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
    store::{Batch, Bookmark, Commit, StoreError, codec},
};

/// After how many commits other tasks have their turn.
const TURN: usize = 256;

/// A batch that is ready to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) generation: WorkerGeneration,
    pub(super) supervised: SupervisedTime,
    pub(super) commits: Vec<Ready>,
    pub(super) bookmarks: Vec<Bookmark>,
}

/// A commit that is ready to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) commit: Arc<Commit>,
    pub(super) record: Value,
    pub(super) events: Packed,
    /// A large snapshot, in chunks.
    pub(super) cut: Option<Cut>,
    /// The successor that it comes with.
    pub(super) successor: Option<Box<Self>>,
}

impl Prepared {
    /// Without a large snapshot this takes microseconds for each commit.
    pub(super) async fn new(batch: Batch) -> Result<Self, StoreError> {
        let Batch { generation, supervised, commits, bookmarks } = batch;
        let commits = if commits.iter().any(is_large) {
            let all = move || commits.into_iter().map(Ready::new).collect();
            tokio::task::spawn_blocking(all)
                .await
                .map_err(|error| StoreError::unavailable("the runtime is shutting down", error))?
        } else {
            in_turns(commits).await
        };
        Ok(Self { generation, supervised, commits, bookmarks })
    }
}

async fn in_turns(commits: Vec<Arc<Commit>>) -> Vec<Ready> {
    let mut ready = Vec::with_capacity(commits.len());
    for commit in commits {
        ready.push(Ready::new(commit));
        if ready.len().is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }
    ready
}

fn is_large(commit: &Arc<Commit>) -> bool {
    commit.both().any(|one| one.snapshot.as_deref().is_some_and(chunks::is_large))
}

impl Ready {
    fn new(commit: Arc<Commit>) -> Self {
        let record = Value::new(Table::Records, codec::record(&commit.record));
        let events = Packed::new(&commit.events);
        let large = commit.snapshot.as_ref().filter(|snapshot| chunks::is_large(snapshot));
        let cut = large.map(|snapshot| Cut::new(commit.record.id, Arc::clone(snapshot)));
        let successor = commit.successor.clone().map(|successor| Box::new(Self::new(successor)));
        Self { commit, record, events, cut, successor }
    }
}
