//! The record of a session: everything about it but its snapshots, inputs, steps and events.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    deletion::Deleted,
    event::{Cause, RunEnd},
    family::Family,
    footprint::Footprint,
    ids::{ExternalId, Kind, Name, RunId, SessionId, StartKey, WorkerGeneration},
    inbox::Inbox,
    labels::{Labels, Metadata},
    lineage::Links,
    state::{PauseCause, Phase, State},
    step::Turn,
    time::{LaneTime, SupervisedTime, Timestamp, serialize_timestamp},
    trimmed::Trimmed,
    usage::Usage,
};
use crate::{
    faults::{self, Bug},
    policy::Policy,
};

/// What is stored about a session. The indexes of a store follow from it and from nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session.
    pub id: SessionId,
    /// Which workload runs it.
    pub kind: Kind,
    /// Counts the commits of this record, from 1. Commits compare and set it.
    pub version: u64,
    /// The worker that wrote this version. With the version it names one commit.
    pub writer: WorkerGeneration,
    /// When the session was accepted.
    #[serde(serialize_with = "serialize_timestamp")]
    pub created_at: Timestamp,
    /// When this version was written.
    #[serde(serialize_with = "serialize_timestamp")]
    pub updated_at: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// A unique name of the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// A correlation id from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// What makes a repeated start the same start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_key: Option<StartRequest>,
    /// Indexed labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Free JSON.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// A policy of its own; else the supervisor's holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Box<Policy>>,
    /// The sessions that it comes from, and its successor: see [`links`](Self::links). Most have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Box<Links>>,
    /// The sequence of its last event.
    pub last_event: u64,
    /// Which of its events are gone, where only the newest are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<Box<Trimmed>>,
    /// What its events and steps hold, where that is counted: see [`bytes`](Self::bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footprint: Option<Box<Footprint>>,
    /// Its inputs, counted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inbox: Inbox,
    /// Its kept snapshots, newest first; at most [`SessionRecord::KEPT_SNAPSHOTS`].
    #[serde(default)]
    pub snapshots: Vec<SnapshotRef>,
    /// The latest turn of which steps are kept; none where no steps are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Turn>,
    /// Everything it used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub usage: Usage,
    /// How long it was active, and how often it ran.
    #[serde(default, skip_serializing_if = "is_default")]
    pub runs: Runs,
    /// Its failures, as the restart policy counts them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: Failures,
    /// How often a worker was lost while it ran this session, since its last checkpoint.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recoveries: u32,
    /// Runs that could not be cancelled and have not returned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<RunId>,
    /// Since when it is at rest for good, unless somebody resumes it: stopped, or ended. Those that ended before this was
    /// written down have none, and are not removed because of their age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SupervisedTime>,
    /// That it was deleted: then this is its tombstone. It says what the session was called, its labels and metadata, and what it used,
    /// for as long as what else is left of it is in the store, and little more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
    /// Its latest moves, oldest first; the event log has all of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub history: VecDeque<Transition>,
    /// What follows from its moves for its children and its parent. Most have neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Box<Family>>,
}

/// What is at its default is left out: most records have little in them.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SessionRecord {
    /// How many snapshots are kept: the newest, and the one that serves if it cannot be read.
    pub const KEPT_SNAPSHOTS: usize = 2;
    /// How many moves the record itself remembers.
    pub const KEPT_HISTORY: usize = 32;

    /// Where the session stands.
    pub const fn state(&self) -> State {
        self.phase.state()
    }

    /// Whether this is the tombstone of a session that was deleted.
    pub const fn is_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// The sessions that it comes from, and its successor.
    pub fn links(&self) -> Links {
        self.lineage.as_deref().copied().unwrap_or_default()
    }

    /// The newest kept snapshot.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.snapshots.first()
    }

    /// Inputs up to and including this number are not needed any more: every kept snapshot
    /// covers them.
    pub fn inputs_covered(&self) -> u64 {
        if faults::planted(Bug::DropInputsOfOlderSnapshot) {
            return self.snapshot().map_or(0, |newest| newest.consumed);
        }
        self.snapshots.iter().map(|kept| kept.consumed).min().unwrap_or(0)
    }

    /// Whether a kept snapshot covers an input: it had its effect on it, or was dropped.
    pub fn covers(&self, kept: &SnapshotRef, input: u64) -> bool {
        let early = self.inbox.out_of_order.as_ref();
        input <= kept.consumed || early.is_some_and(|odd| odd.over.covers(input, kept.sequence))
    }

    /// Steps of turns up to and including this one are not needed any more: every kept snapshot
    /// covers them.
    pub fn steps_covered(&self) -> Turn {
        if faults::planted(Bug::DropStepsOfOlderSnapshot) {
            return self.snapshot().map_or_else(Turn::default, SnapshotRef::turn);
        }
        self.snapshots.iter().map(SnapshotRef::turn).min().unwrap_or_default()
    }

    /// Since when the session could run, if there were a place for it: its due time in
    /// [`Lane::Ready`]. A restart is not in it: its supervisor waits out the backoff.
    pub fn ready_since(&self) -> Option<SupervisedTime> {
        match &self.phase {
            Phase::Pending { since, .. } => Some(*since),
            Phase::Paused { cause, since, .. } => {
                let waits = self.inbox.waiting() > 0;
                let ready = match cause {
                    PauseCause::AlarmRang => true,
                    PauseCause::Idle => waits,
                    PauseCause::Asleep(sleep) => waits && sleep.is_woken_by(self.inbox.accepted),
                    PauseCause::Asked
                    | PauseCause::Shutdown
                    | PauseCause::Interrupted
                    | PauseCause::Parent
                    | PauseCause::Quarantined => false,
                };
                ready.then_some(*since)
            }
            Phase::Active { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => None,
        }
    }

    /// When the waiting of a session without a run ends by itself: its due time in
    /// [`Lane::Timeout`].
    pub const fn waits_until(&self) -> Option<SupervisedTime> {
        match &self.phase {
            Phase::Pending { until, .. } | Phase::Paused { until, .. } => *until,
            Phase::Active { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => None,
        }
    }

    /// When the alarm of a session that sleeps rings, by the wall clock: its due time in
    /// [`Lane::Alarm`].
    pub const fn sleeps_until(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Paused { cause: PauseCause::Asleep(sleep), .. } => Some(sleep.until),
            Phase::Pending { .. }
            | Phase::Active { .. }
            | Phase::Paused { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => None,
        }
    }

    /// When something is to be done about what is left of a deleted session: its due time in
    /// [`Lane::Removal`]. A tombstone that owes something is kept until that is done.
    pub fn removed_from(&self) -> Option<SupervisedTime> {
        let deleted = self.deleted?;
        (!deleted.purged || self.owes_since().is_none()).then(|| deleted.due())
    }

    /// Since when the session has been at rest in this state: its due time in the lane of the state.
    fn ended_as(&self, state: State) -> Option<SupervisedTime> {
        self.ended.filter(|_| self.state() == state)
    }

    /// Since when something follows from its moves for its children or its parent that is not done: its due time in
    /// [`Lane::Family`].
    pub fn owes_since(&self) -> Option<SupervisedTime> {
        self.family.as_ref()?.owed.first().map(|owed| owed.since)
    }

    /// When events of it are to be removed: its due time in [`Lane::Trim`].
    pub fn trimmed_from(&self) -> Option<SupervisedTime> {
        self.trimmed.as_ref()?.due()
    }

    /// The number of the last event that is gone, or about to be; 0 where all are kept.
    pub fn trimmed_to(&self) -> u64 {
        self.trimmed.as_ref().map_or(0, |trimmed| trimmed.to)
    }

    /// How much it holds in the store, in logical bytes: its kept snapshots, the inputs that wait, and as far as they are counted its
    /// events and the results of its kept steps. One that was deleted holds nothing.
    pub fn bytes(&self) -> u64 {
        if self.is_deleted() {
            return 0;
        }
        let counted = self.footprint.iter().flat_map(|held| {
            let steps = held.steps.iter().map(|(_, bytes)| *bytes);
            steps.chain([held.events])
        });
        let snapshots = self.snapshots.iter().map(|kept| kept.bytes);
        let all = counted.chain(snapshots).chain([self.inbox.waiting_bytes]);
        all.fold(0, u64::saturating_add)
    }

    /// Whether it may have children.
    pub fn has_children(&self) -> bool {
        self.family.as_ref().is_some_and(|family| family.has_children)
    }

    /// The due time of the session in a lane. One that was deleted is in [`Lane::Removal`] only, and in [`Lane::Family`] until
    /// its children have done as is to be done and its parent was told of its end.
    pub fn due(&self, lane: Lane) -> Option<LaneTime> {
        if self.is_deleted() && !matches!(lane, Lane::Removal | Lane::Family) {
            return None;
        }
        match lane {
            Lane::Ready => self.ready_since().map(Into::into),
            Lane::Timeout => self.waits_until().map(Into::into),
            Lane::Alarm => self.sleeps_until().map(Into::into),
            Lane::Removal => self.removed_from().map(Into::into),
            Lane::Stopped => self.ended_as(State::Stopped).map(Into::into),
            Lane::Completed => self.ended_as(State::Completed).map(Into::into),
            Lane::Failed => self.ended_as(State::Failed).map(Into::into),
            Lane::Expired => self.ended_as(State::Expired).map(Into::into),
            Lane::Family => self.owes_since().map(Into::into),
            Lane::Trim => self.trimmed_from().map(Into::into),
        }
    }
}

/// A queue of due times in a store, for sessions that no actor looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Sessions that could run: see [`SessionRecord::ready_since`].
    Ready,
    /// Sessions whose waiting has a limit: see [`SessionRecord::waits_until`].
    Timeout,
    /// Sessions that sleep: see [`SessionRecord::sleeps_until`]. The one lane whose times are those
    /// of the wall clock.
    Alarm,
    /// Sessions that were deleted: see [`SessionRecord::removed_from`].
    Removal,
    /// Sessions that are stopped, by the time since when: what is kept for a time is removed when that has passed.
    Stopped,
    /// Sessions that completed, likewise.
    Completed,
    /// Sessions that failed, likewise.
    Failed,
    /// Sessions that expired, likewise.
    Expired,
    /// Sessions whose moves are not yet followed by their children, or told to their parent: see
    /// [`SessionRecord::owes_since`].
    Family,
    /// Sessions that go on and of which events are to be removed: see [`SessionRecord::trimmed_from`].
    Trim,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 10] = [
        Self::Ready,
        Self::Timeout,
        Self::Alarm,
        Self::Removal,
        Self::Stopped,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Family,
        Self::Trim,
    ];
}

/// A start that can be recognised when it is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The caller's key.
    pub key: StartKey,
    /// A digest of what was asked for, to tell a repeat from a mistake.
    pub digest: u64,
}

/// A kept snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Its number, from 1.
    pub sequence: u64,
    /// Inputs up to and including this one had their effect on it. Some after it may have had theirs
    /// too: see [`SessionRecord::covers`].
    pub consumed: u64,
    /// How many turns without an input have ended since that input was consumed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interlude: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was taken.
    #[serde(serialize_with = "serialize_timestamp")]
    pub at: Timestamp,
}

impl SnapshotRef {
    /// The last turn whose whole work is in it.
    pub const fn turn(&self) -> Turn {
        Turn { input: self.consumed, interlude: self.interlude }
    }
}

/// The runs of a session, counted and summed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// How many there were.
    pub count: u32,
    /// How many of them replaced one that failed.
    pub restarts: u32,
    /// Milliseconds that runs were alive, up to the end of the last one that ended.
    pub active_ms: u64,
    /// When the present run began, in supervised time. Of a session that was ended from outside,
    /// it stays if the worker was lost before the run was gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<SupervisedTime>,
    /// The run that ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<EndedRun>,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRun {
    /// The run.
    pub run: RunId,
    /// What became of it.
    #[serde(flatten)]
    pub end: RunEnd,
}

impl Runs {
    /// How long runs were alive, the present one included: see [`since`](Self::since).
    pub fn active(&self, now: SupervisedTime) -> Duration {
        let present = self.since.map_or(Duration::ZERO, |since| now.since(since));
        Duration::from_millis(self.active_ms).saturating_add(present)
    }
}

/// The failures of a session, as the restart policy counts them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Failures {
    /// When the failures that still count happened, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<SupervisedTime>,
    /// Failures since the last checkpoint.
    pub without_checkpoint: u32,
    /// Failures in a row, for the backoff; healthy time resets it.
    pub in_a_row: u32,
    /// What the last one said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<RunEnd>,
}

/// One move of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    #[serde(serialize_with = "serialize_timestamp")]
    pub at: Timestamp,
    /// From where.
    pub from: State,
    /// To where.
    pub to: State,
    /// Which rule, or whose word.
    pub cause: Cause,
    /// In words, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An input as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInput {
    /// Its number in the session.
    pub sequence: u64,
    /// The caller's id for it.
    pub id: Option<super::ids::InputId>,
    /// When it was accepted.
    pub at: Timestamp,
    /// The state version of the workload that encoded it.
    pub state_version: u32,
    /// The encoded input.
    pub payload: std::sync::Arc<[u8]>,
}
