//! The facts of a session: numbered without gaps from 1, kept whatever becomes of the work.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    deletion::Removal,
    ids::{ExternalId, Kind, RunId, SessionId},
    inbox::OnInterrupt,
    labels::Labels,
    lineage::Forked,
    sleep::Sleep,
    state::{PauseCause, State},
    time::{Timestamp, serialize_timestamp},
    usage::Usage,
};

/// One numbered fact in the log of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its place in the log of the session: 1, 2, 3 …
    pub sequence: u64,
    /// When it was recorded.
    #[serde(serialize_with = "serialize_timestamp")]
    pub at: Timestamp,
    /// The run that it belongs to, if one was alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The number of the input that was in hand, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// What happened.
    pub fact: Fact,
}

/// Where a run begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunEdge {
    Begins(RunId),
    Ends(RunId),
}

impl EventRecord {
    /// Whether a run begins or ends with it.
    pub(crate) fn run_edge(&self) -> Option<RunEdge> {
        let Fact::Lifecycle(what) = &self.fact else { return None };
        if let Lifecycle::StateChanged { to: State::Active, .. } = what {
            self.run.map(RunEdge::Begins)
        } else if let Lifecycle::RunEnded { .. } = what {
            self.run.map(RunEdge::Ends)
        } else {
            None
        }
    }
}

/// What happened: to the session, or in its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Recorded by the library.
    Lifecycle(Lifecycle),
    /// Recorded by the workload.
    Work(Event),
    /// A sum of usage, recorded by the workload.
    Usage(Usage),
}

/// What the library records about a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// The session was accepted.
    Created {
        /// Its kind.
        kind: Kind,
    },
    /// It was made as a fork of another one: always its second event.
    Forked(Box<Forked>),
    /// It takes the place of another one, which was rolled over: always its second event.
    TransitionedFrom {
        /// That one.
        session: SessionId,
        /// How many inputs it had not worked off and were moved: they are the first ones of this session.
        #[serde(default, skip_serializing_if = "is_zero")]
        inputs: u64,
    },
    /// It was rolled over, and its successor goes on.
    TransitionedTo {
        /// That one.
        session: SessionId,
        /// How many inputs had not been worked off, whether they were moved or not.
        #[serde(default, skip_serializing_if = "is_zero")]
        unread: u64,
    },
    /// The session moved.
    StateChanged {
        /// From where.
        from: State,
        /// To where.
        to: State,
        /// Which rule or whose word moved it.
        cause: Cause,
        /// In words, where there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether the session begins with it: with its first run, or the first since it was stopped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        begins: bool,
    },
    /// A paused session stays paused, for another cause.
    PauseCauseChanged {
        /// The cause until now.
        from: PauseCause,
        /// The cause from now on.
        to: PauseCause,
    },
    /// The session sleeps, until then.
    FellAsleep(Sleep),
    /// A run ended.
    RunEnded {
        /// How.
        how: RunEnd,
    },
    /// A run that had been abandoned came back, and is gone now.
    AbandonedRunReturned,
    /// A restart waits out its backoff.
    RestartScheduled {
        /// Which attempt the next run will be.
        attempt: u32,
        /// How long it waits, in milliseconds of supervised time.
        delay_ms: u64,
    },
    /// The newest snapshot could not be read; the one before it serves.
    SnapshotFellBack {
        /// The sequence of the unreadable snapshot.
        from: u64,
        /// The sequence of the one that serves.
        to: u64,
        /// What was wrong with it.
        reason: String,
    },
    /// The turn of the input that the event names was interrupted.
    TurnInterrupted {
        /// What becomes of its input.
        then: OnInterrupt,
    },
    /// The external correlation id was set.
    ExternalIdSet {
        /// To what.
        id: ExternalId,
    },
    /// The labels were replaced.
    LabelsSet {
        /// By these.
        labels: Labels,
    },
    /// The metadata were replaced. The record has them.
    MetadataSet,
    /// The session was deleted: always its last event. What happened to it can still be read by those who follow
    /// the log, until it is removed.
    Deleted {
        /// By whose word.
        by: Removal,
        /// Whether the session ends with it: it had begun, and was only paused.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ends: bool,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Which rule, or whose word, moved a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A caller's explicit word: start, pause, resume, stop, complete or fail.
    Asked,
    /// A place under `max_active` became free.
    SlotFree,
    /// An input woke a session that was idle or slept.
    InputArrived,
    /// A failed run is replaced by a new one.
    Restarted,
    /// The worker that ran it was replaced.
    Recovered,
    /// The workload returned while nobody had asked.
    Returned,
    /// The workload went to sleep until an alarm.
    FellAsleep,
    /// The alarm of a session that slept has rung.
    AlarmRang,
    /// Nothing to do for longer than `idle_timeout`.
    IdleTimeout,
    /// No sign of life for longer than `heartbeat_timeout`.
    Silence,
    /// Paused for longer than `paused_timeout`.
    PausedTimeout,
    /// Pending for longer than `pending_timeout`.
    PendingTimeout,
    /// The worker shut down.
    Shutdown,
    /// The worker that ran it was lost.
    Interrupted,
    /// It failed more often than its restart policy allows.
    RestartsExhausted,
    /// Its worker was lost again and again before its first checkpoint.
    SuspectedOfCrashes,
    /// The workload's own verdict: completed, or failed for good.
    Workload,
    /// Nothing of the stopped run is alive any more.
    RunGone,
    /// Its successor has taken its place.
    RolledOver,
    /// Its parent was paused, resumed or stopped, or has ended.
    Parent,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 20] = [
        Self::Asked,
        Self::SlotFree,
        Self::InputArrived,
        Self::Restarted,
        Self::Recovered,
        Self::Returned,
        Self::FellAsleep,
        Self::AlarmRang,
        Self::IdleTimeout,
        Self::Silence,
        Self::PausedTimeout,
        Self::PendingTimeout,
        Self::Shutdown,
        Self::Interrupted,
        Self::RestartsExhausted,
        Self::SuspectedOfCrashes,
        Self::Workload,
        Self::RunGone,
        Self::RolledOver,
        Self::Parent,
    ];

    /// The name used in logs and formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::SlotFree => "slot_free",
            Self::InputArrived => "input_arrived",
            Self::Restarted => "restarted",
            Self::Recovered => "recovered",
            Self::Returned => "returned",
            Self::FellAsleep => "fell_asleep",
            Self::AlarmRang => "alarm_rang",
            Self::IdleTimeout => "idle_timeout",
            Self::Silence => "silence",
            Self::PausedTimeout => "paused_timeout",
            Self::PendingTimeout => "pending_timeout",
            Self::Shutdown => "shutdown",
            Self::Interrupted => "interrupted",
            Self::RestartsExhausted => "restarts_exhausted",
            Self::SuspectedOfCrashes => "suspected_of_crashes",
            Self::Workload => "workload",
            Self::RunGone => "run_gone",
            Self::RolledOver => "rolled_over",
            Self::Parent => "parent",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunEnd {
    /// It returned `Outcome::Yielded` or `Outcome::SleepUntil`.
    Yielded,
    /// It returned `Outcome::Completed`, or rolled its session over.
    Completed,
    /// It returned an error.
    Failed {
        /// The error and its sources.
        error: String,
    },
    /// It panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// Its future was dropped before it returned.
    Cancelled,
    /// It could not be cancelled: its thread is blocked. It can change nothing any more, and
    /// what it holds may still be alive.
    Abandoned,
    /// Its worker was lost.
    Interrupted,
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yielded => f.write_str("yielded"),
            Self::Completed => f.write_str("completed"),
            Self::Failed { error } => write!(f, "failed: {error}"),
            Self::Panicked { message } => write!(f, "panicked: {message}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Abandoned => f.write_str("abandoned"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// What a workload tells about its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// One round of thought.
    Thinking {
        /// Which round of this turn.
        iteration: u64,
        /// The tools that it used.
        tools_used: Vec<String>,
    },
    /// A command that ran.
    Terminal {
        /// The command.
        command: String,
        /// What it printed.
        output: String,
        /// What it printed as errors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Its exit code, if it ended by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
    },
    /// A file that was touched.
    FileChange {
        /// Its path.
        path: String,
        /// What was done to it.
        action: FileAction,
    },
    /// Something was finished.
    Completion {
        /// In words.
        message: String,
        /// Numbers of the caller's choice.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        stats: serde_json::Value,
    },
    /// Something went wrong.
    Error {
        /// In words.
        message: String,
        /// Numbers of the caller's choice.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        stats: serde_json::Value,
    },
    /// Anything else.
    Custom {
        /// What it is called.
        name: String,
        /// What it says.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        data: serde_json::Value,
    },
}

impl Event {
    /// One round of thought and the tools that it used.
    pub fn thinking<T: Into<String>>(
        iteration: u64,
        tools_used: impl IntoIterator<Item = T>,
    ) -> Self {
        Self::Thinking { iteration, tools_used: tools_used.into_iter().map(Into::into).collect() }
    }

    /// A command that ran, what it printed and how it exited.
    pub fn terminal(command: impl Into<String>, output: impl Into<String>, exit_code: i32) -> Self {
        Self::Terminal {
            command: command.into(),
            output: output.into(),
            error: None,
            exit_code: Some(exit_code),
        }
    }

    /// A file that was touched.
    pub fn file_change(path: impl Into<String>, action: FileAction) -> Self {
        Self::FileChange { path: path.into(), action }
    }

    /// Something was finished.
    pub fn completion(message: impl Into<String>) -> Self {
        Self::Completion { message: message.into(), stats: serde_json::Value::Null }
    }

    /// Something went wrong.
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error { message: message.into(), stats: serde_json::Value::Null }
    }

    /// The free JSON in it.
    pub(crate) const fn data(&self) -> Option<&serde_json::Value> {
        match self {
            Self::Thinking { .. } | Self::Terminal { .. } | Self::FileChange { .. } => None,
            Self::Completion { stats: data, .. }
            | Self::Error { stats: data, .. }
            | Self::Custom { data, .. } => Some(data),
        }
    }

    /// Anything else, with data of the caller's own shape.
    pub fn custom(name: impl Into<String>, data: impl Into<serde_json::Value>) -> Self {
        Self::Custom { name: name.into(), data: data.into() }
    }
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileAction {
    /// It was made.
    Created,
    /// Its content changed.
    Modified,
    /// It was removed.
    Deleted,
    /// It has another name now.
    Renamed,
}
