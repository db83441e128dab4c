//! A session, and what is written down of it.

use std::collections::BTreeSet;

use sessionkeeper::{Cause, OnInterrupt, OnParent, PauseCause, Sleep, State};

use super::{
    Answer, Birth, Branch, Done, Ms, Next, Until, Who, family::Owed, inbox::Inbox, run::Alive,
};
use crate::model::{care::Care, steps::Begin};

/// A session.
#[derive(Debug, Clone)]
pub(in crate::model) struct Session {
    pub(in crate::model) made: Made,
    pub(in crate::model) name: Option<u8>,
    pub(in crate::model) care: Care,
    pub(in crate::model) state: State,
    /// Why it is paused, if it is.
    pub(in crate::model) cause: Option<PauseCause>,
    /// Since when it waits, pending or paused, and when that ends in expiry.
    pub(super) since: Ms,
    pub(super) until: Option<Ms>,
    /// Its run, as long as it is alive in this worker.
    pub(in crate::model) alive: Option<Alive>,
    /// When the next run begins, between two runs: which attempt it is, and when.
    pub(in crate::model) backoff: Option<(u32, Ms)>,
    /// It was active in a worker that is gone, and this one has not taken it up.
    pub(in crate::model) lost: bool,
    /// Whether the end of its last run is not recorded yet.
    pub(super) open: bool,
    /// Whether it has one of the places.
    pub(super) place: bool,
    pub(in crate::model) inbox: Inbox,
    /// Its last checkpoints, the newest first.
    pub(in crate::model) kept: Vec<Kept>,
    pub(in crate::model) team: Option<u8>,
    pub(in crate::model) note: Option<u8>,
    pub(in crate::model) external: Option<u8>,
    pub(in crate::model) runs: u32,
    pub(in crate::model) restarts: u32,
    pub(super) failures: Failures,
    /// How many workers were lost while it ran, since it last proved itself.
    pub(in crate::model) recoveries: u32,
    pub(in crate::model) last: Option<(u32, End)>,
    pub(in crate::model) links: Links,
    pub(super) has_children: bool,
    /// What follows from its moves for others, and is not done yet.
    pub(super) owed: Vec<Owed>,
    /// When a person resumed it last.
    pub(super) resumed: Option<Ms>,
    pub(in crate::model) deleted: Option<Ms>,
    pub(in crate::model) log: Vec<Line>,
    /// When each line of it was written.
    pub(super) recorded: Vec<Ms>,
    /// When that began, by the wall clock.
    pub(super) created: Ms,
}

/// The request that made a session: with the same key it makes no other.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model) enum Made {
    Start(Begin),
    /// The rollover of that one.
    Rollover(Who, Next),
    /// A child that a run of that one started.
    Child(Who, Birth),
    /// A fork of that one, from this checkpoint if one was named.
    Fork(Who, Option<u64>, Branch),
}

/// A key, as far as it is one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    OfCaller(u8),
    /// Of a child of that one.
    OfChild(Who, u8),
}

/// A checkpoint: a state, and the inputs that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct Kept {
    pub(in crate::model) number: u64,
    pub(in crate::model) consumed: u64,
    pub(super) early: BTreeSet<u64>,
    pub(in crate::model) done: Done,
}

/// The sessions that one comes from, and its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::model) struct Links<T = Who> {
    /// And the number of the checkpoint.
    pub(in crate::model) forked_from: Option<(T, u64)>,
    pub(in crate::model) parent: Option<T>,
    pub(in crate::model) on_parent: OnParent,
    /// How many generations of parents it has.
    pub(in crate::model) depth: u32,
    pub(in crate::model) predecessor: Option<T>,
    pub(in crate::model) successor: Option<T>,
}

/// What counts against a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    pub(super) recent: Vec<Ms>,
    pub(super) in_a_row: u32,
    pub(super) without_checkpoint: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum End {
    Yielded,
    Completed,
    Failed,
    Panicked,
    Cancelled,
    Interrupted,
}

/// What the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Line {
    Created,
    /// Of that one, from this checkpoint, with so many inputs.
    Forked(Who, u64, u64),
    SucceedsTo(Who, u64),
    SucceededBy(Who, u64),
    Moved(State, State, Cause),
    CauseChanged(PauseCause, PauseCause),
    Ended(End),
    Restart {
        attempt: u32,
        after: Ms,
    },
    External(u8),
    Labelled(Option<u8>),
    Described,
    Interrupted(OnInterrupt),
    Deleted,
    FellAsleep(Sleep),
    Event,
    Usage,
}

impl Made {
    pub(super) fn key(&self) -> Option<Key> {
        let key = match self {
            Self::Start(begin) => begin.key,
            Self::Rollover(_, next) => next.key,
            Self::Fork(_, _, branch) => branch.key,
            Self::Child(parent, birth) => return Some(Key::OfChild(*parent, birth.key)),
        };
        key.map(Key::OfCaller)
    }
}

impl Session {
    /// A session that has just been made, and waits for a place.
    pub(super) fn new(made: Made, care: Care, done: Done, now: Ms) -> Self {
        Self {
            made,
            name: None,
            care,
            state: State::Pending,
            cause: None,
            since: now,
            until: care.pending_timeout().map(|limit| now + limit),
            alive: None,
            backoff: None,
            lost: false,
            open: false,
            place: false,
            inbox: Inbox::default(),
            kept: vec![Kept { number: 1, consumed: 0, early: BTreeSet::new(), done }],
            team: None,
            note: None,
            external: None,
            runs: 0,
            restarts: 0,
            failures: Failures::default(),
            recoveries: 0,
            last: None,
            links: Links::default(),
            has_children: false,
            owed: Vec::new(),
            resumed: None,
            deleted: None,
            log: vec![Line::Created],
            recorded: Vec::new(),
            created: 0,
        }
    }

    pub(in crate::model) fn waiting(&self) -> u64 {
        self.inbox.waiting()
    }

    pub(in crate::model) fn is_terminal(&self) -> bool {
        matches!(self.state, State::Completed | State::Failed | State::Expired)
    }

    /// Whether it can still run, without anybody's word.
    pub(super) fn accepts(&self) -> bool {
        matches!(self.state, State::Pending | State::Active | State::Paused)
    }

    /// Whether a run of it may still commit.
    pub(super) const fn may_write(&self) -> bool {
        matches!(self.state, State::Active | State::Stopping)
    }

    /// Whether it would run if it had a place.
    pub(super) fn is_ready(&self) -> bool {
        match self.state {
            State::Pending => true,
            State::Paused => match self.cause {
                Some(PauseCause::AlarmRang) => true,
                Some(PauseCause::Idle) => self.waiting() > 0,
                Some(PauseCause::Asleep(Sleep { woken_after: Some(known), .. })) => {
                    self.waiting() > 0 && self.inbox.all.len() as u64 > known
                }
                _ => false,
            },
            _ => false,
        }
    }

    pub(super) fn ended(&mut self, end: End) {
        self.last = Some((self.runs, end));
        self.log.push(Line::Ended(end));
    }

    pub(super) fn reached(&self, until: &Until) -> Option<Answer> {
        let reached = match until {
            // That is looked after elsewhere.
            Until::Deletable { .. } => false,
            _ if self.deleted.is_some() => true,
            Until::Gone { run } => {
                let goes_on = self.state == State::Active && Some(self.runs) == *run;
                self.state != State::Stopping && !goes_on
            }
            Until::In(states) => states.contains(&self.state),
            Until::Settled => {
                self.is_terminal()
                    || self.state == State::Stopped
                    || self.cause == Some(PauseCause::Quarantined)
            }
        };
        reached.then(|| match until {
            _ if self.deleted.is_some() => Answer::NotFound,
            Until::Gone { run } => {
                let end = self.last.filter(|(last, _)| Some(*last) == *run).map(|(_, end)| end);
                Answer::Gone(end)
            }
            Until::Deletable { .. } | Until::In(_) | Until::Settled => Answer::Reached(self.state),
        })
    }
}
