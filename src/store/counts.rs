//! The counters of sessions by state: for all, for each kind and for each label.
//!
//! A counter changes with the records that it counts, in the same transaction, so reading one is no scan. Its key is
//! that of the rows of the [`index`](super::index) for the same sessions, behind a byte of its own:
//!
//! | counter | key after the first byte, `c` | value |
//! | --- | --- | --- |
//! | all | `a` | how many are in each state |
//! | kind | `k`, kind | the same |
//! | label | `l`, key, value | the same |
//!
//! One that is zero in all states is removed, but for that of all: where that is, the others are too.

use std::collections::{BTreeMap, HashMap};

use super::index;
use crate::{
    faults::{self, Bug},
    model::{
        counts::{Scope, StateCounts, counted},
        record::SessionRecord,
        state::State,
    },
};

/// What the keys of all counters begin with.
const COUNTER: u8 = b'c';

/// The counter of some sessions.
pub(super) fn key(scope: &Scope) -> Vec<u8> {
    with_byte(match scope {
        Scope::All => index::ALL.to_vec(),
        Scope::Kind(kind) => index::of_kind(kind),
        Scope::Label { key, value } => index::label(key, value),
    })
}

/// Whether a counter is kept though nothing is counted in it.
#[cfg(feature = "sled")]
pub(super) fn is_of_all(key: &[u8]) -> bool {
    counted_by(key) == Some(index::ALL)
}

/// What the keys of the index rows begin with that a counter counts.
#[cfg(feature = "sled")]
pub(super) fn counted_by(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[COUNTER])
}

fn with_byte(mut prefix: Vec<u8>) -> Vec<u8> {
    prefix.insert(0, COUNTER);
    prefix
}

/// What a session adds to one counter and takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Step {
    from: Option<State>,
    to: Option<State>,
}

impl Step {
    pub(super) fn apply(self, counts: &mut StateCounts) {
        if let Some(from) = self.from
            && !faults::planted(Bug::CountTwice)
        {
            counts.remove(from);
        }
        if let Some(to) = self.to {
            counts.add(to);
        }
    }
}

/// The counters that change where a record takes the place of an old one, and how.
pub(super) fn steps(old: Option<&SessionRecord>, new: &SessionRecord) -> BTreeMap<Vec<u8>, Step> {
    let mut steps: BTreeMap<Vec<u8>, Step> = BTreeMap::new();
    // As it is with most commits.
    if old.is_some_and(|old| {
        counted(old) == counted(new) && old.kind == new.kind && old.labels == new.labels
    }) {
        return steps;
    }
    if let Some((old, from)) = old.and_then(|old| Some((old, counted(old)?))) {
        for key in counters_of(old) {
            steps.entry(key).or_default().from = Some(from);
        }
    }
    if let Some(to) = counted(new) {
        for key in counters_of(new) {
            steps.entry(key).or_default().to = Some(to);
        }
    }
    steps.retain(|_, step| step.from != step.to);
    steps
}

/// The counters that a session is counted in.
pub(super) fn counters_of(record: &SessionRecord) -> impl Iterator<Item = Vec<u8>> {
    let labels = record.labels.iter().map(|(key, value)| index::label(key, value));
    [index::ALL.to_vec(), index::of_kind(&record.kind)].into_iter().chain(labels).map(with_byte)
}

/// Counters in memory.
#[derive(Debug, Default)]
pub(super) struct Counters(HashMap<Vec<u8>, StateCounts>);

impl Counters {
    pub(super) fn get(&self, scope: &Scope) -> StateCounts {
        self.0.get(&key(scope)).copied().unwrap_or_default()
    }

    /// A record takes the place of an old one.
    pub(super) fn replace(&mut self, old: Option<&SessionRecord>, new: &SessionRecord) {
        for (key, step) in steps(old, new) {
            let counts = self.0.entry(key.clone()).or_default();
            step.apply(counts);
            if counts.total() == 0 {
                self.0.remove(&key);
            }
        }
    }
}
