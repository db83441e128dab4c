//! What the writer remembers of the sessions it wrote, so that it need not read and decode a record
//! in order to replace it.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use super::slots::{Place, Row};
use crate::model::{ids::SessionId, record::SessionRecord, state::State};

/// How many sessions without a run are remembered; each takes about a kilobyte.
const MOST_AT_REST: usize = 4096;

/// What must be known of a stored record to replace it.
#[derive(Debug)]
pub(super) struct Known {
    /// The record that was committed. The run of a session has the same one.
    pub(super) record: Arc<SessionRecord>,
    /// Whether the record may be split into pieces.
    pub(super) in_pieces: bool,
    /// The snapshots that are not in their slots, or may not be.
    elsewhere: Vec<Row>,
}

impl Known {
    /// What is known of a record that was read.
    pub(super) fn read(record: SessionRecord) -> Self {
        let place = Place::Unknown;
        let rows = record.snapshots.iter().map(|kept| Row { sequence: kept.sequence, place });
        Self { elsewhere: rows.collect(), record: Arc::new(record), in_pieces: true }
    }

    /// What is known of a record that is to be written, and of its snapshots.
    pub(super) fn written(
        record: &Arc<SessionRecord>,
        in_pieces: bool,
        mut snapshots: Vec<Row>,
    ) -> Self {
        snapshots.retain(|row| row.place != Place::Slot);
        Self { record: Arc::clone(record), in_pieces, elsewhere: snapshots }
    }

    /// The stored snapshots.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = Row> {
        self.record.snapshots.iter().map(|kept| {
            let elsewhere = self.elsewhere.iter().find(|row| row.sequence == kept.sequence);
            let in_slot = Row { sequence: kept.sequence, place: Place::Slot };
            elsewhere.copied().unwrap_or(in_slot)
        })
    }

    /// Whether somebody else has the record in memory anyway.
    fn has_run(&self) -> bool {
        match self.record.state() {
            State::Active | State::Stopping => true,
            State::Pending
            | State::Paused
            | State::Stopped
            | State::Completed
            | State::Failed
            | State::Expired => false,
        }
    }
}

/// The sessions that have a run, and some of the others that were written last.
#[derive(Debug, Default)]
pub(super) struct Cache {
    running: HashMap<SessionId, Known, RandomState>,
    at_rest: HashMap<SessionId, Known, RandomState>,
}

impl Cache {
    pub(super) fn take(&mut self, session: SessionId) -> Option<Known> {
        self.running.remove(&session).or_else(|| self.at_rest.remove(&session))
    }

    pub(super) fn put(&mut self, known: Known) {
        if known.has_run() {
            self.running.insert(known.record.id, known);
            return;
        }
        if self.at_rest.len() >= MOST_AT_REST {
            // Crude, and enough: those that are still written come back one read each.
            self.at_rest.clear();
        }
        self.at_rest.insert(known.record.id, known);
    }

    /// Forgets everything: what was written may not be what is stored.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.at_rest.clear();
    }
}
