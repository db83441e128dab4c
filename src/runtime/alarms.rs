//! The timers of all sessions: one for each, lazy, and one task for all of them.
//!
//! A session that is due is looked at here first. One that is silent is called so and its run
//! cancelled at once, for all that are due at the same moment, before any actor hears of it and any
//! commit follows from it. Only what is due is looked at, never all.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{live::Live, session::Message};
use crate::{
    clock::Clock,
    faults::{self, Bug},
    model::{event::Cause, time::WorkerTime},
    policy::{
        Policy,
        liveness::{self, Doing, Verdict},
    },
    telemetry::{self, Meters},
    workload::Ask,
};

/// How many alarms are rung before others have their turn: what they lead to takes time.
const AT_ONCE: usize = 64;

/// The timers. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Alarms {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    due: Mutex<Due>,
    /// Told when there is an earlier one than all before.
    earlier: Notify,
}

#[derive(Default)]
struct Due {
    by_time: BTreeMap<Key, Watched>,
    last_number: u64,
}

/// When it is due; numbered, since several may be at the same time.
type Key = (WorkerTime, u64);

struct Watched {
    live: Arc<Live>,
    policy: Arc<Policy>,
}

/// The one timer of an actor: it only ever moves to an earlier time, and when it rings too early it is
/// simply set again. It rings with [`Message::Alarm`].
pub(crate) struct Alarm {
    alarms: Alarms,
    set: Option<Key>,
}

impl Alarm {
    pub(crate) const fn new(alarms: Alarms) -> Self {
        Self { alarms, set: None }
    }

    /// Rings at a moment or earlier.
    pub(crate) fn set(&mut self, live: &Arc<Live>, policy: &Arc<Policy>, at: Option<WorkerTime>) {
        let Some(at) = at else {
            return;
        };
        if self.set.is_some_and(|(set, _)| set <= at) {
            return;
        }
        self.off();
        let watched = Watched { live: Arc::clone(live), policy: Arc::clone(policy) };
        self.set = Some(self.alarms.add(at, watched));
    }

    /// It has rung, unless that was an earlier one that is not wanted any more.
    pub(crate) fn rang(&mut self, now: WorkerTime) {
        if faults::planted(Bug::RingOnce) {
            return;
        }
        if self.set.is_some_and(|(at, _)| at <= now) {
            self.set = None;
        }
    }

    /// Does not ring any more.
    pub(crate) fn off(&mut self) {
        if let Some(key) = self.set.take() {
            self.alarms.remove(key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.off();
    }
}

impl Alarms {
    fn add(&self, at: WorkerTime, watched: Watched) -> Key {
        let mut due = self.lock();
        due.last_number += 1;
        let key = (at, due.last_number);
        due.by_time.insert(key, watched);
        if due.by_time.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.shared.earlier.notify_one();
        }
        key
    }

    fn remove(&self, key: Key) {
        // Dropped where nothing is locked.
        let _removed = self.lock().by_time.remove(&key);
    }

    /// Rings for as long as it is polled.
    pub(crate) async fn run(self, clock: Clock, meters: Meters) {
        let mut called = VecDeque::new();
        loop {
            self.call(clock.worker(), &meters, &mut called);
            for live in called.drain(..called.len().min(AT_ONCE)) {
                ring(&live);
            }
            if called.is_empty() {
                self.sleep(&clock).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes all that are due, and calls those silent that are. Only when that is said of all of them
    /// their runs are cancelled, which wakes tasks that want the same cores.
    fn call(&self, now: WorkerTime, meters: &Meters, called: &mut VecDeque<Arc<Live>>) {
        let due = {
            let mut due = self.lock();
            let later = due.by_time.split_off(&(now, u64::MAX));
            std::mem::replace(&mut due.by_time, later)
        };
        let mut silent = Vec::new();
        for Watched { live, policy } in due.into_values() {
            let doing = live.run().doing();
            if judge(now, doing, &policy) == Verdict::Silent && live.call_silent() {
                meters.expired(Cause::Silence, lateness(now, doing, &policy));
                telemetry::called_silent(live.run().session());
                silent.push(Arc::clone(&live));
            }
            called.push_back(live);
        }
        for live in silent {
            live.run().set_ask(Ask::Cancel);
        }
    }

    /// Until the next one is due.
    async fn sleep(&self, clock: &Clock) {
        let first = self.lock().by_time.first_key_value().map(|((at, _), _)| *at);
        let next = async {
            match first {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.earlier.notified() => {}
            () = next => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.shared.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ring(live: &Live) {
    // An actor that is gone needs no alarm.
    let _ = live.line().send(Message::Alarm);
}

/// What a run's signs say of it.
pub(crate) fn verdict(now: WorkerTime, live: &Live, policy: &Policy) -> Verdict {
    judge(now, live.run().doing(), policy)
}

fn judge(now: WorkerTime, doing: Doing, policy: &Policy) -> Verdict {
    liveness::verdict(now, doing, policy.heartbeat_timeout(), policy.idle_timeout())
}

/// How long a run is past its limit that was judged so.
pub(crate) fn lateness(now: WorkerTime, doing: Doing, policy: &Policy) -> Duration {
    let deadline = liveness::deadline(doing, policy.heartbeat_timeout(), policy.idle_timeout());
    deadline.map_or(Duration::ZERO, |deadline| now.since(deadline))
}
