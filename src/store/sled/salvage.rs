//! Reads whatever can be read from a store.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    engine::{Engine, OpenError, reading},
    events::read_sound,
    layout::{self, Layout},
    log::{self, Log},
    mark::Mark,
    meta::Meta,
    read, slots,
    table::{Table, part_key, part_number, session_key, step_of},
    value,
};
use crate::{
    model::{
        ids::{InputId, RunId, SessionId},
        step::{StepProgress, StoredStep},
        time::Timestamp,
    },
    store::{
        Bookmark, Damage, LogEnd, LogItem, LogQuery, Logged, Order, StoreError,
        archive::{ArchiveError, Item},
        bookmark::{Carried, Unread},
        codec,
        index::{self, Index},
        journal,
    },
};

#[cfg(test)]
mod tests;

/// Offline work has no use for a large cache.
pub(super) const CACHE: u64 = 32 << 20;

/// How many events of the log are read at once.
const PAGE: usize = 1024;

/// How many numbers in a row may be unreadable before the rest of a part is given up.
const PATIENCE: u64 = 4096;

/// What is done with a key and the body of its value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), ArchiveError>;
type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<(), ArchiveError>;

/// Reads the store in a folder, also one that was set aside.
pub(in crate::store) fn from_store(path: &Path, sink: Sink<'_>) -> Result<(), ArchiveError> {
    let layout = Layout::new(path);
    let _lock = layout.lock()?;
    let (mark, _) = layout.open_mark()?;
    match mark.mark().aside {
        Some(number) => from_aside(&layout, number, mark.mark().commit, sink),
        None => {
            let refused = |error: OpenError| error.into_store_error(&layout);
            let is_sound = log::check(&layout.sled(), &mark.mark()) == Log::Whole;
            let copied = if is_sound { None } else { Some(Copy::of(&layout, &layout.sled())?) };
            let engine = match &copied {
                None => Engine::open(&layout.sled(), CACHE, Arc::default()),
                Some(copy) => copy.open(),
            };
            everything(&engine.map_err(refused)?, mark.mark().commit, sink)
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
    let copy = Copy::of(layout, &layout.aside(number))?;
    let engine = copy.open().map_err(|error| match error {
        OpenError::Damaged(what) => StoreError::StoreDamaged {
            path: layout.root.clone(),
            aside: layout.aside(number),
            what,
        },
        error @ (OpenError::Io(_) | OpenError::System(_)) => error.into_store_error(layout),
    })?;
    if let Ok(None) = Meta::read(&engine) {
        let reason = "nothing is in the files that were set aside";
        engine.damages.note(Damage::new(None, reason, &[]));
    }
    everything(&engine, expected, sink)
}

/// A copy of a database, which is opened in its place since that changes it.
struct Copy {
    folder: PathBuf,
    is_torn: bool,
}

impl Copy {
    fn of(layout: &Layout, database: &Path) -> Result<Self, StoreError> {
        let refused = |error| layout.refused("copy the damaged files", error);
        let copy = Self {
            folder: layout.reading(),
            is_torn: log::check(database, &Mark::default()) == Log::Torn,
        };
        layout::remove_folder(&copy.folder).map_err(refused)?;
        layout::copy_folder(database, &copy.folder).map_err(refused)?;
        Ok(copy)
    }

    fn open(&self) -> Result<Engine, OpenError> {
        let engine = Engine::open(&self.folder, CACHE, Arc::default())?;
        if self.is_torn {
            let reason = "the log is damaged, so some of the latest changes may be missing";
            engine.damages.note(Damage::new(None, reason, &[]));
        }
        Ok(engine)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What is left of it is removed before the next copy is made.
        let _ = layout::remove_folder(&self.folder);
    }
}

fn everything(engine: &Engine, expected: u64, sink: Sink<'_>) -> Result<(), ArchiveError> {
    let mut end = LogEnd::default();
    if let Ok(meta) = Meta::read(engine) {
        let Meta { commit, supervised, log, .. } = meta.unwrap_or_default();
        end = log.unwrap_or_default();
        if commit < expected {
            let reason = format!("the commits from {} to {expected} are lost", commit + 1);
            engine.damages.note(Damage::new(None, reason, &[]));
        }
        sink(Item::Store { supervised })?;
    }
    let bookmarks = noted(engine, None, read::bookmarks(engine).map(Some)).unwrap_or_default();
    for session in sessions(engine) {
        // A record that cannot be read is noted; the rest of its session is still worth having.
        let record = noted(engine, Some(session), read::record(engine, session));
        let tombstone = record.as_ref().and_then(|record| record.deleted);
        if let Some(record) = record {
            sink(Item::Record(Box::new(record)))?;
        }
        match tombstone {
            None => parts(engine, session, sink)?,
            // What a purge has not come to goes with the old files; that it was deleted must not, and neither what those have to read
            // who read the log.
            Some(deleted) if !deleted.purged && !bookmarks.is_empty() => {
                events(engine, session, sink)?;
            }
            Some(_) => {}
        }
    }
    for bookmark in bookmarks {
        if let Some(carried) = carried(engine, end, &bookmark) {
            sink(Item::Bookmark { reader: bookmark.reader, carried })?;
        }
    }
    for damage in engine.damages.all() {
        sink(Item::Damage(damage))?;
    }
    Ok(())
}

/// What is to be known elsewhere of a reader of the log; nothing, where its place is not in this one.
fn carried(engine: &Engine, end: LogEnd, bookmark: &Bookmark) -> Option<Carried> {
    let Bookmark { cursor, note, .. } = bookmark;
    let before = match bookmark.carried() {
        Err(_) => return None,
        Ok(Some(before)) => before,
        Ok(None) if cursor.log() != end.log || cursor.position() > end.last => return None,
        Ok(None) => Carried { from: 0, unread: Vec::new(), note: Arc::clone(note) },
    };
    let mut unread: BTreeMap<SessionId, (u64, u64)> = BTreeMap::new();
    let mut add = |session, first: u64, last: u64| {
        let range = unread.entry(session).or_insert((first, last));
        *range = (range.0.min(first), range.1.max(last));
    };
    before.unread.iter().for_each(|unread| add(unread.session, unread.first, unread.last));
    let mut next = cursor.position() + 1;
    while next <= end.last {
        let query =
            LogQuery { from: next, order: Order::OldestFirst, limit: PAGE, ..LogQuery::default() };
        let page =
            journal::page(engine, end, &query, |session, range| read_sound(engine, session, range));
        let Some(page) = noted(engine, None, page.map(Some)) else { break };
        for item in page.items {
            if let LogItem::Event(Logged { session, event, .. }) = item {
                add(session, event.sequence, event.sequence);
            }
        }
        next = page.next.max(next + 1);
    }
    let unread = unread.into_iter();
    let unread = unread.map(|(session, (first, last))| Unread { session, first, last });
    Some(Carried { from: 0, unread: unread.collect(), ..before })
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
    rows(engine, Table::Slots, session, &mut |key, body| match slots::numbered(body) {
        Ok((sequence, bytes)) => {
            let bytes = bytes.to_vec();
            sink(Item::Snapshot { session, sequence, bytes })
        }
        Err(why) => {
            engine.damages.value(Table::Slots, key, &why, body);
            Ok(())
        }
    })?;
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
    steps(engine, session, sink)?;
    events(engine, session, sink)
}

fn events(engine: &Engine, session: SessionId, sink: Sink<'_>) -> Result<(), ArchiveError> {
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

/// The steps of a session. Of one that cannot be read it is still known that it was begun, and it
/// must not be taken for one that never was.
fn steps(engine: &Engine, session: SessionId, sink: Sink<'_>) -> Result<(), ArchiveError> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let rows = read::step_rows(engine, session, all).map(Some);
    for row in noted(engine, Some(session), rows).unwrap_or_default() {
        let read = value::read(engine, Table::Steps, &row)
            .and_then(|body| body.map(|body| read::step(engine, session, &row, &body)).transpose());
        let lost = step_of(session, &row).map(|(turn, key)| StoredStep {
            turn,
            key,
            run: RunId::from_uuid(Uuid::nil()),
            at: Timestamp::default(),
            progress: StepProgress::Begun,
        });
        if let Some(step) = noted(engine, Some(session), read).or(lost) {
            sink(Item::Step { session, step })?;
        }
    }
    Ok(())
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
                let body = value::check(engine, table, &key, &raw).map(Some);
                if let Some(body) = noted(engine, Some(session), body) {
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
