//! What is outside of a worker and is told what happens: a sink and hooks, which fail as the dice say. They outlive
//! every worker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::{
    Builder, EventRecord, Fact, Lifecycle, RunEnd, SessionId, Statistics,
    hooks::{Hook, HookCall, HookOptions, SessionHooks},
    sink::{Sink, SinkBatch, SinkItem, SinkOptions},
    store::BoxError,
};

use super::deeds::SECOND;
use crate::{
    oracle::{Found, Story},
    support::owed_hooks,
};

/// What was told, in all lives.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// What the sink took, by its position.
    taken: BTreeMap<u64, (SessionId, Arc<EventRecord>)>,
    versions: BTreeMap<SessionId, u64>,
    /// The hooks that were called for a session, each once, in the order in which they were first done.
    called: BTreeMap<SessionId, Vec<(Hook, u64)>>,
    wrong: Vec<String>,
}

/// The outside, as one worker knows it.
#[derive(Clone)]
struct Told {
    outside: Arc<Mutex<Outside>>,
    dice: Arc<Mutex<fastrand::Rng>>,
    may_fail: bool,
}

/// Connects a worker with it.
pub(super) fn connect(
    builder: Builder,
    outside: &Arc<Mutex<Outside>>,
    mut dice: fastrand::Rng,
    may_fail: bool,
) -> Builder {
    let interval = Duration::from_millis(dice.u64(1..5000));
    let sink = SinkOptions::default().interval(interval).timeout(2 * SECOND);
    let hooks = HookOptions::default().timeout(2 * SECOND).attempts(u32::MAX);
    let told = Told { outside: Arc::clone(outside), dice: Arc::new(Mutex::new(dice)), may_fail };
    builder.sink_with("outside", told.clone(), sink).hooks_with(told, hooks)
}

impl Told {
    /// Takes its time, fails, panics or hangs.
    async fn misbehave(&self) -> Result<(), BoxError> {
        if !self.may_fail {
            return Ok(());
        }
        let (what, wait) = {
            let mut dice = self.dice.lock().unwrap();
            (dice.u8(0..12), Duration::from_millis(dice.u64(0..300)))
        };
        match what {
            0 => return Err("as the dice say".into()),
            1 => tokio::time::sleep(wait).await,
            2 => std::future::pending().await,
            _ => {}
        }
        Ok(())
    }
}

impl Sink for Told {
    async fn deliver(&self, batch: SinkBatch) -> Result<usize, BoxError> {
        self.misbehave().await?;
        let all = batch.items().len();
        let count = if self.may_fail { self.dice.lock().unwrap().usize(1..=all) } else { all };
        let mut outside = self.outside.lock().unwrap();
        batch.items().iter().take(count).for_each(|item| outside.take(item));
        // Done, and nobody hears of it.
        if self.may_fail && self.dice.lock().unwrap().u8(0..20) == 0 {
            return Err("it was done all the same".into());
        }
        Ok(count)
    }
}

impl SessionHooks for Told {
    async fn on_session_start(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }

    async fn on_session_end(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }

    async fn after_run(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }

    async fn on_state_changed(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }
}

impl Told {
    async fn call(&self, call: HookCall) -> Result<(), BoxError> {
        self.misbehave().await?;
        let mut outside = self.outside.lock().unwrap();
        let called = outside.called.entry(call.session).or_default();
        let one = (call.hook, call.event.sequence);
        if !called.contains(&one) {
            called.push(one);
        }
        Ok(())
    }
}

impl Outside {
    fn take(&mut self, item: &SinkItem) {
        match item {
            SinkItem::Event { cursor, session, event } => {
                let position = cursor.position();
                if position > self.taken.len() as u64 + 1 {
                    let last = self.taken.len();
                    self.wrong.push(format!("a sink is given {position} after {last}"));
                }
                let one = (*session, Arc::clone(event));
                let before = self.taken.entry(position).or_insert_with(|| one.clone());
                if *before != one {
                    self.wrong.push(format!("a sink is given {one:?} after {before:?}"));
                }
            }
            SinkItem::Record { record, .. } => {
                let known = self.versions.entry(record.id).or_default();
                *known = record.version.max(*known);
            }
            other => self.wrong.push(format!("a sink is given {other:?}")),
        }
    }

    /// Compares statistics with all that was told by then.
    pub(super) fn count(&mut self, statistics: &Statistics) {
        let (mut started, mut ended, mut usage) = (0, 0, 0);
        for (_, event) in self.taken.values() {
            match &event.fact {
                Fact::Lifecycle(Lifecycle::Created { .. }) => started += 1,
                Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) => {
                    ended += u64::from(to.has_ended());
                }
                Fact::Usage(used) => usage += used.input_tokens(),
                Fact::Lifecycle(_) | Fact::Work(_) => {}
            }
        }
        let told = (self.taken.len() as u64, started, ended, usage);
        let counted = (
            statistics.events_in_all(),
            statistics.started(),
            statistics.ended_in_all(),
            statistics.usage().input_tokens(),
        );
        if told != counted {
            self.wrong.push(format!(
                "of events, starts, ends and tokens {told:?} were told and {counted:?} counted"
            ));
        }
    }

    /// What was told of each session.
    fn stories(&self) -> BTreeMap<SessionId, Vec<EventRecord>> {
        let mut stories: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (session, event) in self.taken.values() {
            stories.entry(*session).or_default().push(EventRecord::clone(event));
        }
        stories
    }

    /// All that happened, in the order in which it did: of who was deleted, nobody else knows it any more.
    pub(super) fn history(&self) -> Vec<(SessionId, EventRecord)> {
        let taken = self.taken.values();
        taken.map(|(session, event)| (*session, EventRecord::clone(event))).collect()
    }

    /// What is wrong with what was told, beside the logs of the sessions as they are now.
    pub(super) fn judge(self, found: &Found) -> Vec<String> {
        let stories = self.stories();
        let mut wrong = self.wrong;
        for (session, story) in found.stories() {
            let taken = stories.get(&session).map_or(&[][..], Vec::as_slice);
            if taken != story.log {
                wrong.push(format!("session {session}: a sink was given another log: {taken:?}"));
            }
            let owed = owed_hooks(&story.log);
            let mut called = self.called.get(&session).cloned().unwrap_or_default();
            put_behind_ends(&mut called, story);
            if called != owed {
                wrong
                    .push(format!("session {session}: hooks {called:?} were called, not {owed:?}"));
            }
        }
        wrong
    }
}

/// The end of a run whose worker was lost may be a commit of its own: then its hook comes before what ends the session next,
/// or after it.
fn put_behind_ends(called: &mut [(Hook, u64)], story: &Story) {
    let interrupted: Vec<u64> = story
        .lifecycle()
        .filter(|(_, what)| matches!(what, Lifecycle::RunEnded { how: RunEnd::Interrupted }))
        .map(|(event, _)| event.sequence)
        .collect();
    for place in 0..called.len().saturating_sub(2) {
        let [(Hook::AfterRun, run), (_, moved), (Hook::SessionEnd, end)] = called[place..place + 3]
        else {
            continue;
        };
        if interrupted.contains(&run) && run + 1 == moved && moved == end {
            called[place..place + 3].rotate_left(1);
        }
    }
}
