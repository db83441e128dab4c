//! What the writer remembers of the sessions it wrote last, so that it need not read and decode a
//! record in order to replace it.

use std::collections::HashMap;

use super::value;
use crate::{
    model::{ids::SessionId, record::SessionRecord},
    store::{
        Commit,
        admit::Stored,
        index::{self, Rows},
    },
};

/// How many sessions are remembered; each takes less than a kilobyte.
const MOST: usize = 8192;

/// What must be known of a record to replace it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) stored: Stored,
    pub(super) rows: Rows,
    pub(super) covered: u64,
    pub(super) accepted: u64,
    pub(super) snapshots: Vec<Row>,
    /// Whether the record may be split into pieces.
    pub(super) in_pieces: bool,
}

/// A snapshot that is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) sequence: u64,
    /// Whether it may take more than its own row.
    pub(super) is_split: bool,
}

impl Known {
    /// What is known of a record that was read.
    pub(super) fn read(record: &SessionRecord) -> Self {
        let snapshots =
            record.snapshots.iter().map(|kept| Row { sequence: kept.sequence, is_split: true });
        Self {
            stored: Stored::of(record),
            rows: index::rows(record),
            covered: record.inputs_covered(),
            accepted: record.inbox.accepted,
            snapshots: snapshots.collect(),
            in_pieces: true,
        }
    }

    /// What is known after a commit, given what was known before.
    pub(super) fn written(commit: &Commit, body: &[u8], rows: Rows, old: Option<&Self>) -> Self {
        let record = &commit.record;
        let before = |sequence| {
            old.and_then(|old| old.snapshots.iter().find(|row| row.sequence == sequence))
                .is_none_or(|row| row.is_split)
        };
        let snapshots = record.snapshots.iter().enumerate().map(|(place, kept)| Row {
            sequence: kept.sequence,
            is_split: match &commit.snapshot {
                Some(bytes) if place == 0 => value::is_in_pieces(bytes),
                Some(_) | None => before(kept.sequence),
            },
        });
        Self {
            stored: Stored::of(record),
            rows,
            covered: record.inputs_covered(),
            accepted: record.inbox.accepted,
            snapshots: snapshots.collect(),
            in_pieces: value::is_in_pieces(body),
        }
    }
}

/// The sessions that were written last.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<SessionId, Known>);

impl Cache {
    pub(super) fn take(&mut self, session: SessionId) -> Option<Known> {
        self.0.remove(&session)
    }

    pub(super) fn put(&mut self, session: SessionId, known: Known) {
        if self.0.len() >= MOST {
            // Crude, and enough: those that are still written come back one read each.
            self.0.clear();
        }
        self.0.insert(session, known);
    }

    /// Forgets everything: what was written may not be what is stored.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
