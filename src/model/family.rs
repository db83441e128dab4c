//! Sessions and their children: what a child does when its parent moves, and what is owed for it.

use serde::{Deserialize, Serialize};

use super::{
    event::{Cause, RunEnd},
    ids::{ChildKey, Kind, SessionId},
    record::SessionRecord,
    state::{PauseCause, Phase, State},
    time::SupervisedTime,
};
use crate::faults::{self, Bug};

/// What a child does when its parent moves: what Temporal calls the *parent close policy*. It is set at the start of
/// the child ([`Start::on_parent`](crate::Start::on_parent)) and stays.
///
/// By default a child is paused and resumed with its parent, and stopped when that is stopped or ends.
///
/// ```
/// use sessionkeeper::{OnParent, WhenParentEnds};
///
/// // It is paused and stopped with its parent, and outlives one that completes.
/// let on_parent = OnParent { end: WhenParentEnds::Leave, ..OnParent::default() };
/// # assert_ne!(on_parent, OnParent::LEAVE);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OnParent {
    /// What it does when the parent is paused by a person's word, or with a parent of its own. A pause that the supervisor takes by
    /// itself, such as that of a parent which has nothing to do, pauses no child.
    pub pause: WhenParentPauses,
    /// What it does when the parent is stopped.
    pub stop: WhenParentEnds,
    /// What it does when the parent completes, fails, expires or is rolled over.
    pub end: WhenParentEnds,
}

impl OnParent {
    /// Whatever becomes of the parent, the child goes on.
    pub const LEAVE: Self = Self {
        pause: WhenParentPauses::Leave,
        stop: WhenParentEnds::Leave,
        end: WhenParentEnds::Leave,
    };
    const FOLLOW: Self = Self {
        pause: WhenParentPauses::Pause,
        stop: WhenParentEnds::Stop,
        end: WhenParentEnds::Stop,
    };

    pub(super) const fn default_const() -> Self {
        Self::FOLLOW
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::FOLLOW
    }
}

/// What a child does when its parent is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenParentPauses {
    /// It is paused ([`PauseCause::Parent`]), and resumed when the parent is, also where that was stopped in between and the child was not.
    #[default]
    Pause,
    /// It goes on.
    Leave,
}

/// What a child does when its parent is stopped, or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenParentEnds {
    /// It is stopped. A resume of the parent does not resume it: that is a person's to decide. Where the parent is resumed before all its
    /// children could be stopped, as while the store fails, those that were not go on.
    #[default]
    Stop,
    /// It goes on.
    Leave,
}

/// What a record knows of the family of its session, besides its [links](super::lineage::Links).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Family {
    /// Whether it may have children: durable before the first of them is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_children: bool,
    /// What follows from its moves for its children and its parent, and is not done yet; the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<Owed>,
    /// When it, or what it has taken the place of, was last resumed by a person's word, as a child, in supervised time: that is later
    /// word than what its parent did before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<SupervisedTime>,
    /// Of a session that was deleted before its parent was told of its end: what that is still to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<Box<Untold>>,
}

/// The end of a session that is gone, and whom it is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// The parent.
    pub parent: SessionId,
    /// The end.
    pub end: ChildEnd,
}

/// Something that follows from a move of a session for others, and is not done yet. It is committed with the move, and removed
/// when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The number of the event that it follows from.
    pub event: u64,
    /// Since when, in supervised time.
    pub since: SupervisedTime,
    /// What.
    pub duty: Duty,
}

/// What is owed to a session's children, or to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Duty {
    /// It is a new child: to do what its parent did before it was there.
    Heed,
    /// To pause its children.
    Pause,
    /// To resume its children.
    Resume,
    /// To stop its children, since it was stopped.
    Stop,
    /// To stop its children, since it has ended.
    End,
    /// To tell its parent that it has ended.
    Tell,
}

impl Duty {
    /// Whether an older duty is of no use where this one is owed.
    const fn replaces(self, older: Self) -> bool {
        match self {
            Self::Pause | Self::Resume => matches!(older, Self::Pause | Self::Resume),
            Self::Heed | Self::Stop | Self::End | Self::Tell => false,
        }
    }
}

/// What a session is in its family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kin {
    pub(crate) has_children: bool,
    pub(crate) has_parent: bool,
    /// Whether it was rolled over: then its successor takes its place.
    pub(crate) has_successor: bool,
}

/// What follows from a move.
pub(crate) fn duties(kin: Kin, from: &Phase, to: &Phase) -> impl Iterator<Item = Duty> + use<> {
    let children = kin.has_children.then(|| to_children(from, to)).flatten();
    let ends = to.state().has_ended() && !from.state().has_ended();
    let tells = kin.has_parent && ends && !kin.has_successor;
    children.into_iter().chain(tells.then_some(Duty::Tell))
}

fn to_children(from: &Phase, to: &Phase) -> Option<Duty> {
    match to.state() {
        State::Paused => is_held(to).then_some(Duty::Pause),
        State::Active if faults::planted(Bug::LeaveChildrenPaused) => None,
        // Those that a stop has left alone, or did not reach, may be paused with it still.
        State::Active => (is_held(from) || is_stopped(from)).then_some(Duty::Resume),
        State::Stopping => Some(Duty::Stop),
        State::Stopped => (from.state() != State::Stopping).then_some(Duty::Stop),
        State::Completed | State::Failed | State::Expired => Some(Duty::End),
        State::Pending => None,
    }
}

fn is_stopped(phase: &Phase) -> bool {
    phase.state() == State::Stopped && !faults::planted(Bug::ForgetWhoIsPaused)
}

/// Whether a session is paused by a word that holds for its children too.
pub(crate) fn is_held(phase: &Phase) -> bool {
    match phase.pause_cause() {
        Some(PauseCause::Asked | PauseCause::Parent) => true,
        Some(
            PauseCause::Idle
            | PauseCause::Shutdown
            | PauseCause::Interrupted
            | PauseCause::Quarantined
            | PauseCause::Asleep(_)
            | PauseCause::AlarmRang,
        )
        | None => false,
    }
}

/// What a new child has to heed of a parent that stands so.
pub(crate) fn to_heed(parent: &Phase) -> Option<Duty> {
    match parent.state() {
        State::Stopping | State::Stopped => Some(Duty::Stop),
        State::Completed | State::Failed | State::Expired => Some(Duty::End),
        State::Paused => is_held(parent).then_some(Duty::Pause),
        State::Pending | State::Active => None,
    }
}

impl OnParent {
    /// What a child does where its parent owes this.
    pub(crate) fn answer(self, duty: Duty) -> Option<Answer> {
        let stops = |when| match when {
            WhenParentEnds::Stop => Some(Answer::Stop),
            WhenParentEnds::Leave => None,
        };
        match duty {
            Duty::Pause => match self.pause {
                WhenParentPauses::Pause => Some(Answer::Pause),
                WhenParentPauses::Leave => None,
            },
            // Only one that was paused with its parent is.
            Duty::Resume => Some(Answer::Resume),
            Duty::Stop => stops(self.stop),
            Duty::End => stops(self.end),
            Duty::Heed | Duty::Tell => None,
        }
    }
}

/// What a child is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Pause,
    Resume,
    Stop,
}

impl Family {
    /// Adds what is owed.
    pub(crate) fn owe(&mut self, owed: Owed) {
        self.owed.retain(|older| !owed.duty.replaces(older.duty));
        if faults::planted(Bug::ForgetCascade) && owed.duty != Duty::Tell {
            return;
        }
        self.owed.push(owed);
    }

    /// The session goes on: a stop that has not reached all its children is taken back.
    pub(crate) fn take_back_stop(&mut self) {
        self.owed.retain(|owed| owed.duty != Duty::Stop);
    }

    /// Whether the session was resumed by a person's word since something was owed to it.
    pub(crate) fn is_resumed_since(&self, owed: &Owed) -> bool {
        self.resumed.is_some_and(|at| at > owed.since)
    }

    /// What the successor of the session begins with: it goes on as the session did, whatever the parent did before.
    pub(crate) fn of_successor(&self) -> Option<Self> {
        let resumed = self.resumed.filter(|_| !faults::planted(Bug::ForgetResumeBefore));
        resumed.map(|at| Self { resumed: Some(at), ..Self::default() })
    }

    /// What is owed is done.
    pub(crate) fn discharge(&mut self, done: &Owed) {
        self.owed.retain(|owed| owed != done);
        if !self.owes_parent() {
            self.untold = None;
        }
    }

    /// Whether the parent is to be told of an end.
    pub(crate) fn owes_parent(&self) -> bool {
        self.owed.iter().any(|owed| owed.duty == Duty::Tell)
    }
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildEnd {
    /// The child. Where it was rolled over, the last of its successors.
    pub child: SessionId,
    /// Its kind.
    pub kind: Kind,
    /// The key by which it was started, if it was by a run of its parent.
    pub key: Option<ChildKey>,
    /// Completed, failed, expired, or stopped by a person or with its parent.
    pub state: State,
    /// Which rule, or whose word, ended it.
    pub cause: Cause,
    /// In words, where there are any, such as the error of one that failed.
    pub reason: Option<String>,
    /// How its last run ended, if it had one.
    pub run: Option<RunEnd>,
}

impl ChildEnd {
    /// The end of a session that has ended and was not rolled over.
    pub(crate) fn of(record: &SessionRecord) -> Option<Self> {
        let state = record.state();
        if !state.has_ended() || record.links().transitioned_to.is_some() {
            return None;
        }
        // What settled a stop says only that the run is gone.
        let ends = |to: State| to == state || (state == State::Stopped && to == State::Stopping);
        let mut moves = record.history.iter().rev();
        let last = moves.find(|moved| ends(moved.to) && moved.cause != Cause::RunGone)?;
        let key = record.start_key.as_ref().and_then(|start| {
            let rest = start.key.as_str().strip_prefix("child:")?;
            let (_, key) = rest.split_once(':')?;
            ChildKey::new(key).ok()
        });
        Some(Self {
            child: record.id,
            kind: record.kind.clone(),
            key,
            state,
            cause: last.cause,
            reason: last.reason.clone(),
            run: record.runs.last.as_ref().map(|last| last.end.clone()),
        })
    }
}
