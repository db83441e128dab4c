//! Removing what is left of a session that was deleted.

use std::sync::Arc;

use super::Refusal;
use crate::model::{
    ids::{SessionId, WorkerGeneration},
    record::SessionRecord,
};

/// What is to be removed of a session that was deleted: its snapshots, inputs and their ids, steps and events.
#[derive(Debug, Clone)]
pub struct Purge {
    /// The worker that removes.
    pub generation: WorkerGeneration,
    /// The session.
    pub session: SessionId,
    /// The version of its tombstone.
    pub version: u64,
    /// How many rows are removed at most; 0 counts as 1. What a row is, the store decides: it should take it about as long
    /// to remove one as to write a small value.
    pub rows: usize,
    /// What is done with the tombstone when nothing else is left.
    pub then: Then,
}

/// What becomes of a tombstone.
#[derive(Debug, Clone)]
pub enum Then {
    /// It is replaced by this one, of the next version.
    Keep(Arc<SessionRecord>),
    /// It is removed too: from then on the session never was.
    Forget,
}

/// How far a removal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// There is more to remove.
    More,
    /// Nothing is left to remove; after a purge, the tombstone is as it was to be.
    Done,
}

/// What is to be done about a purge.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Rows are to be removed.
    Do,
    /// All was done before.
    AlreadyDone,
    /// Nothing of it is done.
    Refuse(Refusal),
}

impl Purge {
    /// Decides about it. `stored` is the stored record of its session.
    pub(super) fn admit(&self, stored: Option<&SessionRecord>) -> Verdict {
        let Some(stored) = stored else {
            return match self.then {
                Then::Forget => Verdict::AlreadyDone,
                Then::Keep(_) => Verdict::Refuse(Refusal::Version { found: None }),
            };
        };
        if let Then::Keep(kept) = &self.then
            && (kept.version, kept.writer) == (stored.version, stored.writer)
        {
            return Verdict::AlreadyDone;
        }
        // A session that lives is not taken apart, whoever asks.
        if stored.version != self.version || !stored.is_deleted() {
            return Verdict::Refuse(Refusal::Version { found: Some(stored.version) });
        }
        Verdict::Do
    }
}
