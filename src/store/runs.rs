//! Where a run is found by its id. These rows of the index follow from events, not from records: a session has had runs
//! that its record says nothing of.

use super::{
    StoreError,
    index::{self, Lookup},
};
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
    /// The number of the event that it began with.
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
        let mut value = match edge {
            RunEdge::Begins(_) => session.as_uuid().into_bytes().to_vec(),
            RunEdge::Ends(_) => Vec::new(),
        };
        value.extend_from_slice(&event.sequence.to_be_bytes());
        Some((key(edge), Some(value)))
    })
}

/// What changes where these events are removed.
pub(super) fn forgotten(
    events: &[EventRecord],
) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    let leaves = faults::planted(Bug::LeaveRunsOfPurged);
    let edges = events.iter().filter(move |_| !leaves).filter_map(EventRecord::run_edge);
    edges.map(|edge| (key(edge), None))
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
