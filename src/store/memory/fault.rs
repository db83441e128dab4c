//! What a disk can do to a worker, played by the store in memory.

use std::fmt;

use tokio::sync::watch;

use super::{MemoryStore, Session};
use crate::{
    model::{ids::SessionId, step::Turn},
    store::StoreError,
};

/// What `reason` says where [`MemoryStore::damage`] was at work.
pub(super) const REASON: &str = "it was damaged on purpose";

/// How a commit of a [`MemoryStore`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing of it is done, as when the disk is full.
    NothingDone,
    /// It is done, but the caller hears an error, as when the disk fails after the write.
    AnswerLost,
}

/// A part of a session that [`MemoryStore::damage`] makes unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Its record, and so the session as a whole.
    Record,
    /// The snapshot with this number.
    Snapshot(u64),
    /// The input with this number.
    Input(u64),
    /// The steps of this turn.
    Steps(Turn),
    /// The event with this number.
    Event(u64),
}

impl Part {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Snapshot(_) => "snapshot",
            Self::Input(_) => "input",
            Self::Steps(_) => "step",
            Self::Event(_) => "event",
        }
    }
}

/// Holds up the commits of a [`MemoryStore`] until it is dropped.
#[must_use = "the stall ends where this is dropped"]
pub struct Stall(watch::Sender<usize>);

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stall").finish_non_exhaustive()
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl MemoryStore {
    /// Lets every commit fail, as on a full disk, until [`mend`](Self::mend).
    ///
    /// Like that of a disk, the error is sticky: after `mend` commits work again once
    /// [`heal`](crate::store::Store::heal) was called.
    pub fn fail(&self, fault: Fault) {
        self.data().faults.plan = Plan::Always(fault);
    }

    /// Lets the next `count` commits fail. After each of them the store must be
    /// [healed](crate::store::Store::heal) before it takes another.
    pub fn fail_next(&self, count: u32, fault: Fault) {
        self.data().faults.plan = Plan::Next(count, fault);
    }

    /// Ends what [`fail`](Self::fail) and [`fail_next`](Self::fail_next) began: the disk has room
    /// again, and the next [`heal`](crate::store::Store::heal) succeeds.
    pub fn mend(&self) {
        self.data().faults.plan = Plan::None;
    }

    /// Holds up every `begin` and `commit` until the answer is dropped. Reads go on.
    pub fn stall(&self) -> Stall {
        self.stalls.send_modify(|count| *count += 1);
        Stall(self.stalls.clone())
    }

    /// Makes a part of a session unreadable, as a bad sector does. What does not exist cannot be
    /// damaged: then nothing happens.
    pub fn damage(&self, session: SessionId, part: Part) {
        let mut data = self.data();
        let Some(entry) = data.sessions.get_mut(&session) else {
            return;
        };
        let exists = match part {
            Part::Record => true,
            Part::Snapshot(sequence) => entry.snapshots.contains_key(&sequence),
            Part::Input(sequence) => entry.inputs.contains_key(&sequence),
            Part::Steps(turn) => entry.steps.keys().any(|(other, _)| *other == turn),
            Part::Event(sequence) => entry.events.contains_key(&sequence),
        };
        if exists {
            entry.damaged.insert(part);
        }
    }
}

/// The faults that were asked for, and whether one of them has struck.
#[derive(Debug, Default)]
pub(super) struct Faults {
    plan: Plan,
    struck: Option<Fault>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Plan {
    #[default]
    None,
    Next(u32, Fault),
    Always(Fault),
}

impl Session {
    pub(super) fn readable(&self, part: Part) -> Result<(), StoreError> {
        if !self.damaged.contains(&part) {
            return Ok(());
        }
        Err(StoreError::Damaged {
            session: self.record.id,
            what: part.name(),
            reason: REASON.to_owned(),
        })
    }
}

impl Faults {
    /// What happens to the commit at hand. An error: it is not even tried, since the store has
    /// not been healed.
    pub(super) fn next(&mut self) -> Result<Option<Fault>, StoreError> {
        if self.struck.is_some() {
            return Err(self.error(Fault::NothingDone));
        }
        let fault = match self.plan {
            Plan::None | Plan::Next(0, _) => None,
            Plan::Next(left, fault) => {
                self.plan = Plan::Next(left - 1, fault);
                Some(fault)
            }
            Plan::Always(fault) => Some(fault),
        };
        self.struck = fault;
        Ok(fault)
    }

    pub(super) fn heal(&mut self) -> Result<(), StoreError> {
        match self.plan {
            Plan::Always(fault) => Err(self.error(fault)),
            Plan::None | Plan::Next(..) => {
                self.struck = None;
                Ok(())
            }
        }
    }

    pub(super) fn error(&self, fault: Fault) -> StoreError {
        let what = match fault {
            Fault::NothingDone => "it was told to fail",
            Fault::AnswerLost => "it was told to lose its answer",
        };
        StoreError::Unavailable { what: what.to_owned(), source: None }
    }
}
