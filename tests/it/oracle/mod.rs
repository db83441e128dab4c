//! Judges what a scenario left: everything in the store, beside everything that was seen outside.
//!
//! Two conventions make a workload one that can be judged. Its inputs are JSON objects with a
//! unique number as `tag`, and its state is one with a list `applied` of `[input, tag]`, to which
//! each input is added once. What is forked says what it began with: see `forks`.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
};

use sessionkeeper::{
    EventRecord, Fact, Lifecycle, RunEnd, RunId, SessionId, SessionRecord, SnapshotEnvelope, State,
    StoredInput,
    store::{LogItem, LogQuery, Order, Query, Store, StoreError},
    testing::audit,
};

mod behind_gap;
mod by_run;
mod calls;
mod calm;
mod chains;
mod course;
mod deleted;
mod families;
mod forks;
mod inputs;
mod interrupts;
pub(crate) mod ledger;
#[cfg(unix)]
pub(crate) mod programs;
mod runs;
mod sights;
mod sleeps;
pub(crate) mod statistics;
mod steps;
mod tests;

use self::{calls::Call, calm::Calm, ledger::Ledger};

/// What is in a store, session by session, and what is known of those that were deleted.
#[derive(Default)]
pub(crate) struct Found {
    sessions: BTreeMap<SessionId, FoundSession>,
    gone: BTreeMap<SessionId, Story>,
    /// What happened to all of them, in the order in which it did.
    history: Vec<(SessionId, EventRecord)>,
}

/// What is in a store about one session.
pub(crate) struct FoundSession {
    pub(crate) record: SessionRecord,
    pub(crate) story: Story,
    pub(crate) inputs: Vec<StoredInput>,
    /// The committed state.
    pub(crate) state: serde_json::Value,
}

/// What happened to a session.
pub(crate) struct Story {
    pub(crate) log: Vec<EventRecord>,
    /// The state after each event.
    pub(crate) states: Vec<State>,
}

/// Says everything that is wrong, with a store that nobody uses any more and what was seen.
pub(crate) async fn judge<S: Store + ?Sized>(store: &S, ledger: &Ledger) -> Vec<String> {
    judge_by(store, |found| compare(found, ledger)).await
}

/// The same, where all that ever happened is known, also to sessions that were deleted.
pub(crate) async fn judge_beside<S: Store + ?Sized>(
    store: &S,
    ledger: &Ledger,
    history: Vec<(SessionId, EventRecord)>,
) -> (Vec<String>, Found) {
    let mut wrong: Vec<String> = audit_of(store).await;
    let mut found = find(store).await.unwrap();
    found.remember(history);
    wrong.extend(compare(&found, ledger));
    (wrong, found)
}

/// All that is known in a store of what happened, in the order in which it did.
async fn history<S: Store + ?Sized>(
    store: &S,
) -> Result<Vec<(SessionId, EventRecord)>, StoreError> {
    let query = LogQuery { from: 1, order: Order::OldestFirst, limit: 500, ..LogQuery::default() };
    let page = store.log(query).await?;
    let events = page.items.into_iter().filter_map(|item| match item {
        LogItem::Event(logged) => Some((logged.session, EventRecord::clone(&logged.event))),
        LogItem::Gap { .. } => None,
    });
    Ok(events.collect())
}

/// Says everything that is wrong with a store, by itself and beside what it is compared with.
async fn judge_by<S: Store + ?Sized>(
    store: &S,
    compare: impl FnOnce(&Found) -> Vec<String>,
) -> Vec<String> {
    let mut wrong = audit_of(store).await;
    match find(store).await {
        Ok(found) => wrong.extend(compare(&found)),
        Err(error) => wrong.push(format!("the store cannot be read: {error}")),
    }
    wrong
}

async fn audit_of<S: Store + ?Sized>(store: &S) -> Vec<String> {
    audit(store).await.into_iter().map(|violation| violation.to_string()).collect()
}

/// Compares what is in the store with what was seen.
fn compare(found: &Found, ledger: &Ledger) -> Vec<String> {
    let mut wrong = Vec::new();
    let (calls, calm) = (Call::all(ledger), Calm::of(ledger));
    calls::judge(found, ledger, &calls, &mut wrong);
    sights::judge(found, ledger, &calls, &mut wrong);
    inputs::judge(found, ledger, &calls, &mut wrong);
    runs::judge(found, ledger, &mut wrong);
    by_run::judge(found, &calls, &mut wrong);
    steps::judge(ledger, &mut wrong);
    forks::judge(found, &mut wrong);
    chains::judge(found, ledger, &calls, &mut wrong);
    deleted::judge(found, &calls, &mut wrong);
    families::judge(found, ledger, &calls, &calm, &mut wrong);
    interrupts::judge(found, &calls, &mut wrong);
    sleeps::judge(found, ledger, &calm, &mut wrong);
    statistics::judge(found, ledger, &calls, &mut wrong);
    wrong
}

/// Reads a whole store.
pub(crate) async fn find<S: Store + ?Sized>(store: &S) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut query = Query::default();
    loop {
        let page = store.list(query.clone()).await?;
        for record in page.records {
            let id = record.id;
            let log = store.events(id, 1..=u64::MAX, usize::MAX).await?;
            let newest = record.snapshot().map_or(0, |newest| newest.sequence);
            let bytes = store.snapshot(id, newest).await?.unwrap_or_default();
            let state = SnapshotEnvelope::decode(&bytes)
                .ok()
                .and_then(|envelope| serde_json::from_slice(&envelope.payload).ok());
            let session = FoundSession {
                story: Story::of(log),
                inputs: store.inputs(id, 0, usize::MAX).await?,
                state: state.unwrap_or_default(),
                record,
            };
            found.sessions.insert(id, session);
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
    }
}

/// The state of a session after each event of its log.
pub(crate) fn states(log: &[EventRecord]) -> Vec<State> {
    let mut state = State::Pending;
    let after = |event: &EventRecord| {
        if let Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) = &event.fact {
            state = *to;
        }
        state
    };
    log.iter().map(after).collect()
}

/// A digest of all that an event says.
pub(crate) fn digest(event: &EventRecord) -> u32 {
    crc32fast::hash(&serde_json::to_vec(event).unwrap())
}

impl Deref for Found {
    type Target = BTreeMap<SessionId, FoundSession>;

    fn deref(&self) -> &Self::Target {
        &self.sessions
    }
}

impl DerefMut for Found {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.sessions
    }
}

impl Found {
    /// What happened to a session, also to one that was deleted.
    fn story(&self, session: SessionId) -> Option<&Story> {
        let stored = self.sessions.get(&session).map(|found| &found.story);
        stored.or_else(|| self.gone.get(&session))
    }

    /// Knows from now on what happened to all sessions, also what is gone of those that keep their newest events alone.
    fn remember(&mut self, history: Vec<(SessionId, EventRecord)>) {
        let is_deletion =
            |event: &EventRecord| matches!(&event.fact, Fact::Lifecycle(Lifecycle::Deleted { .. }));
        let mut logs: BTreeMap<SessionId, Vec<EventRecord>> = BTreeMap::new();
        for (session, event) in &history {
            logs.entry(*session).or_default().push(event.clone());
        }
        for (session, found) in &mut self.sessions {
            let whole = logs.get(session).filter(|whole| found.story.is_left_of(whole));
            if let Some(whole) = whole.filter(|_| found.record.trimmed.is_some()) {
                found.story = Story::of(whole.clone());
            }
        }
        logs.retain(|_, log| log.last().is_some_and(is_deletion));
        self.gone = logs.into_iter().map(|(session, log)| (session, Story::of(log))).collect();
        self.history = history;
    }

    /// All of them, those that were deleted too.
    pub(crate) fn stories(&self) -> impl Iterator<Item = (SessionId, &Story)> {
        let stored = self.sessions.iter().map(|(session, found)| (*session, &found.story));
        stored.chain(self.gone.iter().map(|(session, story)| (*session, story)))
    }

    /// The one that a session is the successor of.
    fn before(&self, session: SessionId) -> Option<SessionId> {
        self.story(session)?.lifecycle().find_map(|(_, what)| match what {
            Lifecycle::TransitionedFrom { session, .. } => Some(*session),
            _ => None,
        })
    }

    /// The successor of a session.
    fn next(&self, session: SessionId) -> Option<SessionId> {
        self.story(session)?.lifecycle().find_map(|(_, what)| match what {
            Lifecycle::TransitionedTo { session, .. } => Some(*session),
            _ => None,
        })
    }
}

impl Deref for FoundSession {
    type Target = Story;

    fn deref(&self) -> &Story {
        &self.story
    }
}

impl DerefMut for FoundSession {
    fn deref_mut(&mut self) -> &mut Story {
        &mut self.story
    }
}

impl Story {
    /// What a log tells.
    pub(crate) fn of(log: Vec<EventRecord>) -> Self {
        Self { states: states(&log), log }
    }

    /// Whether it is what is left of a whole log.
    fn is_left_of(&self, whole: &[EventRecord]) -> bool {
        whole.ends_with(&self.log)
    }

    pub(crate) fn lifecycle(&self) -> impl Iterator<Item = (&EventRecord, &Lifecycle)> {
        self.log.iter().filter_map(|event| match &event.fact {
            Fact::Lifecycle(what) => Some((event, what)),
            Fact::Work(_) | Fact::Usage(_) => None,
        })
    }

    /// Whether an older snapshot had to serve: what was newer is given out again.
    fn fell_back(&self) -> bool {
        self.lifecycle().any(|(_, what)| matches!(what, Lifecycle::SnapshotFellBack { .. }))
    }

    /// How a run ended.
    fn end_of(&self, run: RunId) -> Option<&RunEnd> {
        self.lifecycle().find_map(|(event, what)| match what {
            Lifecycle::RunEnded { how } if event.run == Some(run) => Some(how),
            _ => None,
        })
    }
}

impl FoundSession {
    /// The tags of the inputs that had their effect before it was forked.
    fn inherited(&self) -> Option<Vec<u64>> {
        match self.state.get("inherited") {
            Some(inherited) => serde_json::from_value(inherited.clone()).ok(),
            None => self.applied().map(|_| Vec::new()),
        }
    }

    /// The tags of the inputs by their numbers, as far as they can be seen in the store.
    fn tags(&self) -> BTreeMap<u64, u64> {
        let mut tags = BTreeMap::new();
        for input in &self.inputs {
            let payload: serde_json::Value =
                serde_json::from_slice(&input.payload).unwrap_or_default();
            let tag = payload.get("tag").and_then(serde_json::Value::as_u64);
            tags.extend(tag.map(|tag| (input.sequence, tag)));
        }
        tags.extend(self.applied().unwrap_or_default());
        tags
    }

    /// The inputs that had their effect on the committed state, with their tags.
    fn applied(&self) -> Option<Vec<(u64, u64)>> {
        serde_json::from_value(self.state.get("applied")?.clone()).ok()
    }
}
