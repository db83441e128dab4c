//! What was found to be unreadable.

use std::{
    collections::{BTreeMap, HashSet},
    iter,
    num::NonZero,
    ops::Bound,
    sync::{Mutex, PoisonError},
    thread,
};

use super::{
    engine::Engine,
    table::{Table, step_of},
    value,
};
use crate::{
    model::ids::SessionId,
    store::{
        Damage, StoreError,
        codec::{self, Unreadable},
    },
};

#[cfg(test)]
mod tests;

/// What is known to be unreadable, once each.
#[derive(Debug, Default)]
pub(super) struct Damages {
    all: Mutex<BTreeMap<(Option<SessionId>, String), Damage>>,
    /// The keys of the snapshots among it.
    snapshots: Mutex<HashSet<Vec<u8>>>,
}

impl Damages {
    pub(super) fn note(&self, damage: Damage) {
        let mut known = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((damage.session, damage.reason.clone())).or_insert(damage);
    }

    /// Notes that a value cannot be read and gives the error for it.
    pub(super) fn value(
        &self,
        table: Table,
        key: &[u8],
        why: &Unreadable,
        bytes: &[u8],
    ) -> StoreError {
        let what = table.what();
        let session = table.session(key);
        let number = key.get(16..24).and_then(|number| number.try_into().ok());
        let number = number
            .filter(|_| key.len() == 24)
            .map_or_else(String::new, |number| format!(" {}", u64::from_be_bytes(number)));
        let step = session.filter(|_| table == Table::Steps);
        let number = match step.and_then(|session| step_of(session, key)) {
            Some((turn, key)) => format!(" {key:?} of turn {turn}"),
            None => number,
        };
        let reason = format!("its {what}{number} cannot be read: {why}");
        self.note(Damage::new(session, reason, bytes));
        if table == Table::Snapshots {
            self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_vec());
        }
        match session {
            Some(session) => StoreError::Damaged { session, what, reason: why.to_string() },
            None => StoreError::Unavailable {
                what: format!("the {what} cannot be read: {why}"),
                source: None,
            },
        }
    }

    /// Whether this snapshot could not be read.
    pub(super) fn has_snapshot(&self, key: &[u8]) -> bool {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    pub(super) fn all(&self) -> Vec<Damage> {
        let known = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }
}

/// How many threads look at the records at most: they share the pages that sled has in memory.
const THREADS: usize = 4;

/// Into how many parts the records are divided. There are more than threads, because sessions need
/// not be spread evenly over the keys: who is done early takes another part.
const PARTS: u8 = 64;

/// Looks at every record, without reading its content, and notes those that are damaged.
pub(super) fn scan(engine: &Engine) {
    let cuts = cuts(engine);
    let parts = Mutex::new(parts(&cuts));
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(part) = next() {
            scan_part(engine, part);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where the system has no other thread, this one does it all.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let blobs = engine.blobs();
    if blobs > 0 {
        let reason = format!("{blobs} values are in blob files, which a power cut can destroy");
        engine.damages.note(Damage::new(None, reason, &[]));
    }
}

/// The keys at which the records are divided; none where the first or the last cannot be read.
fn cuts(engine: &Engine) -> Vec<[u8; 16]> {
    let records = engine.tree(Table::Records);
    let ends = super::engine::reading(|| Ok(records.first()?.zip(records.last()?)));
    let Ok(Some(((first, _), (last, _)))) = ends else { return Vec::new() };
    let number = |key: &[u8]| key.first_chunk().map(|key| u128::from_be_bytes(*key));
    let (Some(first), Some(last)) = (number(&first), number(&last)) else { return Vec::new() };
    let step = last.saturating_sub(first) / u128::from(PARTS);
    (1..PARTS).map(|part| (first + u128::from(part) * step).to_be_bytes()).collect()
}

/// A range of keys.
type Part<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// What lies before, between and after the cuts. Every key is in one part, whatever it looks like.
fn parts(cuts: &[[u8; 16]]) -> impl Iterator<Item = Part<'_>> {
    let begins = cuts.iter().map(|cut| Bound::Included(cut.as_slice()));
    let ends = cuts.iter().map(|cut| Bound::Excluded(cut.as_slice()));
    iter::once(Bound::Unbounded).chain(begins).zip(ends.chain(iter::once(Bound::Unbounded)))
}

fn scan_part(engine: &Engine, part: Part<'_>) {
    let mut rows = engine.tree(Table::Records).range::<&[u8], _>(part);
    loop {
        let row = super::engine::reading(|| rows.next().transpose());
        match row {
            // Nearly all are one sound row, which need not be copied to tell so.
            Ok(Some((_, raw))) if codec::unseal(Table::Records.frame(), &raw).is_ok() => {}
            Ok(Some((key, raw))) => {
                // What it finds is in the list now; it is not ours to answer with.
                let _ = value::check(engine, Table::Records, &key, &raw);
            }
            Ok(None) => break,
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                let reason = format!(
                    "records could not be scanned to their end: {}",
                    source.unwrap_or_else(|| error.to_string())
                );
                engine.damages.note(Damage::new(None, reason, &[]));
                break;
            }
        }
    }
}
