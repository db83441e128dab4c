//! Reads whatever can be read from a store.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{
    damage::Damages,
    engine::{Engine, OpenError, reading},
    layout::{self, Layout},
    mark::MarkFile,
    meta::Meta,
    read,
    table::{Table, part_key, part_number, session_key},
    value,
};
use crate::{
    model::ids::{InputId, SessionId},
    store::{
        Damage, StoreError,
        archive::{ArchiveError, Item},
        codec,
        index::{self, Index},
    },
};

/// Offline work has no use for a large cache.
pub(super) const CACHE: u64 = 32 << 20;

/// How many numbers in a row may be unreadable before the rest of a part is given up.
const PATIENCE: u64 = 4096;

/// What is done with a key and the body of its value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), ArchiveError>;
type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<(), ArchiveError>;

/// Reads the store in a folder, also one that was set aside.
pub(in crate::store) fn from_store(path: &Path, sink: Sink<'_>) -> Result<(), ArchiveError> {
    let layout = Layout::new(path);
    let _lock = layout.lock()?;
    let refused = |error| layout.refused("read the mark of the store", error);
    let (mark, _) = MarkFile::open(&layout.mark()).map_err(refused)?;
    match mark.mark().aside {
        Some(number) => from_aside(&layout, number, mark.mark().commit, sink),
        None => {
            let damages = Arc::new(Damages::default());
            let engine = Engine::open(&layout.sled(), CACHE, damages)
                .map_err(|error| error.into_store_error(&layout))?;
            everything(&engine, mark.mark().commit, sink)
        }
    }
}

/// Reads a copy of a store that was set aside. `expected` is the commit that its mark knows of.
pub(super) fn from_aside(
    layout: &Layout,
    number: u32,
    expected: u64,
    sink: Sink<'_>,
) -> Result<(), ArchiveError> {
    let refused = |error| layout.refused("copy the damaged files", error);
    let copy = layout.reading();
    layout::remove_folder(&copy).map_err(refused)?;
    layout::copy_folder(&layout.aside(number), &copy).map_err(refused)?;
    let engine = Engine::open(&copy, CACHE, Arc::default()).map_err(|error| match error {
        OpenError::Damaged(what) => StoreError::StoreDamaged {
            path: layout.root.clone(),
            aside: layout.aside(number),
            what,
        },
        error @ OpenError::System(_) => error.into_store_error(layout),
    })?;
    let read = everything(&engine, expected, sink);
    drop(engine);
    layout::remove_folder(&copy).map_err(refused)?;
    read
}

fn everything(engine: &Engine, expected: u64, sink: Sink<'_>) -> Result<(), ArchiveError> {
    if let Ok(meta) = Meta::read(engine) {
        let Meta { commit, supervised, .. } = meta.unwrap_or_default();
        if commit < expected {
            let reason = format!("the commits from {} to {expected} are lost", commit + 1);
            engine.damages.note(Damage::new(None, reason, &[]));
        }
        sink(Item::Store { supervised })?;
    }
    for session in sessions(engine) {
        // A record that cannot be read is noted; the rest of its session is still worth having.
        if let Some(record) = noted(engine, Some(session), read::record(engine, session)) {
            sink(Item::Record(Box::new(record)))?;
        }
        parts(engine, session, sink)?;
    }
    for damage in engine.damages.all() {
        sink(Item::Damage(damage))?;
    }
    Ok(())
}

/// Every session that is known, from its record or from the index.
fn sessions(engine: &Engine) -> BTreeSet<SessionId> {
    let mut found = BTreeSet::new();
    let mut rows = engine.tree(Table::Records).iter().keys();
    while let Some(key) = noted(engine, None, reading(|| rows.next().transpose())) {
        found.extend(Table::Records.session(&key));
    }
    let mut bound = index::ALL.to_vec();
    while let Some(key) = noted(engine, None, engine.above(&bound))
        && key.starts_with(index::ALL)
    {
        found.extend(index::session_of(&key));
        bound = key;
    }
    found
}

fn parts(engine: &Engine, session: SessionId, sink: Sink<'_>) -> Result<(), ArchiveError> {
    rows(engine, Table::Snapshots, session, &mut |key, body| {
        let Some(sequence) = part_number(session, key) else {
            return Ok(());
        };
        let bytes = body.to_vec();
        sink(Item::Snapshot { session, sequence, bytes })
    })?;
    rows(engine, Table::Inputs, session, &mut |key, body| {
        let sequence = part_number(session, key).unwrap_or(0);
        match codec::read_input(sequence, body) {
            Ok(input) => sink(Item::Input { session, input }),
            Err(why) => {
                engine.damages.value(Table::Inputs, key, &why, body);
                Ok(())
            }
        }
    })?;
    rows(engine, Table::InputIds, session, &mut |key, body| {
        let id = key.get(16..).and_then(|id| str::from_utf8(id).ok());
        let id = id.and_then(|id| InputId::new(id).ok());
        let (Some(id), Ok((sequence, checksum))) = (id, codec::read_input_id(body)) else {
            let why = codec::Unreadable::Misplaced;
            engine.damages.value(Table::InputIds, key, &why, body);
            return Ok(());
        };
        sink(Item::InputId { session, id, sequence, checksum })
    })?;
    rows(engine, Table::Events, session, &mut |key, body| {
        let first = part_number(session, key).unwrap_or(0);
        match codec::read_events(first, body, |_| true) {
            Ok(events) => events.into_iter().try_for_each(|event| {
                let event = Box::new(event);
                sink(Item::Event { session, event })
            }),
            Err(why) => {
                engine.damages.value(Table::Events, key, &why, body);
                Ok(())
            }
        }
    })
}

/// Walks over the readable values of a session in a table, and past those that are not.
fn rows(
    engine: &Engine,
    table: Table,
    session: SessionId,
    each: Each<'_>,
) -> Result<(), ArchiveError> {
    let prefix = session_key(session);
    let mut bound = prefix.to_vec();
    let mut failures = 0;
    loop {
        match reading(|| engine.tree(table).get_gt(&bound)) {
            Ok(Some((key, raw))) if key.starts_with(&prefix) => {
                failures = 0;
                if let Ok(body) = value::check(engine, table, &key, &raw) {
                    each(&key, &body)?;
                }
                bound = key.to_vec();
            }
            Ok(_) => return Ok(()),
            Err(error) => {
                noted::<()>(engine, Some(session), Err(error));
                failures += 1;
                let numbered = matches!(table, Table::Snapshots | Table::Inputs | Table::Events);
                if !numbered || failures > PATIENCE {
                    return Ok(());
                }
                let number = part_number(session, &bound).unwrap_or(0);
                bound = part_key(session, number.saturating_add(1));
            }
        }
    }
}

/// What was read, or a note that it could not be.
fn noted<T>(
    engine: &Engine,
    session: Option<SessionId>,
    read: Result<Option<T>, StoreError>,
) -> Option<T> {
    match read {
        Ok(found) => found,
        // Noted where it was found.
        Err(StoreError::Damaged { .. }) => None,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let reason = source.unwrap_or_else(|| error.to_string());
            engine.damages.note(Damage::new(session, reason, &[]));
            None
        }
    }
}
