//! The states of a session and the one function that decides every move between them.
//!
//! | from \ trigger | activate | pause | stop | stop held | settle | complete | fail | expire |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | pending   | active | paused | stopped  | –        | –       | completed | failed | expired |
//! | active    | active | paused | stopping | –        | –       | completed | failed | expired |
//! | paused    | active | –      | stopped  | stopping | –       | completed | failed | expired |
//! | stopping  | –      | –      | –        | –        | stopped | –         | –      | –       |
//! | stopped   | active | –      | –        | –        | –       | completed | –      | –       |
//! | completed, failed, expired | – | – | – | – | – | – | – | – |
//!
//! *activate* from active is a restart: a new run takes the place of one that ended. A stop
//! between two runs passes through `stopping` to `stopped` in one commit. A paused session is
//! stopped at once, unless it holds something that its last run left (*stop held*): then it is
//! `stopping` until that is closed. A dash is refused with
//! [`InvalidTransition`], except that asking for what already holds succeeds and changes nothing;
//! that is the caller's to decide, see [`Trigger::target`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    ids::{RunId, SessionId, WorkerGeneration},
    sleep::Sleep,
    time::SupervisedTime,
};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Durable, its first run not begun: it waits for its place under `max_active`.
    Pending,
    /// A run is alive, or a restart waits out its backoff.
    Active,
    /// At rest with a durable snapshot. Its [`PauseCause`] says what wakes it.
    Paused,
    /// A stop was accepted; something of the run may still be alive.
    Stopping,
    /// Stopped by a person's explicit word; keeps its snapshot and can be resumed.
    Stopped,
    /// Ended well. Terminal.
    Completed,
    /// Ended by an error. Terminal.
    Failed,
    /// Ended because it gave no sign of life, or waited too long. Terminal.
    Expired,
}

impl State {
    /// Every state, in the order of the life of a session.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Active,
        Self::Paused,
        Self::Stopping,
        Self::Stopped,
        Self::Completed,
        Self::Failed,
        Self::Expired,
    ];

    /// Whether nothing can follow.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Expired => true,
            Self::Pending | Self::Active | Self::Paused | Self::Stopping | Self::Stopped => false,
        }
    }

    /// Whether the session has come to its end: terminal, or stopped, from where a resume leads back.
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Stopped | Self::Completed | Self::Failed | Self::Expired => true,
            Self::Pending | Self::Active | Self::Paused | Self::Stopping => false,
        }
    }

    /// Whether inputs are accepted.
    pub const fn accepts_input(self) -> bool {
        match self {
            Self::Pending | Self::Active | Self::Paused => true,
            Self::Stopping | Self::Stopped | Self::Completed | Self::Failed | Self::Expired => {
                false
            }
        }
    }

    /// The name used in logs, formats and error texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What moves a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A run begins: first start, resume, wake, restart or recovery.
    Activate,
    /// The session comes to rest.
    Pause,
    /// Somebody said stop.
    Stop,
    /// Somebody said stop to a paused session that still holds something of its last run, such as
    /// a frozen child process: it has to be closed first.
    StopHeld,
    /// Nothing of the stopped run is alive any more.
    Settle,
    /// It is done.
    Complete,
    /// It cannot go on.
    Fail,
    /// Its time ran out.
    Expire,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 8] = [
        Self::Activate,
        Self::Pause,
        Self::Stop,
        Self::StopHeld,
        Self::Settle,
        Self::Complete,
        Self::Fail,
        Self::Expire,
    ];

    /// The state this trigger asks for. A session that is already there has what was asked.
    pub const fn target(self) -> State {
        match self {
            Self::Activate => State::Active,
            Self::Pause => State::Paused,
            Self::Stop | Self::StopHeld | Self::Settle => State::Stopped,
            Self::Complete => State::Completed,
            Self::Fail => State::Failed,
            Self::Expire => State::Expired,
        }
    }
}

/// Decides every move: the state that follows, or `None` where the table has a dash.
#[must_use]
pub const fn transition(from: State, trigger: Trigger) -> Option<State> {
    match (from, trigger) {
        (State::Pending | State::Active | State::Paused | State::Stopped, Trigger::Activate) => {
            Some(State::Active)
        }
        (State::Pending | State::Active, Trigger::Pause) => Some(State::Paused),
        (State::Active, Trigger::Stop) | (State::Paused, Trigger::StopHeld) => {
            Some(State::Stopping)
        }
        (State::Pending | State::Paused, Trigger::Stop) | (State::Stopping, Trigger::Settle) => {
            Some(State::Stopped)
        }
        (State::Pending | State::Active | State::Paused | State::Stopped, Trigger::Complete) => {
            Some(State::Completed)
        }
        (State::Pending | State::Active | State::Paused, Trigger::Fail) => Some(State::Failed),
        (State::Pending | State::Active | State::Paused, Trigger::Expire) => Some(State::Expired),
        (State::Paused, Trigger::Pause)
        | (State::Pending | State::Active | State::Stopped, Trigger::StopHeld)
        | (State::Pending | State::Active | State::Paused | State::Stopped, Trigger::Settle)
        | (
            State::Stopping,
            Trigger::Activate
            | Trigger::Pause
            | Trigger::Stop
            | Trigger::StopHeld
            | Trigger::Complete
            | Trigger::Fail
            | Trigger::Expire,
        )
        | (State::Stopped, Trigger::Pause | Trigger::Stop | Trigger::Fail | Trigger::Expire)
        | (State::Completed | State::Failed | State::Expired, _) => None,
    }
}

/// A move the table does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("session {session}: invalid state transition: {from} → {to}")]
pub struct InvalidTransition {
    /// The session that stays as it is.
    pub session: SessionId,
    /// Where it stands.
    pub from: State,
    /// Where it was asked to go.
    pub to: State,
}

/// The state of a session with what belongs to it: what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Phase {
    /// See [`State::Pending`].
    Pending {
        /// Since when.
        since: SupervisedTime,
        /// When the waiting ends by itself (`pending_timeout`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<SupervisedTime>,
    },
    /// See [`State::Active`].
    Active {
        /// The current run: the fencing token. Between runs, the one that ended.
        run: RunId,
        /// The worker whose run it is.
        worker: WorkerGeneration,
        /// Set between runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restarting: Option<Restarting>,
    },
    /// See [`State::Paused`].
    Paused {
        /// What wakes it.
        cause: PauseCause,
        /// Since when.
        since: SupervisedTime,
        /// When the waiting ends by itself (`paused_timeout`); never for a session that is
        /// quarantined, sleeps, or waits for its place after its alarm.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<SupervisedTime>,
    },
    /// See [`State::Stopping`].
    Stopping {
        /// The run that is being stopped, or that left what is being closed.
        run: RunId,
        /// The worker whose run it is.
        worker: WorkerGeneration,
    },
    /// See [`State::Stopped`].
    Stopped,
    /// See [`State::Completed`].
    Completed,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Expired`].
    Expired,
}

impl Phase {
    /// The state without its data.
    pub const fn state(&self) -> State {
        match self {
            Self::Pending { .. } => State::Pending,
            Self::Active { .. } => State::Active,
            Self::Paused { .. } => State::Paused,
            Self::Stopping { .. } => State::Stopping,
            Self::Stopped => State::Stopped,
            Self::Completed => State::Completed,
            Self::Failed => State::Failed,
            Self::Expired => State::Expired,
        }
    }

    /// The run that may write, if the session has one.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Active { run, .. } | Self::Stopping { run, .. } => Some(*run),
            Self::Pending { .. }
            | Self::Paused { .. }
            | Self::Stopped
            | Self::Completed
            | Self::Failed
            | Self::Expired => None,
        }
    }

    /// The worker that owns the session, if one does.
    pub const fn worker(&self) -> Option<WorkerGeneration> {
        match self {
            Self::Active { worker, .. } | Self::Stopping { worker, .. } => Some(*worker),
            Self::Pending { .. }
            | Self::Paused { .. }
            | Self::Stopped
            | Self::Completed
            | Self::Failed
            | Self::Expired => None,
        }
    }

    /// Why the session is paused, if it is.
    pub const fn pause_cause(&self) -> Option<PauseCause> {
        match self {
            Self::Paused { cause, .. } => Some(*cause),
            Self::Pending { .. }
            | Self::Active { .. }
            | Self::Stopping { .. }
            | Self::Stopped
            | Self::Completed
            | Self::Failed
            | Self::Expired => None,
        }
    }
}

/// A restart that waits out its backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarting {
    /// Which attempt the next run will be, from 1.
    pub attempt: u32,
    /// When it begins.
    pub due: SupervisedTime,
}

/// Why a session is paused, and so what wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// A person said pause. Only `resume` wakes it.
    Asked,
    /// It had nothing to do. `resume` wakes it, and so does an input.
    Idle,
    /// Its worker shut down. `resume` wakes it, and so does the next start of a worker.
    Shutdown,
    /// Its worker was lost. `resume` wakes it, and so does the next start of a worker.
    Interrupted,
    /// It failed too often. Only `resume` wakes it, which clears the counters.
    Quarantined,
    /// It sleeps, as its workload asked for. Its alarm wakes it, `resume` does, and an input if the
    /// workload said so.
    Asleep(Sleep),
    /// It slept, its alarm has rung, and it waits for a place under `max_active`. `resume` wakes it
    /// too.
    AlarmRang,
    /// Its parent was paused by a person's word. `resume` wakes it, and so does a resume of the parent.
    Parent,
}

impl PauseCause {
    /// Whether an input wakes the session. One that is already waiting wakes it too; one that sleeps,
    /// [unless its workload knew of it](Sleep::woken_after).
    pub const fn woken_by_input(self) -> bool {
        match self {
            Self::Idle => true,
            Self::Asleep(sleep) => sleep.woken_after.is_some(),
            Self::Asked
            | Self::Shutdown
            | Self::Interrupted
            | Self::Quarantined
            | Self::AlarmRang
            | Self::Parent => false,
        }
    }

    /// Whether the next start of a worker may wake the session, if policy says so.
    pub const fn woken_by_start(self) -> bool {
        match self {
            Self::Shutdown | Self::Interrupted => true,
            Self::Asked
            | Self::Idle
            | Self::Quarantined
            | Self::Asleep(_)
            | Self::AlarmRang
            | Self::Parent => false,
        }
    }

    /// The name used in logs, formats and error texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Idle => "idle",
            Self::Shutdown => "shutdown",
            Self::Interrupted => "interrupted",
            Self::Quarantined => "quarantined",
            Self::Asleep(_) => "asleep",
            Self::AlarmRang => "alarm_rang",
            Self::Parent => "parent",
        }
    }
}

impl fmt::Display for PauseCause {
    /// Its name, and until when it sleeps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asleep(sleep) => write!(f, "asleep until {sleep}"),
            Self::Asked
            | Self::Idle
            | Self::Shutdown
            | Self::Interrupted
            | Self::Quarantined
            | Self::AlarmRang
            | Self::Parent => f.write_str(self.as_str()),
        }
    }
}
