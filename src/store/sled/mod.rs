//! The durable store, on sled: the only place that names it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `options`, `open`, `layout` | how a folder is opened, and what is in it |
//! | `prepared` | what is done for a commit before the thread that writes has it |
//! | `writer`, `plan`, `snapshots`, `known` | the thread that writes, what a group of commits comes to, and what it need not read again |
//! | `purge`, `trim` | how what is left of a deleted session is removed, and the older events of another |
//! | `queue` | how that thread waits |
//! | `shared`, `read` | how reads see only what is durable |
//! | `table`, `value`, `slots`, `chunks`, `events`, `meta` | what is in the trees |
//! | `logged` | the log of all sessions, where it is not kept yet |
//! | `salvage`, `rebuild` | a store taken apart and put together, for archives and repairs |
//! | `mark`, `reserve`, `collector`, `damage` | what guards against loss, full disks and damage |
//! | `engine`, `log` | sled itself, and a look at its log before it is opened |

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use tokio::sync::{mpsc, oneshot};

pub use self::options::{Durability, OnDamage, SledOptions};
use self::{meta::Meta, prepared::Prepared, shared::Shared, visible::Health, writer::Job};
use super::{
    AcceptedInput, Batch, Bookmark, Damage, Due, Key, LogPage, LogQuery, Opened, Page, Purge,
    Purged, Query, Refusal, Store, StoreError, StoreFuture, StoredRun, Trim, index, journal, runs,
};
use crate::model::{
    counts::{Scope, StateCounts},
    event::EventRecord,
    footprint::StateBytes,
    ids::{InputId, RunId, SessionId, WorkerGeneration},
    record::{Lane, SessionRecord, StoredInput},
    step::{StoredStep, Turn},
    time::LaneTime,
};

mod chunks;
mod collector;
mod counted;
mod damage;
mod engine;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod known;
mod layout;
mod log;
mod logged;
mod mark;
mod meta;
mod open;
mod options;
mod plan;
mod prepared;
mod purge;
mod queue;
mod read;
pub(super) mod rebuild;
mod reserve;
pub(super) mod salvage;
mod shared;
mod slots;
mod snapshots;
mod table;
#[cfg(test)]
mod tests;
mod trim;
mod value;
mod visible;
mod writer;

/// A [`Store`] in a folder on disk, for one worker at a time.
///
/// # What survives
///
/// With [`Durability::Synced`], the default, a commit that was acknowledged survives a power cut.
/// With [`Durability::Flushed`] it survives the process, not the machine. Reads give only what is
/// as durable as that.
///
/// # What can go wrong
///
/// - Another process has the folder open: [`StoreError::InUse`], which names it.
/// - The disk is full, or fails: commits and reads of what was not yet durable fail with
///   [`StoreError::Unavailable`] until [`heal`](Store::heal) succeeds. Some space is kept in
///   reserve for that. After another error of the disk than a full one `heal` refuses: then it is
///   not known what the disk holds, and a new process must open the store and look.
/// - The folder was damaged, emptied or put back to an older state: [`StoreError::StoreDamaged`],
///   and the files are set aside; see [`OnDamage`].
/// - A part of the log was damaged, and the store opens all the same: the latest changes of some
///   sessions may be missing. [`Store::damaged`] says so at once, and names a copy of the files.
/// - One session is damaged: the others work; see [`Store::damaged`], which knows the damaged
///   records from [`begin`](Store::begin) on and other parts once they were read.
///
/// # Large states
///
/// A snapshot of more than 128 KiB is kept in chunks, and a checkpoint writes those that changed:
/// where 4 KiB are added at the end of 10 MiB, about 8 KiB are written, and a change in another place
/// costs a few KiB more. To find out what changed takes about a millisecond for each MiB, off the thread
/// that writes. Both kept snapshots share what they have in common. So damage to a chunk can concern
/// both of them, which damage to a smaller snapshot does not. Where the damage is known, the next
/// checkpoint writes what is missing. A damaged snapshot can leave chunks behind that nobody
/// needs any more; [`repair`](super::repair) gives their space back.
///
/// # Blocking
///
/// [`open`](Self::open) blocks. So does dropping the store, for the time of a flush: when it is
/// dropped, the folder is free. All methods of [`Store`] may be called on async threads: one
/// thread of its own writes, and reads go through `spawn_blocking`. Commits that wait share one
/// sync, so many tasks that commit at once cost hardly more than one. On tokio's paused time the
/// clock can jump while a commit is on its way: use [`MemoryStore`](super::MemoryStore) there.
///
/// ```no_run
/// use sessionkeeper::store::{Durability, SledStore, StoreError};
///
/// let store = SledStore::open("data")?;
/// # drop(store);
/// let faster = SledStore::options("data").durability(Durability::Flushed).open()?;
/// # drop(faster);
/// # Ok::<(), StoreError>(())
/// ```
pub struct SledStore {
    path: PathBuf,
    shared: Arc<Shared>,
    /// `None` while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl SledStore {
    /// Opens the store in a folder with [`Durability::Synced`], or makes one. This call blocks.
    ///
    /// # Errors
    /// See [`SledOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options(path).open()
    }

    /// Options to open the store in a folder with.
    pub fn options(path: impl AsRef<Path>) -> SledOptions {
        SledOptions::new(path.as_ref().to_owned())
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_with(options: SledOptions) -> Result<Self, StoreError> {
        let opened = open::open(&options)?;
        let (shared, jobs, writer) = writer::spawn(opened, &options).map_err(|error| {
            StoreError::open(&options.path, "no thread could be started", error)
        })?;
        Ok(Self { path: options.path, shared, jobs: Some(jobs), writer: Some(writer) })
    }

    /// Asks the writer and waits for its answer.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // The writer ends where its queue does.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // Its panics are caught inside; there is nothing left to say.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore")
            .field("path", &self.path)
            .field("health", &self.shared.health())
            .finish_non_exhaustive()
    }
}

impl Store for SledStore {
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened> {
        Box::pin(self.ask(move |reply| Job::Begin(generation, reply)))
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        Box::pin(async move {
            let prepared = Prepared::new(batch).await?;
            self.ask(move |reply| Job::Commit(prepared, reply)).await
        })
    }

    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        Box::pin(self.shared.read(move |engine| read::record(engine, session)))
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>> {
        Box::pin(self.shared.read(move |engine| index::find(engine, &key)))
    }

    fn run(&self, run: RunId) -> StoreFuture<'_, Option<StoredRun>> {
        Box::pin(self.shared.read(move |engine| runs::find(engine, run)))
    }

    fn list(&self, query: Query) -> StoreFuture<'_, Page> {
        Box::pin(self.shared.read(move |engine| {
            index::list(engine, &query, |session| match read::record(engine, session) {
                Err(StoreError::Damaged { .. }) => Ok(None),
                answer => answer,
            })
        }))
    }

    fn count(&self, scope: Scope) -> StoreFuture<'_, StateCounts> {
        Box::pin(self.shared.read(move |engine| counted::read(engine, &scope)))
    }

    fn held(&self) -> StoreFuture<'_, StateBytes> {
        Box::pin(
            self.shared.read(|engine| {
                Ok(Meta::read(engine)?.and_then(|meta| meta.held).unwrap_or_default())
            }),
        )
    }

    fn due(&self, lane: Lane, until: LaneTime, limit: usize) -> StoreFuture<'_, Vec<Due>> {
        Box::pin(self.shared.read(move |engine| index::due(engine, lane, until, limit)))
    }

    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        Box::pin(
            self.shared
                .read(move |engine| Ok(slots::read(engine, session, sequence)?.map(Into::into))),
        )
    }

    fn steps(&self, session: SessionId, after: Turn) -> StoreFuture<'_, Vec<StoredStep>> {
        Box::pin(self.shared.read(move |engine| read::steps(engine, session, after)))
    }

    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        Box::pin(self.shared.read(move |engine| {
            let known = read::input_id(engine, session, &id)?;
            Ok(known.map(|(sequence, checksum)| AcceptedInput { sequence, checksum }))
        }))
    }

    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>> {
        Box::pin(self.shared.read(move |engine| read::inputs(engine, session, after, limit)))
    }

    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        Box::pin(self.shared.read(move |engine| events::read(engine, session, &range, limit)))
    }

    fn log(&self, query: LogQuery) -> StoreFuture<'_, LogPage> {
        Box::pin(self.shared.read(move |engine| {
            let end = Meta::read(engine)?.and_then(|meta| meta.log).unwrap_or_default();
            journal::page(engine, end, &query, |session, range| {
                events::read_sound(engine, session, range)
            })
        }))
    }

    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>> {
        Box::pin(self.shared.read(read::bookmarks))
    }

    fn purge(&self, purge: Purge) -> StoreFuture<'_, Result<Purged, Refusal>> {
        Box::pin(self.ask(move |reply| Job::Purge(purge, reply)))
    }

    fn trim(&self, trim: Trim) -> StoreFuture<'_, Result<Purged, Refusal>> {
        Box::pin(self.ask(move |reply| Job::Trim(trim, reply)))
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        Box::pin(async move {
            match self.shared.health() {
                Health::Closed => Err(StoreError::Closed),
                Health::Well | Health::Failed(_) => Ok(self.shared.damages.all()),
            }
        })
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.ask(Job::Heal))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            match self.ask(Job::Close).await {
                // Closed before, perhaps by another task at this moment.
                Err(StoreError::Closed) => Ok(()),
                answer => answer,
            }
        })
    }
}
