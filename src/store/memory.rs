//! A store in memory: the whole contract but the disk.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::{Bound, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use self::fault::Faults;
pub use self::fault::{Fault, Part, Stall};
use super::{
    AcceptedInput, Batch, Bookmark, Commit, Damage, Due, Key, LogEnd, LogPage, LogQuery, Opened,
    Page, Purge, Purged, Query, Refusal, Store, StoreError, StoreFuture, StoredRun, Trim,
    admit::{Verdict, admit, admit_successor},
    counts::Counters,
    index::{self, After, Rows},
    journal::{self, Entry},
    runs,
};
use crate::model::{
    counts::{Scope, StateCounts},
    event::EventRecord,
    footprint::StateBytes,
    ids::{InputId, ReaderName, RunId, SessionId, StepKey, WorkerGeneration},
    record::{Lane, SessionRecord, StoredInput},
    step::{StoredStep, Turn},
    time::{LaneTime, SupervisedTime},
};

mod fault;
mod purge;
mod rows;
mod trim;

/// A [`Store`] that keeps everything in memory, for tests and for sessions that need not outlive
/// their process.
///
/// It honours the whole contract of [the module](super) except that nothing reaches a disk. It
/// uses no thread and no timer, so it works on tokio's paused time.
///
/// Clones share their data. To play a crash, drop the supervisor that has one clone and start
/// another on a second clone: it finds what the first had committed.
///
/// ```
/// use sessionkeeper::store::MemoryStore;
///
/// let disk = MemoryStore::new();
/// let for_the_first_worker = disk.clone();
/// let for_the_next_worker = disk.clone();
/// # drop((for_the_first_worker, for_the_next_worker));
/// ```
///
/// [`close`](Store::close) ends the generation that has the store; the next
/// [`begin`](Store::begin), of whichever clone, opens it again.
///
/// What a disk can do to a worker can be played too: see [`fail`](Self::fail),
/// [`stall`](Self::stall) and [`damage`](Self::damage).
#[derive(Clone)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    stalls: watch::Sender<usize>,
}

/// What the clones share.
#[derive(Default)]
struct Data {
    sessions: HashMap<SessionId, Session>,
    index: Rows,
    counts: Counters,
    held: StateBytes,
    log: LogEnd,
    /// The events of the batch that is being done.
    logged: Vec<Entry>,
    bookmarks: BTreeMap<ReaderName, Bookmark>,
    supervised: SupervisedTime,
    generation: Option<WorkerGeneration>,
    closed: bool,
    faults: Faults,
}

struct Session {
    record: Arc<SessionRecord>,
    snapshots: BTreeMap<u64, Arc<[u8]>>,
    inputs: BTreeMap<u64, StoredInput>,
    input_ids: HashMap<InputId, (u64, u32)>,
    steps: BTreeMap<(Turn, StepKey), StoredStep>,
    events: BTreeMap<u64, EventRecord>,
    damaged: BTreeSet<Part>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { data: Arc::default(), stalls: watch::Sender::new(0) }
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // Every change is made in one go after all that can fail, so the data is whole even
        // where a panic of a caller poisoned the lock.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data, unless the store is closed.
    fn open(&self) -> Result<MutexGuard<'_, Data>, StoreError> {
        let data = self.data();
        if data.closed {
            return Err(StoreError::Closed);
        }
        Ok(data)
    }

    /// Waits until nothing stalls the store.
    async fn flowing(&self) {
        let mut stalls = self.stalls.subscribe();
        // The sender lives as long as this store: the wait cannot fail.
        let _ = stalls.wait_for(|count| *count == 0).await;
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data();
        f.debug_struct("MemoryStore")
            .field("sessions", &data.sessions.len())
            .field("closed", &data.closed)
            .finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened> {
        Box::pin(async move {
            self.flowing().await;
            let mut data = self.data();
            data.closed = false;
            data.generation = Some(generation);
            data.log.begin(generation);
            Ok(Opened::new(data.supervised, Vec::new()))
        })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        Box::pin(async move {
            self.flowing().await;
            self.open()?.commit(&batch)
        })
    }

    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        Box::pin(async move {
            let data = self.open()?;
            let Some(entry) = data.sessions.get(&session) else {
                return Ok(None);
            };
            entry.readable(Part::Record)?;
            Ok(Some(SessionRecord::clone(&entry.record)))
        })
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>> {
        Box::pin(async move { index::find(&self.open()?.index, &key) })
    }

    fn run(&self, run: RunId) -> StoreFuture<'_, Option<StoredRun>> {
        Box::pin(async move { runs::find(&self.open()?.index, run) })
    }

    fn list(&self, query: Query) -> StoreFuture<'_, Page> {
        Box::pin(async move {
            let data = self.open()?;
            index::list(&data.index, &query, |session| {
                let entry = data.sessions.get(&session);
                Ok(entry
                    .filter(|entry| !entry.damaged.contains(&Part::Record))
                    .map(|entry| SessionRecord::clone(&entry.record)))
            })
        })
    }

    fn count(&self, scope: Scope) -> StoreFuture<'_, StateCounts> {
        Box::pin(async move { Ok(self.open()?.counts.get(&scope)) })
    }

    fn held(&self) -> StoreFuture<'_, StateBytes> {
        Box::pin(async move { Ok(self.open()?.held) })
    }

    fn due(&self, lane: Lane, until: LaneTime, limit: usize) -> StoreFuture<'_, Vec<Due>> {
        Box::pin(async move { index::due(&self.open()?.index, lane, until, limit) })
    }

    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        Box::pin(async move {
            let data = self.open()?;
            let Some(entry) = data.sessions.get(&session) else {
                return Ok(None);
            };
            entry.readable(Part::Snapshot(sequence))?;
            Ok(entry.snapshots.get(&sequence).cloned())
        })
    }

    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        Box::pin(async move {
            let data = self.open()?;
            let entry = data.sessions.get(&session);
            let known = entry.and_then(|entry| entry.input_ids.get(&id)).copied();
            Ok(known.map(|(sequence, checksum)| AcceptedInput { sequence, checksum }))
        })
    }

    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>> {
        Box::pin(async move {
            let data = self.open()?;
            let Some(entry) = data.sessions.get(&session) else {
                return Ok(Vec::new());
            };
            let wanted = (Bound::Excluded(after), Bound::Unbounded);
            entry
                .inputs
                .range(wanted)
                .take(limit)
                .map(|(sequence, input)| {
                    entry.readable(Part::Input(*sequence))?;
                    Ok(input.clone())
                })
                .collect()
        })
    }

    fn steps(&self, session: SessionId, after: Turn) -> StoreFuture<'_, Vec<StoredStep>> {
        Box::pin(async move {
            let data = self.open()?;
            let Some(entry) = data.sessions.get(&session) else {
                return Ok(Vec::new());
            };
            let wanted = entry.steps.values().filter(|step| step.turn > after);
            wanted
                .map(|step| {
                    entry.readable(Part::Steps(step.turn))?;
                    Ok(step.clone())
                })
                .collect()
        })
    }

    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        Box::pin(async move {
            let data = self.open()?;
            let Some(entry) = data.sessions.get(&session) else {
                return Ok(Vec::new());
            };
            if range.is_empty() {
                return Ok(Vec::new());
            }
            entry
                .events
                .range(range)
                .take(limit)
                .map(|(sequence, event)| {
                    entry.readable(Part::Event(*sequence))?;
                    Ok(event.clone())
                })
                .collect()
        })
    }

    fn log(&self, query: LogQuery) -> StoreFuture<'_, LogPage> {
        Box::pin(async move {
            let data = self.open()?;
            journal::page(&data.index, data.log, &query, |session, range| {
                let entry = data.sessions.get(&session);
                Ok(entry.map(|entry| entry.readable_events(range)).unwrap_or_default())
            })
        })
    }

    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>> {
        Box::pin(async move { Ok(self.open()?.bookmarks.values().cloned().collect()) })
    }

    fn purge(&self, purge: Purge) -> StoreFuture<'_, Result<Purged, Refusal>> {
        Box::pin(async move {
            self.flowing().await;
            self.open()?.purge(&purge)
        })
    }

    fn trim(&self, trim: Trim) -> StoreFuture<'_, Result<Purged, Refusal>> {
        Box::pin(async move {
            self.flowing().await;
            self.open()?.trim(&trim)
        })
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        Box::pin(async move { Ok(self.open()?.damaged()) })
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.open()?.faults.heal() })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut data = self.data();
            data.closed = true;
            data.generation = None;
            Ok(())
        })
    }
}

impl Data {
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Result<(), Refusal>>, StoreError> {
        match self.faults.next()? {
            None => self.apply(batch),
            Some(Fault::NothingDone) => Err(self.faults.error(Fault::NothingDone)),
            Some(Fault::AnswerLost) => {
                self.apply(batch)?;
                Err(self.faults.error(Fault::AnswerLost))
            }
        }
    }

    fn apply(&mut self, batch: &Batch) -> Result<Vec<Result<(), Refusal>>, StoreError> {
        if self.generation != Some(batch.generation) {
            let refused = batch.commits.iter();
            return Ok(refused.map(|_| Err(Refusal::GenerationEnded)).collect());
        }
        self.supervised = self.supervised.max(batch.supervised);
        let commits = batch.commits.iter();
        let answers: Vec<_> =
            commits.map(|commit| self.apply_one(commit)).collect::<Result<_, _>>()?;
        for bookmark in &batch.bookmarks {
            self.bookmarks.insert(bookmark.reader.clone(), bookmark.clone());
        }
        let entries = std::mem::take(&mut self.logged);
        if !entries.is_empty() {
            self.index.extend(journal::rows(self.log.last + 1, &entries));
            self.log.last += entries.iter().map(Entry::count).sum::<u64>();
        }
        Ok(answers)
    }

    fn apply_one(&mut self, commit: &Commit) -> Result<Result<(), Refusal>, StoreError> {
        let id = commit.record.id;
        let entry = self.sessions.get(&id);
        if entry.is_some_and(|entry| entry.damaged.contains(&Part::Record)) {
            return Ok(Err(Refusal::Damaged { reason: fault::REASON.to_owned() }));
        }
        let old = entry.map(|entry| &*entry.record);
        let used =
            |input: &InputId| Ok(entry.and_then(|entry| entry.input_ids.get(input).copied()));
        match admit(commit, old, &self.index, used)? {
            Verdict::Refuse(refusal) => return Ok(Err(refusal)),
            Verdict::AlreadyIn => return Ok(Ok(())),
            Verdict::Do => {}
        }
        if let Some(successor) = &commit.successor {
            let found = self.sessions.get(&successor.record.id).map(|entry| &*entry.record);
            let after = After::new(&self.index, old, &commit.record);
            if let Some(refusal) = admit_successor(commit, successor, found, &after)? {
                return Ok(Err(refusal));
            }
        }
        for commit in commit.both() {
            self.store(commit);
        }
        Ok(Ok(()))
    }

    /// Does a commit that was admitted.
    fn store(&mut self, commit: &Commit) {
        let id = commit.record.id;
        let old = self.sessions.get(&id).map(|entry| &*entry.record);
        let changes = index::changes(old, &commit.record);
        self.counts.replace(old, &commit.record);
        self.held.replace(old, &commit.record);
        self.change_index(changes.into_iter().chain(runs::rows(id, &commit.events)));
        self.sessions
            .entry(id)
            .or_insert_with(|| Session::new(Arc::clone(&commit.record)))
            .take(commit);
        self.logged.extend(Entry::of(id, &commit.events));
    }

    fn change_index(&mut self, changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.index.insert(key, value),
                None => self.index.remove(&key),
            };
        }
    }

    fn damaged(&self) -> Vec<Damage> {
        let mut found: Vec<_> = self
            .sessions
            .values()
            .flat_map(|entry| entry.damaged.iter().map(|part| (entry.record.id, *part)))
            .collect();
        found.sort_unstable();
        found
            .into_iter()
            .map(|(session, part)| {
                let reason = format!("its {} cannot be read: {}", part.name(), fault::REASON);
                Damage::new(Some(session), reason, &[])
            })
            .collect()
    }
}

impl Session {
    fn new(record: Arc<SessionRecord>) -> Self {
        Self {
            record,
            snapshots: BTreeMap::new(),
            inputs: BTreeMap::new(),
            input_ids: HashMap::new(),
            steps: BTreeMap::new(),
            events: BTreeMap::new(),
            damaged: BTreeSet::new(),
        }
    }

    fn take(&mut self, commit: &Commit) {
        let record = &commit.record;
        // A tombstone removes nothing: that is what a purge does.
        if record.is_deleted() {
            return self.record_events(commit);
        }
        if let (Some(kept), Some(bytes)) = (record.snapshot(), &commit.snapshot) {
            self.snapshots.insert(kept.sequence, Arc::clone(bytes));
            self.damaged.remove(&Part::Snapshot(kept.sequence));
        }
        let named = |sequence: u64| record.snapshots.iter().any(|kept| kept.sequence == sequence);
        self.snapshots.retain(|sequence, _| named(*sequence));
        for input in &commit.inputs {
            if let Some(id) = &input.id {
                let known = (input.sequence, crc32fast::hash(&input.payload));
                self.input_ids.insert(id.clone(), known);
            }
            self.inputs.insert(input.sequence, input.clone());
        }
        let covered = record.inputs_covered();
        self.inputs.retain(|sequence, _| *sequence > covered);
        let ended = record.steps_covered();
        for step in &commit.steps {
            self.steps.insert((step.turn, step.key.clone()), step.clone());
        }
        self.steps.retain(|(turn, _), _| *turn > ended);
        self.damaged.retain(|part| match part {
            Part::Snapshot(sequence) => named(*sequence),
            Part::Input(sequence) => *sequence > covered,
            Part::Steps(turn) => *turn > ended,
            Part::Record | Part::Event(_) => true,
        });
        self.record_events(commit);
    }

    fn record_events(&mut self, commit: &Commit) {
        for event in &commit.events {
            self.events.insert(event.sequence, event.clone());
        }
        self.record = Arc::clone(&commit.record);
    }

    /// The events that can be read.
    fn readable_events(&self, range: RangeInclusive<u64>) -> Vec<EventRecord> {
        let found = self.events.range(range);
        let sound = found.filter(|(sequence, _)| self.readable(Part::Event(**sequence)).is_ok());
        sound.map(|(_, event)| event.clone()).collect()
    }
}
