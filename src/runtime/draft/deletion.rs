//! How a session becomes its tombstone.

use std::sync::Arc;

use crate::{
    model::{
        deletion::{Deleted, Removal},
        event::Lifecycle,
        inbox::Inbox,
        labels::{Labels, Metadata},
        record::{Failures, Runs, SessionRecord},
        usage::Usage,
    },
    store::Then,
};

use super::{Draft, Moment};

impl Draft {
    /// Makes the session its tombstone: its id and its start key, the state that it was in, and where its log ends. What it was called
    /// and what it used stays until the purge, in no index: whoever is told of its end has to know what that is the end of.
    pub(crate) fn delete(&mut self, by: Removal) {
        let has_begun = self.record.runs.count > 0;
        let ends = has_begun && !self.record.state().has_ended();
        self.log(Lifecycle::Deleted { by, ends });
        self.leave_family();
        let record = &mut self.record;
        record.deleted = Some(Deleted { at: self.moment.supervised, by, purged: false });
        record.policy = None;
        record.lineage = None;
        record.trimmed = None;
        record.footprint = None;
        record.inbox = Inbox::default();
        record.snapshots = Vec::new();
        record.steps = None;
        record.failures = Failures::default();
        record.recoveries = 0;
        record.abandoned = Vec::new();
        record.history.clear();
    }
}

/// What becomes of a tombstone when nothing else is left of its session: it is kept for a while, and then removed. None if
/// it is none, or nothing is due.
pub(crate) fn after_purge(tombstone: &SessionRecord, moment: Moment) -> Option<Then> {
    let deleted = tombstone.deleted?;
    if moment.supervised < tombstone.removed_from()? {
        return None;
    }
    if deleted.purged {
        return Some(Then::Forget);
    }
    let mut kept = tombstone.clone();
    kept.version += 1;
    kept.writer = moment.worker;
    kept.updated_at = moment.wall;
    kept.name = None;
    kept.external_id = None;
    kept.labels = Labels::default();
    kept.metadata = Metadata::default();
    kept.usage = Usage::default();
    kept.runs = Runs::default();
    kept.deleted = Some(Deleted { purged: true, ..deleted });
    Some(Then::Keep(Arc::new(kept)))
}
