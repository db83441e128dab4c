//! One who follows the log of all sessions through all lives of a worker, and comes back with its cursor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use sessionkeeper::{
    EventRecord, LogCursor, LogError, LogFilter, LogFrom, LogUpdate, SessionId, Supervisor,
    store::{LogItem, LogQuery, MemoryStore, Order, Store, StoreError},
};

use super::{TALLY, deeds::SECOND};
use crate::oracle::Found;

/// As what it is counted that an older event of a session is gone.
pub(super) const TRIMMED: &str = "Trimmed";

/// What it was given, in all lives.
#[derive(Debug, Default)]
pub(super) struct Followed {
    cursor: Option<LogCursor>,
    /// By position; none where it was told of a gap.
    seen: Vec<Option<(SessionId, Arc<EventRecord>)>>,
    wrong: Vec<String>,
}

/// Follows one worker to its end, with interruptions.
pub(super) async fn follow(
    supervisor: Supervisor,
    followed: Arc<Mutex<Followed>>,
    mut dice: fastrand::Rng,
) {
    loop {
        let from = followed.lock().unwrap().cursor.map_or(LogFrom::Beginning, LogFrom::After);
        let mut updates = match supervisor.subscribe(LogFilter::default(), from).await {
            Ok(updates) => updates,
            Err(LogError::Store(error)) if matches!(*error, StoreError::Closed) => return,
            Err(LogError::Store(_)) => {
                tokio::time::sleep(SECOND).await;
                continue;
            }
            Err(error) => return followed.lock().unwrap().wrong.push(error.to_string()),
        };
        let mut left = dice.usize(1..200);
        while left > 0 {
            match updates.next().await {
                Some(Ok(update)) => followed.lock().unwrap().take(update),
                Some(Err(_)) => break,
                None => return,
            }
            left -= 1;
            if dice.u8(0..20) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.u64(0..3000))).await;
            }
        }
        drop(updates);
        tokio::time::sleep(Duration::from_millis(dice.u64(0..500))).await;
    }
}

impl Followed {
    fn take(&mut self, update: LogUpdate) {
        match update {
            LogUpdate::Event { cursor, session, event } => {
                let due = self.seen.len() as u64 + 1;
                if cursor.position() != due {
                    self.wrong.push(format!("a follower is given {cursor}, and {due} is due"));
                }
                self.cursor = Some(cursor);
                self.seen.push(Some((session, event)));
            }
            LogUpdate::Gap { from, to } => {
                let due = self.seen.len() as u64 + 1;
                if from != due || to.position() < due {
                    self.wrong.push(format!("a follower misses {from} to {to}, {due} is due"));
                }
                self.cursor = Some(to);
                self.seen.extend((due..=to.position()).map(|_| None));
            }
        }
    }

    /// What is wrong with what it was given, beside the log as it is in the store and the sessions' own.
    pub(super) async fn judge(self, store: &MemoryStore, found: &Found) -> Vec<String> {
        let mut wrong = self.wrong;
        let mut query =
            LogQuery { from: 1, order: Order::OldestFirst, limit: 500, ..LogQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = store.log(query).await.unwrap();
            for item in page.items {
                match item {
                    LogItem::Event(logged) => all.push(Some((logged.session, logged.event))),
                    LogItem::Gap { from, to } => all.extend((from..=to).map(|_| None)),
                }
            }
            query.from = page.next;
            if page.next > page.end.last {
                break;
            }
        }
        let trimmed = |session: &SessionId| {
            let found = found.get(session).and_then(|found| found.record.trimmed.as_ref());
            found.map_or(0, |trimmed| trimmed.to)
        };
        let may_be_gone = |one: &Option<(SessionId, Arc<EventRecord>)>| {
            one.as_ref().is_none_or(|(session, event)| {
                !found.contains_key(session) || event.sequence <= trimmed(session)
            })
        };
        for (place, (seen, stored)) in self.seen.iter().zip(&all).enumerate() {
            // What was deleted is removed some time later, and so are older events.
            let is_removed = stored.is_none() && may_be_gone(seen);
            if is_removed && seen.as_ref().is_some_and(|(of, _)| found.contains_key(of)) {
                TALLY.count(TRIMMED);
            }
            if seen != stored && !is_removed {
                wrong.push(format!("a follower is given {seen:?} at {place}, and not {stored:?}"));
            }
        }
        if self.seen.len() > all.len() {
            wrong.push(format!("a follower is given {} of {}", self.seen.len(), all.len()));
        }
        let mut logs: BTreeMap<SessionId, Vec<&EventRecord>> = BTreeMap::new();
        for (session, event) in all.iter().flatten() {
            logs.entry(*session).or_default().push(event);
        }
        for (session, found) in found.iter() {
            let logged = logs.remove(session).unwrap_or_default();
            let left = found.log.iter().skip_while(|event| {
                event.sequence <= trimmed(session)
                    && logged.first().is_none_or(|first| event.sequence < first.sequence)
            });
            if !logged.iter().copied().eq(left) {
                wrong.push(format!("session {session}: the log of all sessions has another log"));
            }
        }
        wrong
    }
}
