//! Removing the older events of a session that goes on.

use super::{Refusal, purge::Verdict};
use crate::{
    faults::{self, Bug},
    model::{
        ids::{SessionId, WorkerGeneration},
        record::SessionRecord,
    },
};

/// Which events are to be removed of a session that goes on: those of which its record says that they are
/// [gone](SessionRecord::trimmed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// The worker that removes.
    pub generation: WorkerGeneration,
    /// The session.
    pub session: SessionId,
    /// Events up to this number may go.
    pub to: u64,
    /// How many rows are removed at most; 0 counts as 1. What a row is, the store decides, as with a
    /// [`Purge`](super::Purge).
    pub rows: usize,
}

impl Trim {
    /// Decides about it. `stored` is the stored record of its session.
    pub(super) fn admit(&self, stored: Option<&SessionRecord>) -> Verdict {
        // What was deleted is removed by a purge.
        let Some(stored) = stored.filter(|stored| !stored.is_deleted()) else {
            return Verdict::AlreadyDone;
        };
        let gone = stored.trimmed.as_ref().map_or(0, |trimmed| trimmed.to);
        if self.to > gone && !faults::planted(Bug::TrimWhatIsKept) {
            return Verdict::Refuse(Refusal::Version { found: Some(stored.version) });
        }
        Verdict::Do
    }
}
