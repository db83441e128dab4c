//! What callers see of a session.

use std::{fmt, sync::Arc};

use crate::{
    model::{
        ids::{Kind, RunId, SessionId},
        record::{EndedRun, SessionRecord},
        state::{PauseCause, Phase, State},
        time::{SupervisedTime, Timestamp, WorkerTime},
    },
    runtime::{core::Core, live::Live},
    workload::Declaration,
};

/// A session as it stands: its committed record, and what it is doing now.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    record: Arc<SessionRecord>,
    activity: Activity,
}

/// What a session is doing, or why nothing moves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It waits for a place under `max_active`.
    WaitingForPlace,
    /// Its run is about to begin; after a crash of the worker, in its turn.
    Starting,
    /// Its run works.
    Running,
    /// Its run waits for an input.
    Idle,
    /// Its run declared a silent operation.
    Busy {
        /// When the declaration ends at the latest, in worker time.
        until: WorkerTime,
    },
    /// Its run waits for a person.
    Awaiting {
        /// What for.
        reason: String,
    },
    /// Its run blocks the thread that it runs on, for a second or more: it can neither be asked
    /// nor cancelled meanwhile. See [`Health::blocked_threads`](crate::Health::blocked_threads).
    Blocked {
        /// Since when.
        since: Timestamp,
    },
    /// It was asked to come to rest, and has not yet.
    Pausing,
    /// It waits out the backoff before its next run.
    Restarting {
        /// Which attempt the next run will be.
        attempt: u32,
        /// When it begins, in supervised time.
        due: SupervisedTime,
    },
    /// A stop was accepted, and something of its run may still be alive.
    Stopping,
    /// It is paused.
    Paused {
        /// What wakes it.
        cause: PauseCause,
    },
    /// It is stopped, or has ended.
    Ended,
}

impl Status {
    pub(crate) fn of_live(live: &Live) -> Self {
        let (record, pausing) = live.shown();
        let activity = match &record.phase {
            Phase::Active { .. } if pausing => Activity::Pausing,
            Phase::Active { .. } => match live.run().owner().blocks_since() {
                Some(since) => Activity::Blocked { since },
                None => Activity::of_run(live.run().declaration()),
            },
            Phase::Pending { .. }
            | Phase::Paused { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => Activity::without_run(&record.phase),
        };
        Self { record, activity }
    }

    pub(crate) fn of_record(record: Arc<SessionRecord>) -> Self {
        let activity = Activity::without_run(&record.phase);
        Self { record, activity }
    }

    /// Of a session as the directory shows it, or else as the record says.
    pub(crate) fn of(core: &Core, record: Arc<SessionRecord>) -> Self {
        let live = core.directory.pin().get(&record.id).map(Arc::clone);
        match live {
            Some(live) if live.record().version >= record.version => Self::of_live(&live),
            Some(_) | None => Self::of_record(record),
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.record.id
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.record.kind
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.record.state()
    }

    /// What it is doing now.
    pub const fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Why it is paused, if it is.
    pub fn pause_cause(&self) -> Option<PauseCause> {
        self.record.phase.pause_cause()
    }

    /// Its present run, if it has one.
    pub fn run(&self) -> Option<RunId> {
        self.record.phase.run()
    }

    /// The run that ended last, and how.
    pub fn last_run(&self) -> Option<&EndedRun> {
        self.record.runs.last.as_ref()
    }

    /// Runs that could not be cancelled and are still alive. They can change nothing here; what
    /// they hold elsewhere may still be in use.
    pub fn abandoned(&self) -> &[RunId] {
        &self.record.abandoned
    }

    pub(crate) fn into_record(self) -> Arc<SessionRecord> {
        self.record
    }

    /// The whole record: labels, usage, durations, counts, history.
    pub const fn record(&self) -> &Arc<SessionRecord> {
        &self.record
    }
}

impl Activity {
    fn of_run(declaration: Declaration) -> Self {
        match declaration {
            Declaration::Nothing => Self::Running,
            Declaration::Busy { until } => Self::Busy { until },
            Declaration::Awaiting { reason } => Self::Awaiting { reason },
            Declaration::Resting => Self::Idle,
        }
    }

    fn without_run(phase: &Phase) -> Self {
        match phase {
            Phase::Pending { .. } => Self::WaitingForPlace,
            Phase::Active { restarting: Some(restarting), .. } => {
                Self::Restarting { attempt: restarting.attempt, due: restarting.due }
            }
            Phase::Active { restarting: None, .. } => Self::Starting,
            Phase::Paused { cause, .. } => Self::Paused { cause: *cause },
            Phase::Stopping { .. } => Self::Stopping,
            Phase::Stopped | Phase::Completed | Phase::Failed | Phase::Expired => Self::Ended,
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitingForPlace => f.write_str("waiting for a place"),
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Idle => f.write_str("idle"),
            Self::Busy { .. } => f.write_str("busy"),
            Self::Awaiting { reason } => write!(f, "awaiting {reason}"),
            Self::Blocked { .. } => f.write_str("blocked"),
            Self::Pausing => f.write_str("pausing"),
            Self::Restarting { attempt, .. } => write!(f, "restarting (attempt {attempt})"),
            Self::Stopping => f.write_str("stopping"),
            Self::Paused { cause } => write!(f, "paused ({cause})"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

/// How a session came to rest until somebody acts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Settled {
    /// It completed.
    Completed(Status),
    /// It failed.
    Failed(Status),
    /// It expired.
    Expired(Status),
    /// It is stopped, and can be resumed.
    Stopped(Status),
    /// It is quarantined, and can be resumed.
    Quarantined(Status),
}

impl Settled {
    /// If the session has come to rest, how.
    pub(crate) fn of(status: Status) -> Option<Self> {
        match &status.record.phase {
            Phase::Completed => Some(Self::Completed(status)),
            Phase::Failed => Some(Self::Failed(status)),
            Phase::Expired => Some(Self::Expired(status)),
            Phase::Stopped => Some(Self::Stopped(status)),
            Phase::Paused { cause: PauseCause::Quarantined, .. } => Some(Self::Quarantined(status)),
            Phase::Pending { .. }
            | Phase::Active { .. }
            | Phase::Paused { .. }
            | Phase::Stopping { .. } => None,
        }
    }

    /// The status at rest.
    pub const fn status(&self) -> &Status {
        match self {
            Self::Completed(status)
            | Self::Failed(status)
            | Self::Expired(status)
            | Self::Stopped(status)
            | Self::Quarantined(status) => status,
        }
    }
}
