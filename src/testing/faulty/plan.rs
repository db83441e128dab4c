//! What is to happen to the calls of a [`FaultyStore`](super::FaultyStore).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// A method of [`Store`](crate::store::Store).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the methods are")]
pub enum Call {
    Begin,
    Commit,
    Load,
    Find,
    Run,
    List,
    Count,
    Held,
    Due,
    Snapshot,
    Inputs,
    Steps,
    Accepted,
    Events,
    Log,
    Bookmarks,
    Purge,
    Trim,
    Damaged,
    Heal,
    Close,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Begin,
        Self::Commit,
        Self::Load,
        Self::Find,
        Self::Run,
        Self::List,
        Self::Count,
        Self::Held,
        Self::Due,
        Self::Snapshot,
        Self::Inputs,
        Self::Steps,
        Self::Accepted,
        Self::Events,
        Self::Log,
        Self::Bookmarks,
        Self::Purge,
        Self::Trim,
        Self::Damaged,
        Self::Heal,
        Self::Close,
    ];
}

/// What happens to one call of a [`FaultyStore`](super::FaultyStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Interference {
    /// Nothing: it is done and answered.
    #[default]
    None,
    /// It is not done, and the caller hears an error.
    Fail,
    /// It is done, but the caller hears an error.
    LoseAnswer,
    /// It gives way so many times to other tasks, and is then done and answered.
    Yield(u32),
    /// It waits, is done, waits again, and is answered.
    Delay {
        /// Before it is done.
        before: Duration,
        /// And after that, before it is answered.
        after: Duration,
    },
    /// It panics before it is done.
    Panic,
    /// It is not done and never answered; neither is any call after it. So the worker on this
    /// store is as good as dead: drop its supervisor, and open the inner store anew.
    Crash {
        /// Whether this call itself is done before.
        done: bool,
    },
}

/// Where a worker is lost, by the batches of commits that its store was given.
///
/// They are counted from 1. A batch without commits, which only keeps the time, is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// When this one was given to the store, and nothing of it is done.
    BeforeCommit(u64),
    /// When this one is done, and nobody has heard of it.
    AfterCommit(u64),
}

impl CrashPoint {
    /// The same point, counted after so many commits; `None` where it is past.
    pub(in crate::testing) const fn after(self, commits: u64) -> Option<Self> {
        match self {
            Self::BeforeCommit(number) if number > commits => {
                Some(Self::BeforeCommit(number - commits))
            }
            Self::AfterCommit(number) if number > commits => {
                Some(Self::AfterCommit(number - commits))
            }
            Self::BeforeCommit(_) | Self::AfterCommit(_) => None,
        }
    }

    /// What happens to a batch.
    fn at(self, commit: u64) -> Option<Interference> {
        match self {
            Self::BeforeCommit(number) if number == commit => {
                Some(Interference::Crash { done: false })
            }
            Self::AfterCommit(number) if number == commit => {
                Some(Interference::Crash { done: true })
            }
            Self::BeforeCommit(_) | Self::AfterCommit(_) => None,
        }
    }
}

type Injector = Box<dyn FnMut(Call) -> Interference + Send>;

/// What the clones of a store share.
pub(super) struct Shared {
    plan: Mutex<Plan>,
    /// Says that a crash has come, when the call that it came with is done.
    pub(super) crashes: watch::Sender<bool>,
    /// How many hold up the answers of each method.
    pub(super) held: watch::Sender<[u32; Call::ALL.len()]>,
}

#[derive(Default)]
pub(super) struct Plan {
    /// What is to happen to the next calls, each used once.
    pub(super) next: Vec<(Call, Interference)>,
    pub(super) injector: Option<Injector>,
    pub(super) crash_at: Option<CrashPoint>,
    pub(super) calls: [u64; Call::ALL.len()],
    pub(super) commits: u64,
    pub(super) crashed: bool,
}

impl Shared {
    pub(super) fn new(crashes: watch::Sender<bool>) -> Arc<Self> {
        let held = watch::Sender::new([0; Call::ALL.len()]);
        Arc::new(Self { plan: Mutex::default(), crashes, held })
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, which brings so many commits, and says what happens to it. `None`: the store
    /// has crashed before.
    pub(super) fn on_call(&self, call: Call, commits: usize) -> Option<Interference> {
        self.plan().on_call(call, commits)
    }

    /// Waits until nobody holds up the answers of a method.
    pub(super) async fn released(&self, call: Call) {
        let mut held = self.held.subscribe();
        // The sender lives as long as this: the wait cannot fail.
        let _ = held.wait_for(|held| held.get(call as usize).is_none_or(|count| *count == 0)).await;
    }
}

impl Plan {
    fn on_call(&mut self, call: Call, commits: usize) -> Option<Interference> {
        if let Some(count) = self.calls.get_mut(call as usize) {
            *count += 1;
        }
        if self.crashed {
            return None;
        }
        self.commits += u64::from(commits > 0);
        let crash = self.crash_at.filter(|_| commits > 0).and_then(|point| point.at(self.commits));
        let planned = self.next.iter().position(|(planned, _)| *planned == call);
        let interference = match (crash, planned) {
            (Some(crash), _) => crash,
            (None, Some(index)) => self.next.remove(index).1,
            (None, None) => {
                self.injector.as_mut().map(|injector| injector(call)).unwrap_or_default()
            }
        };
        self.crashed |= matches!(interference, Interference::Crash { .. });
        Some(interference)
    }
}

/// Holds up the answers of a method of a [`FaultyStore`](super::FaultyStore) until it is dropped.
#[must_use = "the answers are given where this is dropped"]
pub struct HeldAnswers {
    shared: Arc<Shared>,
    call: Call,
}

impl HeldAnswers {
    pub(super) fn new(shared: Arc<Shared>, call: Call) -> Self {
        let held = Self { shared, call };
        held.count(|count| count + 1);
        held
    }

    fn count(&self, change: impl Fn(u32) -> u32) {
        self.shared.held.send_modify(|held| {
            if let Some(count) = held.get_mut(self.call as usize) {
                *count = change(*count);
            }
        });
    }
}

impl Drop for HeldAnswers {
    fn drop(&mut self) {
        self.count(|count| count.saturating_sub(1));
    }
}

impl std::fmt::Debug for HeldAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldAnswers").field("call", &self.call).finish_non_exhaustive()
    }
}
