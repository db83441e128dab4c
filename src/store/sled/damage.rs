//! What was found to be unreadable.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use super::{engine::Engine, table::Table, value};
use crate::{
    model::ids::SessionId,
    store::{Damage, StoreError, codec::Unreadable},
};

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

/// Looks at every record, without reading its content, and notes those that are damaged.
pub(super) fn scan(engine: &Engine) {
    let mut rows = engine.tree(Table::Records).iter();
    loop {
        let row = super::engine::reading(|| rows.next().transpose());
        match row {
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
    let blobs = engine.blobs();
    if blobs > 0 {
        let reason = format!("{blobs} values are in blob files, which a power cut can destroy");
        engine.damages.note(Damage::new(None, reason, &[]));
    }
}
