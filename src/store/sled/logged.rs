//! What follows from events and is not kept yet, in a store that was put together from parts or is older than that: the
//! log of all sessions, and where runs are found.

use std::collections::HashMap;

use super::{
    engine::{Engine, reading},
    events,
    meta::Meta,
    plan::Plan,
    read,
    table::{Table, part_number},
};
use crate::{
    model::{
        ids::{ReaderName, SessionId},
        time::Timestamp,
    },
    store::{
        StoreError,
        bookmark::Carried,
        journal::{Entry, LogEnd},
        runs,
    },
};

/// How many entries share a row.
const GROUP: usize = 512;

/// How much is written at once: sled needs several times as much memory for it.
const TRANSACTION: usize = 1 << 20;

/// Writes what follows from events and is not there. Interrupted, it begins anew the next time.
pub(super) fn complete(engine: &Engine, meta: &mut Meta) -> Result<(), StoreError> {
    place(engine, meta)?;
    index_runs(engine, meta)
}

/// Gives all events a place in the log, by the time at which they were recorded, unless they have one.
fn place(engine: &Engine, meta: &mut Meta) -> Result<(), StoreError> {
    if meta.log.is_some() {
        return Ok(());
    }
    let mut end = LogEnd::default();
    let mut readers = carried(engine)?;
    for entries in in_order(engine)?.chunks(GROUP) {
        let mut plan = Plan::new(engine, meta.commit + 1);
        plan.log(end.last + 1, entries);
        readers.iter_mut().for_each(|reader| reader.look(end.last, entries));
        meta.commit = plan.number;
        plan.apply(meta)?;
        end.last += entries.iter().map(Entry::count).sum::<u64>();
    }
    meta.log = Some(end);
    if end.last > 0 {
        let mut plan = Plan::new(engine, meta.commit + 1);
        for Carrying { reader, mut carried, first, .. } in readers {
            carried.from = first.map_or(end.last, |first| first - 1);
            plan.bookmark(&carried.bookmark(reader, end.last))?;
        }
        meta.commit = plan.number;
        plan.apply(meta)?;
        engine.flush()?;
        engine.sync()?;
    }
    Ok(())
}

/// A reader whose bookmark is of another store, from which the events of this one are.
struct Carrying {
    reader: ReaderName,
    carried: Carried,
    /// Of each session with events that it had not read the first of them.
    unread: HashMap<SessionId, u64>,
    /// The first position of such an event.
    first: Option<u64>,
}

impl Carrying {
    /// Looks at entries that come behind a position.
    fn look(&mut self, mut position: u64, entries: &[Entry]) {
        if self.unread.is_empty() || self.first.is_some() {
            return;
        }
        for entry in entries {
            let before = self.unread.get(&entry.session()).copied();
            let before = before.and_then(|number| entry.before(number));
            if let Some(before) = before {
                self.first = Some(position + before + 1);
                return;
            }
            position += entry.count();
        }
    }
}

/// The bookmarks that were carried over.
fn carried(engine: &Engine) -> Result<Vec<Carrying>, StoreError> {
    let mut found = Vec::new();
    for bookmark in read::bookmarks(engine)? {
        let Ok(Some(carried)) = bookmark.carried() else { continue };
        let unread = carried.unread.iter().map(|unread| (unread.session, unread.first)).collect();
        found.push(Carrying { reader: bookmark.reader, carried, unread, first: None });
    }
    Ok(found)
}

/// Lets all runs be found, unless they are.
fn index_runs(engine: &Engine, meta: &mut Meta) -> Result<(), StoreError> {
    if meta.runs {
        return Ok(());
    }
    let before = meta.commit;
    let mut plan = Plan::new(engine, meta.commit + 1);
    let mut known = runs::BehindGap::default();
    let mut rows = engine.tree(Table::Events).iter();
    while let Some((key, raw)) = reading(|| rows.next().transpose())? {
        let Some((session, events)) = events::lifecycle(engine, &key, &raw)? else { continue };
        let first = part_number(session, &key).unwrap_or(1);
        if known.may_be_in(session, first)
            && let Some((.., all)) = events::row(engine, &key, &raw)?
        {
            plan.change_index(known.rows(&all));
        }
        plan.change_index(runs::rows(session, &events));
        if plan.bytes() >= TRANSACTION {
            meta.commit = plan.number;
            let next = Plan::new(engine, meta.commit + 1);
            std::mem::replace(&mut plan, next).apply(meta)?;
        }
    }
    meta.runs = true;
    if meta.commit > before || !plan.is_empty() {
        meta.commit = plan.number;
        plan.apply(meta)?;
        engine.flush()?;
        engine.sync()?;
    }
    Ok(())
}

/// The events that can be read, a row each, the oldest first.
fn in_order(engine: &Engine) -> Result<Vec<Entry>, StoreError> {
    let mut latest: HashMap<SessionId, Timestamp> = HashMap::new();
    let mut found = Vec::new();
    let mut rows = engine.tree(Table::Events).iter();
    while let Some((key, raw)) = reading(|| rows.next().transpose())? {
        let Some((session, first, events)) = events::row(engine, &key, &raw)? else { continue };
        let (Some(entry), Some(event)) = (Entry::of(session, &events), events.first()) else {
            continue;
        };
        // A wall clock that was set back does not change the order in which a session's events came.
        let latest = latest.entry(session).or_insert(event.at);
        *latest = event.at.max(*latest);
        found.push((*latest, session, first, entry));
    }
    found.sort_unstable_by_key(|(at, session, first, _)| (*at, *session, *first));
    Ok(found.into_iter().map(|(.., entry)| entry).collect())
}
