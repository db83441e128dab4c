//! What ours really writes for one operation, so that a floor can write the same.
//!
//! The library does the operation on a small store of its own. The rows of the database before and
//! after it are compared, and what differs is written again by the floor for as many sessions as
//! are measured: with other ids, and with other numbers where they count on.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use sessionkeeper::SessionId;

use super::sled::{Rows, TREES, Write, inside, rows_of};
use crate::workloads;

/// The trees whose values are snapshots. In their keys a number follows the session that grows by one
/// with each commit, or the slot of such a number.
const SNAPSHOTS: [&str; 3] = ["slots", "snapshots", "pieces"];

/// The rows of a store of ours as they are when nothing is under way any more.
pub(crate) async fn rows(store: &Path) -> anyhow::Result<Rows> {
    // What a run notes is committed within a tenth of a second.
    tokio::time::sleep(Duration::from_millis(250)).await;
    rows_of(&inside(store))
}

/// An operation on one session, in rows.
#[derive(Debug)]
pub(crate) struct Template {
    session: [u8; 16],
    /// All rows of the session before it.
    before: Vec<Write>,
    /// What it writes and removes.
    change: Vec<Write>,
}

impl Template {
    pub(crate) fn of(session: SessionId, before: &Rows, after: &Rows) -> anyhow::Result<Self> {
        let session = session.as_uuid().into_bytes();
        let is_ours = |key: &[u8]| find(key, &session).is_some();
        let write = |(tree, key): &(usize, Vec<u8>), value: Option<&Vec<u8>>| Write {
            tree: *tree,
            key: key.clone(),
            value: value.cloned(),
        };
        let (before, after) = (of_sessions(before), of_sessions(after));
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        let set = after.iter().filter(|(key, value)| before.get(key) != Some(value));
        let change: Vec<Write> = gone
            .map(|key| write(key, None))
            .chain(set.map(|(key, value)| write(key, Some(value))))
            .collect();
        ensure!(!change.is_empty(), "the operation wrote nothing");
        ensure!(change.iter().all(|row| is_ours(&row.key)), "it wrote rows of other sessions");
        let before = before.iter().filter(|((_, key), _)| is_ours(key));
        let before = before.map(|(key, value)| write(key, Some(value))).collect();
        Ok(Self { session, before, change })
    }

    /// The rows of a session before the operation, byte for byte but for the keys.
    pub(crate) fn rows(&self, session: usize) -> impl Iterator<Item = Write> {
        let id = self.id(session);
        self.before.iter().map(move |row| self.renamed(row, id, 0))
    }

    /// What the operation writes for a session that did it so many times before. The bytes of
    /// snapshots are new ones.
    pub(crate) fn writes(&self, session: usize, step: u64) -> Vec<Write> {
        let id = self.id(session);
        let renamed = self.change.iter().map(|row| {
            let mut row = self.renamed(row, id, step);
            if is_snapshot(&row)
                && let Some(value) = &mut row.value
            {
                workloads::refresh(value);
            }
            row
        });
        renamed.collect()
    }

    /// How many bytes of keys and values the operation writes.
    pub(crate) fn written(&self) -> usize {
        self.change.iter().map(Write::bytes).sum()
    }

    /// How many bytes of keys and values a session has after the operation.
    pub(crate) fn bytes(&self) -> usize {
        let is_changed = |row: &&Write| self.change.iter().any(|other| other.key == row.key);
        let stay = self.before.iter().filter(|row| !is_changed(row));
        let all = stay.chain(&self.change).filter(|row| row.value.is_some());
        all.map(Write::bytes).sum()
    }

    /// How many rows a session has in a tree before and after the operation.
    pub(crate) fn count(&self, tree: &str) -> (usize, usize) {
        let is_in = |row: &&Write| TREES.get(row.tree).copied() == Some(tree);
        let before: Vec<&Write> = self.before.iter().filter(is_in).collect();
        let has = |row: &Write| before.iter().any(|other| other.key == row.key);
        let changes = || self.change.iter().filter(is_in);
        let more = changes().filter(|row| row.value.is_some() && !has(row)).count();
        let less = changes().filter(|row| row.value.is_none() && has(row)).count();
        (before.len(), before.len() + more - less)
    }

    /// Ids in the order of their sessions, and as different as those of ours.
    fn id(&self, session: usize) -> [u8; 16] {
        let mut id = self.session;
        let number = session as u64;
        // About as many in a millisecond.
        let (time, rest) = id.split_at_mut(6);
        let mut millis = [0; 8];
        for (to, from) in millis.iter_mut().skip(2).zip(&*time) {
            *to = *from;
        }
        let millis = (u64::from_be_bytes(millis) + number / 16).to_be_bytes();
        for (to, from) in time.iter_mut().zip(millis.iter().skip(2)) {
            *to = *from;
        }
        let mut random = fastrand::Rng::with_seed(number);
        let counted = number.to_be_bytes();
        let counted = counted.into_iter().skip(4).chain(std::iter::repeat_with(|| random.u8(..)));
        for (to, from) in rest.iter_mut().zip(counted) {
            *to = from;
        }
        id
    }

    fn renamed(&self, row: &Write, id: [u8; 16], step: u64) -> Write {
        let mut row = row.clone();
        let is_snapshot = is_snapshot(&row);
        if let Some(place) = find(&row.key, &self.session)
            && let Some(rest) = row.key.get_mut(place..)
            && let Some((name, rest)) = rest.split_first_chunk_mut::<16>()
        {
            *name = id;
            if is_snapshot && let Some(number) = rest.first_chunk_mut::<8>() {
                *number = (u64::from_be_bytes(*number) + step).to_be_bytes();
            } else if is_snapshot && let [slot] = rest {
                *slot = u8::from((u64::from(*slot) + step) % 2 == 1);
            }
        }
        row
    }
}

/// Without the rows of the log of all sessions and the counters of sessions, which are written for a group of commits and not
/// for each, and without those by which runs are found. The floor does without them.
fn of_sessions(rows: &Rows) -> Rows {
    let is_of_all = |tree: usize, key: &[u8]| {
        TREES.get(tree) == Some(&"index") && matches!(key.first(), Some(b'c' | b'j' | b'u' | b'y'))
    };
    let rows = rows.iter().filter(|((tree, key), _)| !is_of_all(*tree, key));
    rows.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_snapshot(row: &Write) -> bool {
    TREES.get(row.tree).is_some_and(|tree| SNAPSHOTS.contains(tree))
}

fn find(key: &[u8], id: &[u8; 16]) -> Option<usize> {
    key.windows(16).position(|window| window == id)
}
