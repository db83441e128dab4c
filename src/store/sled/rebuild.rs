//! Puts a store together from its parts.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    engine::Engine,
    events::{self, Packed},
    layout::{self, Layout},
    mark::{Found, MarkFile},
    meta::Meta,
    open::set_aside_as,
    plan::Plan,
    salvage::{self, CACHE},
    table::{Table, input_id_key, part_key, step_key},
};
use crate::{
    model::{event::EventRecord, ids::SessionId},
    store::{
        Damage, StoreError,
        archive::{ArchiveError, Item, Salvaged},
        codec,
    },
};

/// How much is written at once: sled needs several times as much memory for it.
const TRANSACTION: usize = 1 << 20;

type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<(), ArchiveError>;

/// Fills an empty folder with what `source` gives.
pub(in crate::store) fn into_empty(
    path: &Path,
    report: &mut Salvaged,
    source: impl FnOnce(Sink<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let layout = Layout::new(path);
    let _lock = layout.lock()?;
    let (mut mark, _) = layout.open_mark()?;
    if mark.mark().commit > 0 || mark.mark().aside.is_some() || !is_empty(&layout)? {
        return Err(ArchiveError::NotEmpty { path: path.to_owned() });
    }
    let commit = rebuild(&layout, report, source)?;
    take_place(&layout, &mut mark, commit)
}

/// Sets a store aside and fills the folder with what can be read of it. Gives the folder where
/// its files are now.
pub(in crate::store) fn in_place(
    path: &Path,
    report: &mut Salvaged,
) -> Result<PathBuf, ArchiveError> {
    let layout = Layout::new(path);
    let _lock = layout.lock()?;
    let (mut mark, found) = layout.open_mark()?;
    if found == Found::Unreadable {
        let reason = "the mark of the store could not be read, \
                      so it is not known whether its latest commits are there";
        report.lost.push(Damage::new(None, reason, &[]));
    }
    let number = match mark.mark().aside {
        Some(number) if layout.aside(number).exists() => number,
        Some(_) | None => set_aside_as(&layout, &mut mark)?,
    };
    let expected = mark.mark().commit;
    let commit =
        rebuild(&layout, report, |sink| salvage::from_aside(&layout, number, expected, sink))?;
    take_place(&layout, &mut mark, commit)?;
    Ok(layout.aside(number))
}

fn is_empty(layout: &Layout) -> Result<bool, StoreError> {
    if !layout.sled().exists() {
        return Ok(true);
    }
    let engine = Engine::open(&layout.sled(), CACHE, Arc::default())
        .map_err(|error| error.into_store_error(layout))?;
    Ok(Meta::read(&engine)?.is_none())
}

/// Puts a database together beside the place where it belongs, and gives its last commit.
fn rebuild(
    layout: &Layout,
    report: &mut Salvaged,
    source: impl FnOnce(Sink<'_>) -> Result<(), ArchiveError>,
) -> Result<u64, ArchiveError> {
    let path = layout.rebuilding();
    layout::remove_folder(&path)
        .map_err(|error| layout.refused("clear the folder `rebuilding`", error))?;
    let engine = Engine::open(&path, CACHE, Arc::default())
        .map_err(|error| error.into_store_error(layout))?;
    let mut builder = Builder {
        plan: Plan::new(&engine, 1),
        meta: Meta::default(),
        sessions: HashSet::new(),
        orphans: HashSet::new(),
        events: Vec::new(),
        whose: None,
    };
    source(&mut |item| {
        if builder.is_orphan(&item) {
            return Ok(());
        }
        report.count(&item);
        builder.add(item)
    })?;
    let (commit, orphans) = builder.finish()?;
    let mut orphans: Vec<_> = orphans.into_iter().collect();
    orphans.sort_unstable();
    report.lost.extend(orphans.into_iter().map(|session| {
        let reason = "its record is lost, so the rest of it was left out";
        Damage::new(Some(session), reason, &[])
    }));
    engine.flush()?;
    engine.sync()?;
    Ok(commit)
}

/// Lets a rebuilt database take its place. The mark is written last: until then the folder is
/// as it was.
fn take_place(layout: &Layout, mark: &mut MarkFile, commit: u64) -> Result<(), ArchiveError> {
    layout::remove_folder(&layout.sled())
        .and_then(|()| fs::rename(layout.rebuilding(), layout.sled()))
        .and_then(|()| layout::sync_folder(&layout.root))
        .and_then(|()| {
            mark.write(|mark| {
                mark.commit = commit;
                mark.length = 0;
                mark.aside = None;
            })
        })
        .and_then(|()| mark.sync())
        .map_err(|error| layout.refused("put the rebuilt store in its place", error))?;
    Ok(())
}

struct Builder<'a> {
    plan: Plan<'a>,
    meta: Meta,
    /// Sessions whose record is there.
    sessions: HashSet<SessionId>,
    /// Sessions of which only other parts are there.
    orphans: HashSet<SessionId>,
    /// Events that are not planned yet: of one session, without gaps.
    events: Vec<EventRecord>,
    whose: Option<SessionId>,
}

impl Builder<'_> {
    /// Whether this belongs to a session without a record: nothing could ever find it.
    fn is_orphan(&mut self, item: &Item) -> bool {
        let session = match item {
            Item::Snapshot { session, .. }
            | Item::Input { session, .. }
            | Item::InputId { session, .. }
            | Item::Step { session, .. }
            | Item::Event { session, .. } => *session,
            Item::Store { .. } | Item::Record(_) | Item::Bookmark { .. } | Item::Damage(_) => {
                return false;
            }
        };
        let is_orphan = !self.sessions.contains(&session);
        if is_orphan {
            self.orphans.insert(session);
        }
        is_orphan
    }

    fn add(&mut self, item: Item) -> Result<(), ArchiveError> {
        match item {
            Item::Store { supervised } => self.meta.supervised = supervised,
            Item::Record(record) => {
                if !self.sessions.insert(record.id) {
                    return Err(StoreError::Damaged {
                        session: record.id,
                        what: "record",
                        reason: "it is in the archive twice".to_owned(),
                    }
                    .into());
                }
                self.plan.new_record(&record)?;
            }
            Item::Snapshot { session, sequence, bytes } => {
                self.plan.new_snapshot(session, sequence, bytes);
            }
            Item::Input { session, input } => {
                let key = part_key(session, input.sequence);
                self.plan.put(Table::Inputs, key, &codec::input(&input));
            }
            Item::InputId { session, id, sequence, checksum } => {
                let known = codec::input_id(sequence, checksum);
                let key = input_id_key(session, &id);
                self.plan.put(Table::InputIds, key, &known);
            }
            Item::Step { session, step } => {
                let key = step_key(session, step.turn, &step.key);
                self.plan.put(Table::Steps, key, &codec::step(&step));
            }
            Item::Event { session, event } => self.event(session, *event)?,
            // Where the log ends is known when its events have places.
            Item::Bookmark { reader, carried } => {
                self.plan.bookmark(&carried.bookmark(reader, 0))?;
            }
            // It is in the report; its bytes stay with the files that were set aside.
            Item::Damage(_) => {}
        }
        if self.plan.bytes() >= TRANSACTION {
            self.apply()?;
        }
        Ok(())
    }

    fn event(&mut self, session: SessionId, event: EventRecord) -> Result<(), ArchiveError> {
        let follows = self.whose == Some(session)
            && self
                .events
                .last()
                .is_none_or(|last| last.sequence.checked_add(1) == Some(event.sequence));
        if !follows || self.events.len() >= 1024 {
            self.plan_events()?;
        }
        self.whose = Some(session);
        self.events.push(event);
        Ok(())
    }

    /// Plans the waiting events. Those that follow look for the last row in the database, so it
    /// must be there by then.
    fn plan_events(&mut self) -> Result<(), ArchiveError> {
        if let Some(session) = self.whose.filter(|_| !self.events.is_empty()) {
            events::append(&mut self.plan, session, &Packed::new(&self.events))?;
            self.events.clear();
            self.apply()?;
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), ArchiveError> {
        let engine = self.plan.engine;
        self.meta.commit = self.plan.number;
        let next = Plan::new(engine, self.plan.number + 1);
        std::mem::replace(&mut self.plan, next).apply(&self.meta)?;
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, HashSet<SessionId>), ArchiveError> {
        self.plan_events()?;
        self.apply()?;
        Ok((self.meta.commit, self.orphans))
    }
}
