//! Looks out for threads that the code of users blocks, and for a runtime that stands still.
//!
//! It has a thread of the operating system's, since it must work when every thread of every
//! runtime is blocked, and real time. A few times a second it looks at the threads that call the
//! code of users. One that is on the same visit there as the last time has been on it for that
//! long; a gap between two looks counts as one tick at most, so that a process which was stopped, or
//! got no time, has blocked nothing.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{Dispatch, dispatcher};

use crate::{
    clock::{self, Clock},
    model::{
        ids::{Kind, RunId, SessionId},
        time::Timestamp,
    },
    telemetry,
    workload::threads::{CodeOwner, Slot, Threads, UserCode},
};

/// How often it looks.
const TICK: Duration = Duration::from_millis(250);
/// What lasts this long is reported.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);
/// It calls nothing that goes deep but the subscriber of traces.
const STACK_BYTES: usize = 256 << 10;

/// A thread that code of a workload has not let go of for a second or more. Nothing else runs on
/// that thread meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockedThread {
    /// Whose code it is.
    pub session: SessionId,
    /// The run; none where the code is not called for one, such as the decoding of an input that
    /// is sent.
    pub run: Option<RunId>,
    /// The kind of the session.
    pub kind: Kind,
    /// What it is in.
    pub code: UserCode,
    /// The name and the id of the thread.
    pub thread: String,
    /// Since when.
    pub since: Timestamp,
    /// How long, in time that the process was really running.
    pub lasted: Duration,
}

impl fmt::Display for BlockedThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasted = humantime::format_duration(self.lasted);
        let Self { session, code, thread, .. } = self;
        write!(
            f,
            "thread {thread} has been blocked by session {session} in its {code} for {lasted}"
        )
    }
}

/// The way to the watchdog of one worker. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    post: Arc<Post>,
    thread: Option<Thread>,
}

/// What passes between the watchdog, the runtime and those who ask.
#[derive(Debug, Default)]
struct Post {
    over: AtomicBool,
    /// The runtime answers each question as soon as it gets to it.
    asked: AtomicU64,
    answered: AtomicU64,
    asks: Notify,
    findings: Mutex<Findings>,
}

#[derive(Debug, Clone, Default)]
struct Findings {
    blocked: Vec<BlockedThread>,
    stalled: Option<Duration>,
}

impl Watchdog {
    /// Begins to watch, and gives the task that answers it: the one sign that the runtime lives.
    pub(crate) fn start(
        threads: Arc<Threads>,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let post = Arc::new(Post::default());
        let round = Round {
            threads,
            clock,
            post: Arc::clone(&post),
            dispatch: dispatcher::get_default(Dispatch::clone),
            watched: Vec::new(),
            stalled: Duration::ZERO,
            told_stalled: false,
        };
        let thread = thread::Builder::new().name("session-watchdog".into()).stack_size(STACK_BYTES);
        let thread = match thread.spawn(move || round.go()) {
            Ok(spawned) => Some(spawned.thread().clone()),
            Err(error) => {
                telemetry::no_watchdog(&error);
                None
            }
        };
        let answers = answer(Answering { post: Arc::clone(&post), thread: thread.clone() });
        (Self { post, thread }, answers)
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        stop(&self.post, self.thread.as_ref());
    }

    /// The threads that are blocked.
    pub(crate) fn blocked(&self) -> Vec<BlockedThread> {
        self.post.lock_findings().blocked.clone()
    }

    /// For how long the runtime has got nothing done, if that is remarkable.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.post.lock_findings().stalled
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop();
    }
}

fn stop(post: &Post, thread: Option<&Thread>) {
    post.over.store(true, Ordering::Release);
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// Ends the watchdog with the runtime that it watches.
struct Answering {
    post: Arc<Post>,
    thread: Option<Thread>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        stop(&self.post, self.thread.as_ref());
    }
}

async fn answer(answering: Answering) {
    let post = &answering.post;
    loop {
        post.asks.notified().await;
        post.answered.store(post.asked.load(Ordering::Acquire), Ordering::Release);
    }
}

impl Post {
    fn lock_findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the watchdog itself has.
struct Round {
    threads: Arc<Threads>,
    clock: Clock,
    post: Arc<Post>,
    /// Where the one who started the supervisor writes its traces.
    dispatch: Dispatch,
    watched: Vec<Watch>,
    stalled: Duration,
    told_stalled: bool,
}

/// One thread, and the visit to the code of users on which it was seen last.
struct Watch {
    slot: Weak<Slot>,
    visit: Option<Visit>,
}

struct Visit {
    number: u64,
    owner: Arc<CodeOwner>,
    thread: String,
    lasted: Duration,
    /// Since when, once it was reported.
    since: Option<Timestamp>,
}

impl Round {
    fn go(mut self) {
        let mut last = clock::real();
        loop {
            thread::park_timeout(TICK);
            if self.post.over.load(Ordering::Acquire) {
                break;
            }
            let now = clock::real();
            let step = now.saturating_duration_since(last).min(TICK);
            last = now;
            self.look(step);
        }
        // Nobody looks any more when they are free.
        for visit in self.watched.iter().filter_map(|watch| watch.visit.as_ref()) {
            visit.owner.set_blocks_since(None);
        }
        *self.post.lock_findings() = Findings::default();
    }

    fn look(&mut self, step: Duration) {
        let fresh = self.threads.take_fresh().into_iter();
        self.watched.extend(fresh.map(|slot| Watch { slot, visit: None }));
        let mut changes = Vec::new();
        self.watched.retain_mut(|watch| watch.look(step, &self.clock, &mut changes));
        self.ask(step, &mut changes);
        // What is found is there to see before the trace is written: a subscriber may block.
        self.publish();
        self.tell(changes);
    }

    /// Looks whether the runtime has answered, and asks it again.
    fn ask(&mut self, step: Duration, changes: &mut Vec<Change>) {
        let asked = self.post.asked.load(Ordering::Relaxed);
        if asked == self.post.answered.load(Ordering::Acquire) {
            if std::mem::take(&mut self.told_stalled) {
                changes.push(Change::RunsAgain { lasted: self.stalled });
            }
            self.stalled = Duration::ZERO;
            self.post.asked.store(asked.wrapping_add(1), Ordering::Release);
        } else {
            self.stalled += step;
            if self.stalled >= BLOCKED_AFTER && !self.told_stalled {
                self.told_stalled = true;
                // Something that has begun at about the same time may be reported a little later.
                let by_workloads = self
                    .watched
                    .iter()
                    .filter_map(|watch| watch.visit.as_ref())
                    .any(|visit| visit.lasted >= BLOCKED_AFTER / 2);
                changes.push(Change::Stalled { by_workloads, lasted: self.stalled });
            }
        }
        // Also when it was asked before: a runtime that is driven again has been told.
        self.post.asks.notify_one();
    }

    fn publish(&self) {
        let visits = self.watched.iter().filter_map(|watch| watch.visit.as_ref());
        let blocked = visits.filter_map(Visit::report).collect();
        let stalled = self.told_stalled.then_some(self.stalled);
        *self.post.lock_findings() = Findings { blocked, stalled };
    }

    fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let tell = || {
            for change in changes {
                change.tell();
            }
        };
        if self.dispatch.is::<tracing::subscriber::NoSubscriber>() {
            tell();
        } else {
            dispatcher::with_default(&self.dispatch, tell);
        }
    }
}

impl Watch {
    /// Looks at the thread again. `false` when it has ended.
    fn look(&mut self, step: Duration, clock: &Clock, changes: &mut Vec<Change>) -> bool {
        let slot = self.slot.upgrade();
        let found = slot.as_ref().and_then(|slot| slot.visit());
        match (&mut self.visit, found) {
            (Some(visit), Some((number, _))) if visit.number == number => {
                visit.lasts(step, clock, changes);
            }
            (visit, found) => {
                let next = found.zip(slot.as_ref()).map(|((number, owner), slot)| {
                    let (thread, lasted) = (name(&slot.thread), Duration::ZERO);
                    Visit { number, owner, thread, lasted, since: None }
                });
                let before = std::mem::replace(visit, next);
                if let Some(visit) = before.filter(|visit| visit.since.is_some()) {
                    visit.owner.set_blocks_since(None);
                    changes.push(Change::Freed(visit));
                }
            }
        }
        slot.is_some()
    }
}

impl Visit {
    fn lasts(&mut self, step: Duration, clock: &Clock, changes: &mut Vec<Change>) {
        self.lasted += step;
        if self.lasted >= BLOCKED_AFTER && self.since.is_none() {
            self.since = Some(clock.wall() - self.lasted);
            self.owner.set_blocks_since(self.since);
            let (owner, thread) = (Arc::clone(&self.owner), self.thread.clone());
            changes.push(Change::Blocked { owner, thread, lasted: self.lasted });
        }
    }

    fn report(&self) -> Option<BlockedThread> {
        Some(BlockedThread {
            session: self.owner.session,
            run: self.owner.run,
            kind: self.owner.kind.clone(),
            code: self.owner.code(),
            thread: self.thread.clone(),
            since: self.since?,
            lasted: self.lasted,
        })
    }
}

/// What is to be told.
enum Change {
    Blocked { owner: Arc<CodeOwner>, thread: String, lasted: Duration },
    Freed(Visit),
    Stalled { by_workloads: bool, lasted: Duration },
    RunsAgain { lasted: Duration },
}

impl Change {
    fn tell(self) {
        match self {
            Self::Blocked { owner, thread, lasted } => {
                telemetry::thread_blocked(&owner, &thread, lasted);
            }
            Self::Freed(visit) => {
                telemetry::thread_freed(&visit.owner, &visit.thread, visit.lasted);
            }
            Self::Stalled { by_workloads, lasted } => {
                telemetry::runtime_stalled(by_workloads, lasted);
            }
            Self::RunsAgain { lasted } => telemetry::runtime_runs_again(lasted),
        }
    }
}

/// The threads of a runtime share their name, so the id belongs to it.
fn name(thread: &Thread) -> String {
    format!("{} {:?}", thread.name().unwrap_or("unnamed"), thread.id())
}
