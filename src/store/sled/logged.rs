//! The log of all sessions, where it is not kept yet: in a store that was put together from parts, or written
//! before there was such a log.

use std::collections::HashMap;

use super::{
    engine::{Engine, reading},
    meta::Meta,
    plan::Plan,
    table::{Table, part_number},
    value,
};
use crate::{
    model::{ids::SessionId, time::Timestamp},
    store::{
        StoreError, codec,
        journal::{Entry, LogEnd},
    },
};

/// How many entries share a row.
const GROUP: usize = 512;

/// Gives all events a place in the log, by the time at which they were recorded, unless they have one.
/// Interrupted, it begins anew the next time.
pub(super) fn place(engine: &Engine, meta: &mut Meta) -> Result<(), StoreError> {
    if meta.log.is_some() {
        return Ok(());
    }
    let mut end = LogEnd::default();
    for entries in in_order(engine)?.chunks(GROUP) {
        let mut plan = Plan::new(engine, meta.commit + 1);
        plan.log(end.last + 1, entries);
        meta.commit = plan.number;
        plan.apply(meta)?;
        end.last += entries.iter().map(Entry::count).sum::<u64>();
    }
    meta.log = Some(end);
    if end.last > 0 {
        let plan = Plan::new(engine, meta.commit + 1);
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
        let Some(session) = Table::Events.session(&key) else { continue };
        let first = part_number(session, &key).unwrap_or(0);
        let body = match value::check(engine, Table::Events, &key, &raw) {
            Ok(body) => body,
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        let Ok(events) = codec::read_events(first, &body, |_| true) else { continue };
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
