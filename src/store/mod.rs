//! Where sessions are kept: the [`Store`] contract and the stores that come with the library.
//!
//! A store keeps, for each session, one [`SessionRecord`], its kept snapshots, the inputs and steps
//! that a snapshot may still need, and its events. All indexes follow from the record, so that a commit
//! says *what is*, never *how to index it*.
//!
//! # The contract
//!
//! 1. **Atomic.** A [`Commit`] happens wholly or not at all, with that of the session that takes the
//!    place of its own ([`Commit::successor`]), if it has one. Commits of one [`Batch`] are
//!    independent: each is answered for itself, and a refused one hinders no other.
//! 2. **Durable before answered.** When `commit` returns, everything it answered with `Ok` is as
//!    durable as the store promises, and every later read sees it.
//! 3. **Compare and set.** A commit is refused when the stored version is not the expected one.
//!    Since every change of the run changes the version, this also fences a stale run.
//! 4. **Repeatable.** After an `Err` from `commit` the outcome is unknown. The caller submits the
//!    same commit again until it is answered; one that is already in (same version, same writer)
//!    is answered with `Ok` and changes nothing.
//! 5. **Each session for itself.** What cannot be read is reported by [`Store::damaged`] and by
//!    [`StoreError::Damaged`], its bytes kept; it never spoils an answer about another session.
//!    Where the record itself is damaged, commits of the session are refused with
//!    [`Refusal::Damaged`], and listings leave it out.
//! 6. **Cancel safety.** Dropping a future of a read is harmless. Dropping one of `commit`
//!    withdraws nothing: the outcome is unknown, see 4.
//! 7. **Kept as named.** The store keeps exactly the snapshots that the record names, the inputs
//!    above [`SessionRecord::inputs_covered`], the steps of turns after
//!    [`SessionRecord::steps_covered`], all events but
//!    those that were trimmed, and the ids of all inputs. All of it
//!    comes back byte for byte, whatever its size.
//! 8. **Unique.** A name has one holder that has not ended, a start key belongs to one session for
//!    ever, and an input id to one input of its session. A commit that breaks this is refused, and
//!    the [`Refusal`] says what is in its way. The commits of a batch are done in order.
//! 9. **Indexes follow records.** `find`, `list`, `count`, `held` and `due` answer by the records as they are. What
//!    does not exist is `None`, empty or zero, never an error.
//!    `run` answers by the events that are there.
//! 10. **Generations.** Commits of a worker that did not begin, or was ended by one that began
//!     later, are refused.
//! 11. **Supervised time** only grows: the largest that was given with a batch is kept.
//! 12. **One log.** Every event has a position in the log of all sessions: commits have theirs in the
//!     order in which they were done, without gaps, and an event keeps its own for ever. Reading the log
//!     never fails because of one session: what cannot be read is a [`LogItem::Gap`].
//! 13. **Bookmarks.** The last of each reader is kept, as durably as commits. Those of a worker that may
//!     not commit are not; one that cannot be read counts as damage, and is left out.
//! 14. **Tombstones.** Where a record says that its session was [deleted](crate::SessionRecord::deleted), nothing finds the
//!     session but `load`, its due time, its start key and its runs, and nothing brings it back: any commit of it is refused with
//!     [`Refusal::Deleted`], but one whose record is a tombstone too. The commit of a tombstone removes nothing yet, and brings
//!     nothing but events. What there was can be read until [`Store::purge`] removes it, a part at a time; who loses the
//!     worker in between goes on later. In the log of all sessions its events are then a gap.
//! 15. **Trimming.** [`Store::trim`] removes the oldest events of a session that goes on, a part at a time and from the first on: none of
//!     which the record does not say that they are [gone](crate::SessionRecord::trimmed), and not all of those need go, as a store
//!     may keep several in one row. In the log of all sessions they are then a gap, and a run is known as
//!     long as the event is there that it ended with.
//! 16. **Healing and closing.** Healing a store that is well does nothing. After `close` every
//!     other call fails with [`StoreError::Closed`] (a store may let a worker begin again), and
//!     another may open it.
//!
//! `testing::conformance` (feature `testing`) has a test of each clause, for any store.
//!
//! Methods may be called from many tasks at once. They must not block the thread they are called
//! on.

use std::{future::Future, ops::RangeInclusive, pin::Pin, sync::Arc};

use crate::model::{
    counts::{Scope, StateCounts},
    event::EventRecord,
    footprint::StateBytes,
    ids::{ExternalId, InputId, Kind, Name, RunId, SessionId, StartKey, WorkerGeneration},
    record::{Lane, SessionRecord, StoredInput},
    state::State,
    step::{StoredStep, Turn},
    time::{LaneTime, SupervisedTime, Timestamp},
};

mod admit;
#[cfg(feature = "sled")]
mod archive;
mod bookmark;
#[cfg(feature = "sled")]
mod codec;
mod counts;
mod error;
#[cfg(all(feature = "sled", any(test, fuzzing)))]
pub(crate) mod fuzzing;
mod guarded;
mod index;
mod journal;
mod memory;
mod purge;
mod related;
mod runs;
#[cfg(feature = "sled")]
mod sled;
#[cfg(all(test, feature = "sled"))]
mod tests;
#[cfg(test)]
mod touched;
mod trim;

#[cfg(feature = "sled")]
use self::sled::{rebuild, salvage};

#[cfg(feature = "sled")]
pub use self::archive::{ArchiveError, Salvaged, export, import, repair};
pub use self::bookmark::Bookmark;
pub(crate) use self::bookmark::Unread;
pub(crate) use self::error::with_sources;
pub use self::error::{BoxError, Refusal, StoreError};
pub(crate) use self::guarded::Guarded;
pub use self::journal::{LogEnd, LogItem, LogPage, LogQuery, Logged, Order};
pub use self::memory::{Fault, MemoryStore, Part, Stall};
pub use self::purge::{Purge, Purged, Then};
pub use self::related::Related;
pub use self::runs::StoredRun;
#[cfg(feature = "sled")]
pub use self::sled::{Durability, OnDamage, SledOptions, SledStore};
pub use self::trim::Trim;

/// What a store method returns.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A place where sessions are kept. The module documentation is its contract.
pub trait Store: Send + Sync + 'static {
    /// Registers a worker that begins to use the store and says how it was left.
    ///
    /// From now on commits of generations that ended are refused, see
    /// [`Refusal::GenerationEnded`]. A store with a single user ends all others here; a store
    /// that several workers share ends those whose lease lapsed.
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened>;

    /// Commits a batch and answers each of its commits, in order.
    ///
    /// A batch may be empty: then only the supervised time moves.
    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>>;

    /// The record of a session, or `None` if there is none.
    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>>;

    /// The session that a key names, or `None`. Where several match, the newest.
    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>>;

    /// Where a run is in the log of its session, or `None`: every run that ever began, as long as its session is there and the event
    /// was not trimmed that it ended with.
    fn run(&self, run: RunId) -> StoreFuture<'_, Option<StoredRun>>;

    /// Records that match, newest first, a page at a time.
    fn list(&self, query: Query) -> StoreFuture<'_, Page>;

    /// How many sessions are in each state, of those in a scope. It looks at counters that change with the records, so it
    /// takes no longer the more there are. Tombstones count nowhere; a session whose record cannot be read may count
    /// in the state that it had.
    fn count(&self, scope: Scope) -> StoreFuture<'_, StateCounts>;

    /// How many logical bytes the sessions in each state hold, by what their records [say](SessionRecord::bytes): a sum that changes
    /// with the records, so it takes no longer the more there are.
    fn held(&self) -> StoreFuture<'_, StateBytes>;

    /// What is due in a lane at `until` or before, in the time of the lane, earliest first, at most
    /// `limit`.
    fn due(&self, lane: Lane, until: LaneTime, limit: usize) -> StoreFuture<'_, Vec<Due>>;

    /// The bytes of a kept snapshot, or `None` if it is not kept.
    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>>;

    /// The kept inputs of a session numbered higher than `after`, in order, at most `limit`.
    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>>;

    /// The kept steps of a session in the turns after one, by their turns and keys.
    fn steps(&self, session: SessionId, after: Turn) -> StoreFuture<'_, Vec<StoredStep>>;

    /// The input that was accepted under a caller's id, or `None`. It is known as long as the
    /// session, also after the input itself is gone.
    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>>;

    /// The events of a session in a range of sequence numbers, in order, at most `limit`.
    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>>;

    /// The log of all sessions: their events in the order in which they were committed, a page at
    /// a time.
    fn log(&self, query: LogQuery) -> StoreFuture<'_, LogPage>;

    /// How far the readers of the log of all sessions have come, by their names.
    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>>;

    /// Removes a part of what is left of a session that was deleted, and with the last part does what was asked for in
    /// [`Purge::then`], in one transaction. Durable when it returns; what is answered with
    /// [`Purged::More`] stays removed. To repeat it does no harm.
    fn purge(&self, purge: Purge) -> StoreFuture<'_, Result<Purged, Refusal>>;

    /// Removes a part of the events of a session of which its record says that they are gone, the oldest first. Durable when it returns;
    /// what is answered with [`Purged::More`] stays removed. To repeat it does no harm, and where there is no such session,
    /// or not any more, there is nothing to do.
    fn trim(&self, trim: Trim) -> StoreFuture<'_, Result<Purged, Refusal>>;

    /// What could not be read, as far as it is known.
    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>>;

    /// Tries to heal a store that failed: gives back reserved space, opens files again.
    ///
    /// `Ok` means that commits may work again. A store with nothing to heal returns `Ok`.
    fn heal(&self) -> StoreFuture<'_, ()>;

    /// Releases what the store holds, so that another process can open it. Later calls fail with
    /// [`StoreError::Closed`]. Closing twice is harmless.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// How a store was left by its last user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// The supervised time up to now.
    pub supervised: SupervisedTime,
    /// Other workers that are alive on this store; their sessions are not ours to recover.
    pub others: Vec<WorkerGeneration>,
}

impl Opened {
    /// An answer to [`Store::begin`].
    pub const fn new(supervised: SupervisedTime, others: Vec<WorkerGeneration>) -> Self {
        Self { supervised, others }
    }
}

/// Commits that go to the store together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The worker that commits.
    pub generation: WorkerGeneration,
    /// The supervised time of this batch. A store keeps the largest it was given.
    pub supervised: SupervisedTime,
    /// The commits. No session is in it twice.
    pub commits: Vec<Arc<Commit>>,
    /// How far readers of the log have come: each replaces the one that is kept under its name,
    /// whatever the commits are answered.
    pub bookmarks: Vec<Bookmark>,
}

/// One change of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The record as it is to be. It must replace version `record.version - 1`; with version 1
    /// the session must not exist.
    ///
    /// The store keeps exactly the snapshots that the record names, exactly the inputs above
    /// [`SessionRecord::inputs_covered`], and exactly the steps of turns after
    /// [`SessionRecord::steps_covered`].
    pub record: Arc<SessionRecord>,
    /// New events. Their sequences continue the log and end at `record.last_event`.
    pub events: Vec<EventRecord>,
    /// New inputs. Their sequences continue the inbox and end at `record.inbox.accepted`.
    pub inputs: Vec<StoredInput>,
    /// How far steps came, in turns after [`SessionRecord::steps_covered`], each once. A step that
    /// is kept under the same turn and key is replaced.
    pub steps: Vec<StoredStep>,
    /// The bytes of a new snapshot: that of `record.snapshots[0]`.
    pub snapshot: Option<Arc<[u8]>>,
    /// The first commit of a new session that takes the place of this one, which ends with it. Both are done, or
    /// neither: in this order, so that the new one may have the name that this one gives up. It has
    /// version 1 and no successor of its own. Once this commit is in, that one is too, whatever became
    /// of its session since.
    pub successor: Option<Arc<Self>>,
}

impl Commit {
    /// The record, to be changed before the commit is handed in.
    pub fn record_mut(&mut self) -> &mut SessionRecord {
        Arc::make_mut(&mut self.record)
    }

    /// This one, and that of its successor.
    pub(crate) fn both(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.successor.as_deref())
    }
}

/// What a session can be found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Its unique name: the session that holds it, else the newest of the ended ones that had it.
    Name(Name),
    /// A correlation id from outside.
    ExternalId(ExternalId),
    /// The idempotency key of its start.
    Start(StartKey),
}

/// Which records to list. All conditions must hold.
///
/// ```
/// # async fn all(supervisor: sessionkeeper::Supervisor) -> Result<(), sessionkeeper::store::StoreError> {
/// use sessionkeeper::{State, store::Query};
///
/// let mut query = Query { states: vec![State::Paused], ..Query::default() };
/// loop {
///     let page = supervisor.list(query.clone()).await?;
///     for record in &page.records {
///         println!("{} since {}", record.id, record.updated_at);
///     }
///     query.after = page.next;
///     if query.after.is_none() {
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Only sessions in one of these states; empty: in any.
    pub states: Vec<State>,
    /// Only sessions of this kind.
    pub kind: Option<Kind>,
    /// Only sessions that carry all of these labels.
    pub labels: Vec<(String, String)>,
    /// Only sessions that come from another one: its forks, say.
    pub related: Option<Related>,
    /// Where the page before this one ended.
    pub after: Option<Cursor>,
    /// How many at most (default 100); 0 counts as 1.
    pub limit: usize,
}

impl Default for Query {
    /// All sessions.
    fn default() -> Self {
        Self {
            states: Vec::new(),
            kind: None,
            labels: Vec::new(),
            related: None,
            after: None,
            limit: 100,
        }
    }
}

impl Query {
    /// Whether a record meets the conditions.
    pub fn matches(&self, record: &SessionRecord) -> bool {
        !record.is_deleted()
            && (self.states.is_empty() || self.states.contains(&record.state()))
            && self.kind.as_ref().is_none_or(|kind| *kind == record.kind)
            && self.labels.iter().all(|(key, value)| record.labels.get(key) == Some(value))
            && self.related.as_ref().is_none_or(|related| related.matches(record))
    }
}

/// A place in a listing. Sessions are ordered by their time of creation, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the last listed session was created.
    pub created_at: Timestamp,
    /// Its id.
    pub session: SessionId,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Page {
    /// The records, newest first.
    pub records: Vec<SessionRecord>,
    /// Where the next page begins, if there may be more.
    pub next: Option<Cursor>,
}

impl Page {
    /// A page and where the next one begins.
    pub const fn new(records: Vec<SessionRecord>, next: Option<Cursor>) -> Self {
        Self { records, next }
    }
}

/// What is remembered of an input that came with a caller's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedInput {
    /// Its number in the session.
    pub sequence: u64,
    /// The CRC-32 of its payload.
    pub checksum: u32,
}

/// A session whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it was due, in the time of its lane.
    pub at: LaneTime,
    /// The session.
    pub session: SessionId,
}

/// Something in the store that cannot be read. Its bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The session, as far as it can be told.
    pub session: Option<SessionId>,
    /// What is wrong with it.
    pub reason: String,
    /// The stored bytes.
    pub bytes: Arc<[u8]>,
}

impl Damage {
    /// Something that cannot be read.
    pub fn new(session: Option<SessionId>, reason: impl Into<String>, bytes: &[u8]) -> Self {
        Self { session, reason: reason.into(), bytes: bytes.into() }
    }
}
