//! The signs of life of a run.

use std::{collections::BTreeMap, sync::PoisonError};

use crate::{
    faults::{self, Bug},
    model::time::WorkerTime,
    policy::liveness::Doing,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a run shows of itself. A beat is one atomic store; the rest is rare.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    last: AtomicU64,
    declared: Mutex<Declared>,
}

#[derive(Debug, Default)]
struct Declared {
    last_token: u64,
    busy: BTreeMap<u64, WorkerTime>,
    awaiting: BTreeMap<u64, String>,
    next: Option<Next>,
}

/// Where a run is that asked for its next input.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// It waits for the commit that ends the turn, or is about to take what was delivered:
    /// however long that takes, it is not silence.
    Committing,
    /// There is no input: it rests.
    Resting { since: WorkerTime },
}

/// What a run says that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Declaration {
    Nothing,
    Busy { until: WorkerTime },
    Awaiting { reason: String },
    Resting,
}

impl Signs {
    pub(crate) fn beat(&self, now: WorkerTime) {
        self.last.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> WorkerTime {
        WorkerTime::from_millis(self.last.load(Ordering::Relaxed))
    }

    pub(crate) fn begin_busy(&self, until: WorkerTime) -> u64 {
        let mut declared = self.lock();
        declared.last_token += 1;
        let token = declared.last_token;
        declared.busy.insert(token, until);
        token
    }

    pub(crate) fn begin_awaiting(&self, reason: String) -> u64 {
        let mut declared = self.lock();
        declared.last_token += 1;
        let token = declared.last_token;
        declared.awaiting.insert(token, reason);
        token
    }

    /// Ends a declaration; a full fresh window begins.
    pub(crate) fn end(&self, token: u64, now: WorkerTime) {
        self.beat(now);
        let mut declared = self.lock();
        declared.busy.remove(&token);
        declared.awaiting.remove(&token);
    }

    /// The run asks for its next input; `parked` says whether it is known that there is none.
    pub(crate) fn begin_next(&self, parked: bool, now: WorkerTime) {
        let next = if parked { Next::Resting { since: now } } else { Next::Committing };
        self.lock().next = Some(next);
    }

    /// There is no input for a run that asks for one.
    pub(crate) fn park(&self, now: WorkerTime) {
        let mut declared = self.lock();
        if let Some(next @ Next::Committing) = &mut declared.next {
            *next = Next::Resting { since: now };
        }
    }

    /// There is something for a run that rests, and it is about to take it.
    pub(crate) fn unpark(&self) {
        let mut declared = self.lock();
        if let Some(next @ Next::Resting { .. }) = &mut declared.next {
            *next = Next::Committing;
        }
    }

    /// The run does not wait for an input any more.
    pub(crate) fn end_next(&self, now: WorkerTime) {
        self.beat(now);
        self.lock().next = None;
    }

    /// What the liveness verdict is made from. Among several declarations the most patient
    /// counts: waiting for a person, then the latest deadline.
    pub(crate) fn doing(&self) -> Doing {
        let declared = self.lock();
        if !declared.awaiting.is_empty() {
            return Doing::Awaiting;
        }
        if let Some(until) = declared.busy.values().max()
            && !faults::planted(Bug::IgnoreBusy)
        {
            return Doing::Busy { until: (*until).max(self.last()) };
        }
        match declared.next {
            Some(Next::Resting { .. }) if faults::planted(Bug::CountRestAsSilence) => {
                Doing::Working { last_sign: self.last() }
            }
            Some(Next::Committing) if faults::planted(Bug::CountCommitAsSilence) => {
                Doing::Working { last_sign: self.last() }
            }
            Some(Next::Resting { since }) => Doing::Resting { since: since.max(self.last()) },
            Some(Next::Committing) => Doing::Awaiting,
            None => Doing::Working { last_sign: self.last() },
        }
    }

    /// What a status shows.
    pub(crate) fn declaration(&self) -> Declaration {
        let declared = self.lock();
        if let Some(reason) = declared.awaiting.values().next() {
            return Declaration::Awaiting { reason: reason.clone() };
        }
        if let Some(until) = declared.busy.values().max() {
            return Declaration::Busy { until: *until };
        }
        match declared.next {
            Some(Next::Resting { .. }) => Declaration::Resting,
            Some(Next::Committing) | None => Declaration::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Declared> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
