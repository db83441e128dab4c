//! What is counted and measured, under the names of `docs/METRICS.md`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tokio::time::Instant;

use crate::{
    model::{
        event::{Cause, Fact, Lifecycle},
        ids::SessionId,
        state::{PauseCause, State},
    },
    store::Commit,
};

const SESSIONS: &str = "sessionkeeper_sessions";
const TRANSITIONS: &str = "sessionkeeper_transitions_total";
const COMMIT: &str = "sessionkeeper_commit_seconds";
const BATCH: &str = "sessionkeeper_commit_batch_size";
const STORE_FAILURES: &str = "sessionkeeper_store_failures_total";
const CHECKPOINT: &str = "sessionkeeper_checkpoint_bytes";
const INBOX: &str = "sessionkeeper_inbox_depth";
const PAUSE: &str = "sessionkeeper_pause_seconds";
const STOP: &str = "sessionkeeper_stop_seconds";
const LATENESS: &str = "sessionkeeper_expiry_lateness_seconds";

const STATE: &str = "state";
const TO: &str = "to";
const CAUSE: &str = "cause";

/// The states that a session leaves again by itself or by a verb, or that something is done in. Those that stay for
/// good grow without end and are counted as transitions.
const OPEN: [State; 4] = [State::Pending, State::Active, State::Paused, State::Stopping];
/// Why a run is asked to pause.
const PAUSES: [PauseCause; 3] = [PauseCause::Asked, PauseCause::Idle, PauseCause::Shutdown];
/// What the time of a session runs out by.
const EXPIRIES: [Cause; 4] =
    [Cause::Silence, Cause::IdleTimeout, Cause::PausedTimeout, Cause::PendingTimeout];

/// The metrics of one worker. Clones share them.
///
/// What is written with every commit is asked of the recorder once: after that it costs what the recorder takes
/// to add to it.
#[derive(Clone)]
pub(crate) struct Meters {
    inner: Arc<Inner>,
}

struct Inner {
    commit: Histogram,
    batch: Histogram,
    store_failures: Counter,
    checkpoint: Histogram,
    inbox: Histogram,
    stop: Histogram,
    pauses: [Histogram; PAUSES.len()],
    expiries: [Histogram; EXPIRIES.len()],
    /// Made when the first is counted: most pairs do not exist.
    transitions: [[OnceLock<Counter>; Cause::ALL.len()]; State::ALL.len()],
    moving: Mutex<Moving>,
}

/// What only moves of sessions touch.
struct Moving {
    sessions: [Gauge; OPEN.len()],
    /// What this worker has added to each; nothing more once it is over.
    added: Option<[i64; OPEN.len()]>,
    /// Who was asked to come to rest, and has not.
    asked: HashMap<SessionId, Asked>,
}

/// When a session was asked to come to rest.
#[derive(Default)]
struct Asked {
    pause: Option<Instant>,
    stop: Option<Instant>,
}

/// A moment from which something is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp(Instant);

impl Stamp {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }
}

impl Meters {
    /// Those of a worker that begins, with the recorder that is installed now.
    pub(crate) fn begin() -> Self {
        describe();
        let moving = Moving {
            sessions: OPEN.map(|state| gauge!(SESSIONS, STATE => state.as_str())),
            added: Some([0; OPEN.len()]),
            asked: HashMap::new(),
        };
        let inner = Inner {
            commit: histogram!(COMMIT),
            batch: histogram!(BATCH),
            store_failures: counter!(STORE_FAILURES),
            checkpoint: histogram!(CHECKPOINT),
            inbox: histogram!(INBOX),
            stop: histogram!(STOP),
            pauses: PAUSES.map(|cause| histogram!(PAUSE, CAUSE => cause.as_str())),
            expiries: EXPIRIES.map(|cause| histogram!(LATENESS, CAUSE => cause.as_str())),
            transitions: [const { [const { OnceLock::new() }; Cause::ALL.len()] };
                State::ALL.len()],
            moving: Mutex::new(moving),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A session that the worker finds in the store.
    pub(crate) fn found(&self, state: State) {
        self.inner.lock().add(state, 1);
    }

    /// A commit is durable.
    pub(crate) fn committed(&self, commit: &Commit, handed_in: Stamp) {
        self.inner.commit.record(handed_in.0.elapsed());
        for commit in commit.both() {
            self.done(commit);
        }
    }

    fn done(&self, commit: &Commit) {
        if let Some(snapshot) = &commit.snapshot {
            self.inner.checkpoint.record(snapshot.len() as f64);
        }
        let inbox = &commit.record.inbox;
        for input in &commit.inputs {
            let after = inbox.accepted.saturating_sub(input.sequence);
            self.inner.inbox.record(inbox.waiting().saturating_sub(after) as f64);
        }
        for event in &commit.events {
            match &event.fact {
                Fact::Lifecycle(Lifecycle::Created { .. }) => {
                    self.inner.lock().add(State::Pending, 1);
                }
                Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, .. }) => {
                    self.inner.count(*to, *cause);
                    let pause = commit.record.phase.pause_cause();
                    self.inner.moved(commit.record.id, *from, *to, pause);
                }
                // Of those that are shown, a paused one can be deleted.
                Fact::Lifecycle(Lifecycle::Deleted { .. }) => {
                    self.inner.lock().add(commit.record.state(), -1);
                }
                Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => {}
            }
        }
    }

    /// The store has done a batch of so many commits.
    pub(crate) fn batch(&self, commits: usize) {
        if commits > 0 {
            self.inner.batch.record(commits as f64);
        }
    }

    /// The store has failed to do a batch.
    pub(crate) fn store_failed(&self) {
        self.inner.store_failures.increment(1);
    }

    /// A session is asked to pause.
    pub(crate) fn asked_to_pause(&self, session: SessionId, at: Stamp) {
        self.inner.lock().asked.entry(session).or_default().pause = Some(at.0);
    }

    /// A session is asked to stop, for the first time.
    pub(crate) fn asked_to_stop(&self, session: SessionId, at: Stamp) {
        self.inner.lock().asked.entry(session).or_default().stop = Some(at.0);
    }

    /// A session is to go on after all.
    pub(crate) fn pause_withdrawn(&self, session: SessionId) {
        if let Some(asked) = self.inner.lock().asked.get_mut(&session) {
            asked.pause = None;
        }
    }

    /// Nothing comes of what a session was asked for.
    pub(crate) fn withdrawn(&self, session: SessionId) {
        self.inner.lock().asked.remove(&session);
    }

    /// The time of a session is over, and this much has passed since then.
    pub(crate) fn expired(&self, cause: Cause, late: Duration) {
        let at = EXPIRIES.iter().position(|expiry| *expiry == cause);
        if let Some(expiry) = at.and_then(|at| self.inner.expiries.get(at)) {
            expiry.record(late);
        }
    }

    /// The worker is over, and its sessions with it.
    pub(crate) fn end(&self) {
        let mut moving = self.inner.lock();
        let added = moving.added.take().unwrap_or_default();
        for (sessions, added) in moving.sessions.iter().zip(added) {
            sessions.decrement(added as f64);
        }
        moving.asked.clear();
    }
}

impl Inner {
    fn count(&self, to: State, cause: Cause) {
        let new = || counter!(TRANSITIONS, TO => to.as_str(), CAUSE => cause.as_str());
        let of = self.transitions.get(to as usize).and_then(|causes| causes.get(cause as usize));
        match of {
            Some(known) => known.get_or_init(new).increment(1),
            None => new().increment(1),
        }
    }

    fn moved(&self, session: SessionId, from: State, to: State, pause: Option<PauseCause>) {
        let mut moving = self.lock();
        if from != to {
            moving.add(from, -1);
            moving.add(to, 1);
        }
        if to == State::Stopping {
            return;
        }
        let Some(asked) = moving.asked.remove(&session) else {
            return;
        };
        drop(moving);
        match to {
            State::Paused => {
                let at = PAUSES.iter().position(|cause| Some(*cause) == pause);
                let histogram = at.and_then(|at| self.pauses.get(at));
                if let (Some(histogram), Some(since)) = (histogram, asked.pause) {
                    histogram.record(since.elapsed());
                }
            }
            State::Stopped => {
                if let Some(since) = asked.stop {
                    self.stop.record(since.elapsed());
                }
            }
            State::Pending
            | State::Active
            | State::Stopping
            | State::Completed
            | State::Failed
            | State::Expired => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Moving> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moving {
    /// Adds to the sessions of a state, if it is one of those that are shown.
    fn add(&mut self, state: State, sessions: i64) {
        let Some(at) = OPEN.iter().position(|open| *open == state) else {
            return;
        };
        let (added, shown) = (self.added.as_mut(), self.sessions.get(at));
        if let (Some(added), Some(shown)) = (added.and_then(|added| added.get_mut(at)), shown) {
            *added += sessions;
            shown.increment(sessions as f64);
        }
    }
}

/// Tells the recorder what each metric is.
fn describe() {
    describe_gauge!(SESSIONS, Unit::Count, "sessions of open workers, by state");
    describe_counter!(TRANSITIONS, Unit::Count, "moves of sessions, by where to and why");
    describe_histogram!(COMMIT, Unit::Seconds, "from handing a commit in until it is durable");
    describe_histogram!(BATCH, Unit::Count, "commits that the store did together");
    describe_counter!(STORE_FAILURES, Unit::Count, "batches that the store failed to commit");
    describe_histogram!(CHECKPOINT, Unit::Bytes, "size of a durable snapshot");
    describe_histogram!(INBOX, Unit::Count, "inputs that wait when one is accepted, with it");
    describe_histogram!(PAUSE, Unit::Seconds, "from asking for a pause until it is durable");
    describe_histogram!(STOP, Unit::Seconds, "from asking for a stop until it is durable");
    describe_histogram!(LATENESS, Unit::Seconds, "how late it was seen that a time was over");
}
