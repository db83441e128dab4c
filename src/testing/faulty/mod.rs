//! A store that does what a test tells it to, around one that works.

use std::{
    fmt,
    future::{Future, pending},
    ops::RangeInclusive,
    sync::{Arc, Weak},
};

use tokio::sync::watch;

use self::plan::Shared;
pub use self::plan::{Call, CrashPoint, HeldAnswers, Interference};
use crate::{
    model::{
        counts::{Scope, StateCounts},
        event::EventRecord,
        footprint::StateBytes,
        ids::{InputId, RunId, SessionId, WorkerGeneration},
        record::{Lane, SessionRecord, StoredInput},
        step::{StoredStep, Turn},
        time::LaneTime,
    },
    store::{
        AcceptedInput, Batch, Bookmark, Damage, Due, Key, LogPage, LogQuery, Opened, Page, Purge,
        Purged, Query, Refusal, Store, StoreError, StoreFuture, StoredRun, Trim,
    },
};

mod plan;
#[cfg(test)]
mod tests;

/// A store that a test interferes with, around one that works. Clones share everything.
///
/// An injected error lasts for one call; there is nothing to heal. For a disk that stays full until
/// it is healed, see [`MemoryStore::fail`](crate::store::MemoryStore::fail).
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sessionkeeper::{
///     store::{MemoryStore, Query, Store},
///     testing::{Call, FaultyStore, Interference},
/// };
///
/// let store = FaultyStore::new(MemoryStore::new());
/// store.next(Call::List, Interference::Fail);
/// assert!(store.list(Query::default()).await.is_err());
/// assert!(store.list(Query::default()).await.is_ok());
/// # Ok(())
/// # }
/// # tokio_test::block_on(example()).unwrap();
/// ```
pub struct FaultyStore<S> {
    inner: Arc<Inner<S>>,
    shared: Arc<Shared>,
}

struct Inner<S> {
    store: S,
    /// Dropped after the store.
    in_use: Arc<()>,
}

impl<S> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), shared: Arc::clone(&self.shared) }
    }
}

impl<S> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("crashed", &self.crashed()).finish_non_exhaustive()
    }
}

impl<S> FaultyStore<S> {
    /// A store that does what the inner one does, until it is told otherwise.
    pub fn new(inner: S) -> Self {
        Self::signalling(inner, watch::Sender::new(false))
    }

    /// The same, where crashes are heard of by whoever watches.
    pub(super) fn signalling(store: S, crashes: watch::Sender<bool>) -> Self {
        let inner = Arc::new(Inner { store, in_use: Arc::default() });
        Self { inner, shared: Shared::new(crashes) }
    }

    /// The store that works.
    pub fn inner(&self) -> &S {
        &self.inner.store
    }

    /// Alive until the store inside was dropped: the last clone is gone, and every call with it.
    pub(super) fn in_use(&self) -> Weak<()> {
        Arc::downgrade(&self.inner.in_use)
    }

    /// Says what happens to the next call of this method; said twice, to the next two, and so on.
    pub fn next(&self, call: Call, interference: Interference) {
        self.shared.plan().next.push((call, interference));
    }

    /// Says what happens to every call from now on that [`next`](Self::next) says nothing about.
    pub fn inject(&self, injector: impl FnMut(Call) -> Interference + Send + 'static) {
        self.shared.plan().injector = Some(Box::new(injector));
    }

    /// Crashes at this commit, counted since the store was made; before all other interference.
    /// Where it is past, nothing happens.
    pub fn crash_at(&self, point: CrashPoint) {
        self.shared.plan().crash_at = Some(point);
    }

    /// Calls of this method are done, and not answered until what this gives is dropped.
    pub fn hold_answers(&self, call: Call) -> HeldAnswers {
        HeldAnswers::new(Arc::clone(&self.shared), call)
    }

    /// Ends all interference, but for answers that are held. A crash is for ever.
    pub fn mend(&self) {
        let mut plan = self.shared.plan();
        plan.next.clear();
        plan.injector = None;
        plan.crash_at = None;
    }

    /// From now on nothing is done and nothing is answered, see [`Interference::Crash`].
    pub fn crash(&self) {
        self.fence();
        self.shared.crashes.send_replace(true);
    }

    /// The same, and nobody hears of it.
    pub(super) fn fence(&self) {
        self.shared.plan().crashed = true;
    }

    /// Whether it crashed.
    pub fn crashed(&self) -> bool {
        self.shared.plan().crashed
    }

    /// Waits for its crash. A call that is done before the crash is done on return.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn until_crashed(&self) {
        // The sender lives as long as this: the wait cannot fail.
        let _ = self.shared.crashes.subscribe().wait_for(|crashed| *crashed).await;
    }

    /// How often a method was called.
    pub fn calls(&self, call: Call) -> u64 {
        self.shared.plan().calls.get(call as usize).copied().unwrap_or_default()
    }

    /// How many batches of commits it was given up to its crash, as a [`CrashPoint`] counts them.
    pub fn commits(&self) -> u64 {
        self.shared.plan().commits
    }

    async fn interfere<T>(
        &self,
        call: Call,
        commits: usize,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Some(interference) = self.shared.on_call(call, commits) else { pending().await };
        let answer = match interference {
            Interference::None => work.await,
            Interference::Fail => Err(told_to_fail(call)),
            Interference::LoseAnswer => work.await.and(Err(told_to_fail(call))),
            Interference::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
                if self.crashed() {
                    pending().await
                }
                work.await
            }
            Interference::Delay { before, after } => {
                tokio::time::sleep(before).await;
                if self.crashed() {
                    pending().await
                }
                let answer = work.await;
                tokio::time::sleep(after).await;
                answer
            }
            #[expect(clippy::panic, reason = "it was told to")]
            Interference::Panic => panic!("{call:?} was told to panic"),
            Interference::Crash { done } => {
                if done {
                    let _ = work.await;
                }
                self.shared.crashes.send_replace(true);
                pending().await
            }
        };
        self.shared.released(call).await;
        if self.crashed() { pending().await } else { answer }
    }
}

fn told_to_fail(call: Call) -> StoreError {
    StoreError::Unavailable { what: format!("{call:?} was told to fail"), source: None }
}

impl<S: Store> Store for FaultyStore<S> {
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened> {
        Box::pin(self.interfere(
            Call::Begin,
            0,
            async move { self.inner().begin(generation).await },
        ))
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        let commits = batch.commits.len();
        let work = async move { self.inner().commit(batch).await };
        Box::pin(self.interfere(Call::Commit, commits, work))
    }

    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        Box::pin(self.interfere(Call::Load, 0, async move { self.inner().load(session).await }))
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>> {
        Box::pin(self.interfere(Call::Find, 0, async move { self.inner().find(key).await }))
    }

    fn run(&self, run: RunId) -> StoreFuture<'_, Option<StoredRun>> {
        Box::pin(self.interfere(Call::Run, 0, async move { self.inner().run(run).await }))
    }

    fn list(&self, query: Query) -> StoreFuture<'_, Page> {
        Box::pin(self.interfere(Call::List, 0, async move { self.inner().list(query).await }))
    }

    fn count(&self, scope: Scope) -> StoreFuture<'_, StateCounts> {
        Box::pin(self.interfere(Call::Count, 0, async move { self.inner().count(scope).await }))
    }

    fn held(&self) -> StoreFuture<'_, StateBytes> {
        Box::pin(self.interfere(Call::Held, 0, async move { self.inner().held().await }))
    }

    fn due(&self, lane: Lane, until: LaneTime, limit: usize) -> StoreFuture<'_, Vec<Due>> {
        let work = async move { self.inner().due(lane, until, limit).await };
        Box::pin(self.interfere(Call::Due, 0, work))
    }

    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        let work = async move { self.inner().snapshot(session, sequence).await };
        Box::pin(self.interfere(Call::Snapshot, 0, work))
    }

    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>> {
        let work = async move { self.inner().inputs(session, after, limit).await };
        Box::pin(self.interfere(Call::Inputs, 0, work))
    }

    fn steps(&self, session: SessionId, after: Turn) -> StoreFuture<'_, Vec<StoredStep>> {
        let work = async move { self.inner().steps(session, after).await };
        Box::pin(self.interfere(Call::Steps, 0, work))
    }

    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        let work = async move { self.inner().accepted(session, id).await };
        Box::pin(self.interfere(Call::Accepted, 0, work))
    }

    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        let work = async move { self.inner().events(session, range, limit).await };
        Box::pin(self.interfere(Call::Events, 0, work))
    }

    fn log(&self, query: LogQuery) -> StoreFuture<'_, LogPage> {
        let work = async move { self.inner().log(query).await };
        Box::pin(self.interfere(Call::Log, 0, work))
    }

    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>> {
        Box::pin(self.interfere(Call::Bookmarks, 0, async move { self.inner().bookmarks().await }))
    }

    fn purge(&self, purge: Purge) -> StoreFuture<'_, Result<Purged, Refusal>> {
        let work = async move { self.inner().purge(purge).await };
        Box::pin(self.interfere(Call::Purge, 0, work))
    }

    fn trim(&self, trim: Trim) -> StoreFuture<'_, Result<Purged, Refusal>> {
        let work = async move { self.inner().trim(trim).await };
        Box::pin(self.interfere(Call::Trim, 0, work))
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        Box::pin(self.interfere(Call::Damaged, 0, async move { self.inner().damaged().await }))
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.interfere(Call::Heal, 0, async move { self.inner().heal().await }))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.interfere(Call::Close, 0, async move { self.inner().close().await }))
    }
}
