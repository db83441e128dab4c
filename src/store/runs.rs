//! Where a run is found by its id. These rows of the index follow from events, not from records: a session has had runs
//! that its record says nothing of.

use super::{
    StoreError,
    index::{self, Lookup},
};
#[cfg(feature = "sled")]
use crate::model::event::{Fact, Lifecycle};
use crate::{
    faults::{self, Bug},
    model::{
        event::{EventRecord, RunEdge},
        ids::{RunId, SessionId},
    },
};

/// Where a run is in the log of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRun {
    /// The session.
    pub session: SessionId,
    /// The number of the event that it began with. That may be gone; and in a store that was put together since then, from an archive or
    /// by a repair, this is the number of the first event of the run that is left.
    pub began: u64,
    /// The number of the event that says how it ended, if it has.
    pub ended: Option<u64>,
}

impl StoredRun {
    /// A run of a session, and the numbers of the events that it began and ended with.
    pub const fn new(session: SessionId, began: u64, ended: Option<u64>) -> Self {
        Self { session, began, ended }
    }
}

/// The rows of some events of a session.
pub(super) fn rows(
    session: SessionId,
    events: &[EventRecord],
) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    events.iter().filter_map(move |event| {
        let edge = event.run_edge()?;
        let value = match edge {
            RunEdge::Begins(_) => began(session, event.sequence),
            RunEdge::Ends(_) => event.sequence.to_be_bytes().to_vec(),
        };
        Some((key(edge), Some(value)))
    })
}

/// Finds the run, in the events of one session after the other, that had begun before the first event that is left. There is one at
/// most, as a session has one at a time.
#[cfg(feature = "sled")]
#[derive(Debug, Default)]
pub(super) struct BehindGap {
    /// The session that is looked at, and whether nothing of the kind is to be found in it any more.
    session: Option<SessionId>,
    is_over: bool,
}

#[cfg(feature = "sled")]
impl BehindGap {
    /// Whether it may be in the next events of a session, of which this is the first.
    pub(super) fn may_be_in(&mut self, session: SessionId, first: u64) -> bool {
        if self.session.replace(session) != Some(session) {
            self.is_over = first == 1;
        }
        !self.is_over
    }

    /// The row of such a run, if it is in these events.
    pub(super) fn rows(&mut self, events: &[EventRecord]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        // One that was abandoned may come back long after its end.
        let is_of_run = |event: &&EventRecord| {
            let returned = Fact::Lifecycle(Lifecycle::AbandonedRunReturned);
            event.run.is_some() && event.fact != returned
        };
        let first = events.iter().find(is_of_run)?;
        self.is_over = true;
        if let Some(RunEdge::Begins(_)) = first.run_edge() {
            return None;
        }
        Some((key(RunEdge::Begins(first.run?)), Some(began(self.session?, first.sequence))))
    }
}

fn began(session: SessionId, sequence: u64) -> Vec<u8> {
    let mut value = session.as_uuid().into_bytes().to_vec();
    value.extend_from_slice(&sequence.to_be_bytes());
    value
}

/// What changes where these events are removed of a session that goes on. A run is known as long as the event is there that it
/// ended with.
pub(super) fn trimmed(events: &[EventRecord]) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    let ended = events.iter().filter_map(|event| match event.run_edge()? {
        RunEdge::Begins(_) => None,
        RunEdge::Ends(run) => Some(run),
    });
    ended.flat_map(|run| [(key(RunEdge::Begins(run)), None), (key(RunEdge::Ends(run)), None)])
}

/// What changes where these events are removed of a session that was deleted. How a run began may be gone already.
pub(super) fn forgotten(
    events: &[EventRecord],
) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    let leaves = faults::planted(Bug::LeaveRunsOfPurged);
    let edges = events.iter().filter(move |_| !leaves).filter_map(EventRecord::run_edge);
    let keys = edges.flat_map(|edge| match edge {
        RunEdge::Begins(_) => vec![key(edge)],
        RunEdge::Ends(run) => vec![key(RunEdge::Begins(run)), key(edge)],
    });
    keys.map(|key| (key, None))
}

/// See [`Store::run`](super::Store::run).
pub(super) fn find(index: &impl Lookup, run: RunId) -> Result<Option<StoredRun>, StoreError> {
    let Some(began) = index.value(&key(RunEdge::Begins(run)))? else {
        return Ok(None);
    };
    let ended = index.value(&key(RunEdge::Ends(run)))?;
    Ok(Some(StoredRun {
        session: index::session_at(&began, 0)?,
        began: number_at(&began, 16)?,
        ended: ended.map(|ended| number_at(&ended, 0)).transpose()?,
    }))
}

fn number_at(row: &[u8], at: usize) -> Result<u64, StoreError> {
    let number = row.get(at..).and_then(|number| number.try_into().ok());
    number.map(u64::from_be_bytes).ok_or_else(|| index::odd_row(row))
}

/// These bytes are on disk.
fn key(edge: RunEdge) -> Vec<u8> {
    let (run, end) = match edge {
        RunEdge::Begins(run) => (run, b'b'),
        RunEdge::Ends(run) => (run, b'e'),
    };
    let mut key = vec![b'u'];
    key.extend_from_slice(run.as_uuid().as_bytes());
    key.push(end);
    key
}
