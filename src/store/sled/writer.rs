//! The one thread that writes.
//!
//! It takes whatever waits in the queue, applies it, flushes and syncs once, and then answers
//! everybody: a group commit. After an error that says nothing about what is on the disk it stops
//! acknowledging until it is healed.

use std::{fs::File, sync::Arc, thread, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    collector::Collector,
    damage,
    engine::{Engine, guarded, leaves_doubt},
    known::Cache,
    layout::Layout,
    mark::MarkFile,
    meta::Meta,
    open::Opened,
    options::{Durability, SledOptions},
    plan::Plan,
    prepared::Prepared,
    queue::{Received, receive},
    reserve,
    shared::Shared,
    visible::Health,
};
use crate::{
    clock,
    faults::{self, Bug, Point},
    model::ids::WorkerGeneration,
    store::{self, Purge, Purged, Refusal, StoreError, Trim, with_sources},
};

/// How much one transaction may write, unless a single commit is larger. Sled needs several times
/// as much memory for it.
const TRANSACTION: usize = 4 << 20;

/// How many waiting requests go into one group.
const GROUP: usize = 1024;

/// When nobody asked for anything for so long, dead rows are collected for so long.
const QUIET: Duration = Duration::from_millis(5);
const LITTLE: Duration = Duration::from_micros(500);

/// After how many groups what can wait is done: the mark synced, a missing reserve tried again.
pub(super) const HOUSEKEEPING: u64 = 4096;

pub(super) type Answers = Vec<Result<(), Refusal>>;
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Begin(WorkerGeneration, Reply<store::Opened>),
    Commit(Prepared, Reply<Answers>),
    Purge(Purge, Reply<Result<Purged, Refusal>>),
    Trim(Trim, Reply<Result<Purged, Refusal>>),
    Heal(Reply<()>),
    Close(Reply<()>),
    /// Fails, as by a full disk.
    #[cfg(test)]
    Break(Reply<()>),
}

struct Writer {
    shared: Arc<Shared>,
    layout: Layout,
    mark: MarkFile,
    meta: Meta,
    /// The generation that may write.
    generation: Option<WorkerGeneration>,
    known: Cache,
    collector: Collector,
    durability: Durability,
    cache_capacity: u64,
    has_reserve: bool,
    /// Set after an error that leaves in doubt what is on the device: nothing heals it here.
    in_doubt: bool,
    _lock: File,
}

/// Starts the thread. It ends where the queue is closed, and lets go of the store then.
pub(super) fn spawn(
    opened: Opened,
    options: &SledOptions,
) -> std::io::Result<(Arc<Shared>, mpsc::Sender<Job>, thread::JoinHandle<()>)> {
    let shared = Shared::new(opened.engine, opened.meta.commit, opened.damages);
    let shared = Arc::new(shared);
    let writer = Writer {
        shared: Arc::clone(&shared),
        layout: opened.layout,
        mark: opened.mark,
        meta: opened.meta,
        generation: None,
        known: Cache::default(),
        collector: Collector::default(),
        durability: options.durability,
        cache_capacity: options.cache_capacity,
        has_reserve: opened.has_reserve,
        in_doubt: false,
        _lock: opened.lock,
    };
    let (jobs, queue) = mpsc::channel(options.queue);
    let thread =
        thread::Builder::new().name("session-store".to_owned()).spawn(move || writer.run(queue))?;
    Ok((shared, jobs, thread))
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while let Some(job) = self.next(&mut queue) {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    Job::Commit(batch, reply) => {
                        group.push((batch, reply));
                        if group.len() < GROUP {
                            next = queue.try_recv().ok();
                        }
                    }
                    Job::Begin(generation, reply) => {
                        self.commit(&mut group);
                        // An answer that nobody waits for any more is not an error.
                        let _ = reply.send(self.begin(generation));
                    }
                    Job::Purge(purge, reply) => {
                        self.commit(&mut group);
                        let _ = reply.send(self.purge(&purge));
                    }
                    Job::Trim(trim, reply) => {
                        self.commit(&mut group);
                        let _ = reply.send(self.trim(&trim));
                    }
                    Job::Heal(reply) => {
                        self.commit(&mut group);
                        let _ = reply.send(self.heal());
                    }
                    #[cfg(test)]
                    Job::Break(reply) => {
                        self.shared.set_health(Health::Failed("told to".into()));
                        let _ = reply.send(Ok(()));
                    }
                    Job::Close(reply) => {
                        self.commit(&mut group);
                        // Whoever waits in the queue is told that the store is closed.
                        drop(queue);
                        let closed = self.close();
                        drop(self);
                        let _ = reply.send(closed);
                        return;
                    }
                }
            }
            self.commit(&mut group);
        }
        // Nobody is there to hear of an error; every acknowledged commit is durable already.
        let _ = self.close();
    }

    /// Commits a group and answers it.
    fn commit(&mut self, group: &mut Vec<(Prepared, Reply<Answers>)>) {
        if group.is_empty() {
            return;
        }
        let (batches, replies): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        match self.attempt(|writer, engine| writer.write(engine, batches)) {
            Ok(answers) => {
                faults::reach(Point::BeforeAnswer);
                for (reply, answers) in replies.into_iter().zip(answers) {
                    let _ = reply.send(Ok(answers));
                }
            }
            Err(error) => {
                let what: Arc<str> = chain(&error).into();
                for reply in replies {
                    let _ = reply.send(Err(StoreError::Unavailable {
                        what: what.to_string(),
                        source: None,
                    }));
                }
            }
        }
        self.keep_house();
    }

    /// Does something that writes. Any error of it makes the store fail until it is healed.
    fn attempt<T>(
        &mut self,
        action: impl FnOnce(&mut Self, &Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.shared.health().check()?;
        let shared = Arc::clone(&self.shared);
        let engine = shared.engine();
        let engine = engine.as_ref().ok_or(StoreError::Closed)?;
        let done = guarded(|| action(self, engine))
            .unwrap_or_else(|panic| Err(StoreError::unavailable("writing panicked", panic)));
        if let Err(error) = &done {
            if !faults::planted(Bug::KeepCacheAfterFailure) {
                self.known.clear();
            }
            self.in_doubt |= leaves_doubt(error);
            self.shared.set_health(Health::Failed(chain(error).into()));
        }
        done
    }

    fn write(
        &mut self,
        engine: &Engine,
        batches: Vec<Prepared>,
    ) -> Result<Vec<Answers>, StoreError> {
        faults::reach(Point::BeforeEncode);
        let began = clock::real();
        let before = self.meta;
        let mut plan = Plan::new(engine, before.commit + 1);
        let mut all = Vec::with_capacity(batches.len());
        for Prepared { generation, supervised, commits, bookmarks } in batches {
            let ended = self.generation != Some(generation);
            if ended && !faults::planted(Bug::AcceptEndedGeneration) {
                all.push(commits.iter().map(|_| Err(Refusal::GenerationEnded)).collect());
                continue;
            }
            if !faults::planted(Bug::ForgetSupervisedTime) {
                self.meta.supervised = self.meta.supervised.max(supervised);
            }
            let mut answers = Vec::with_capacity(commits.len());
            for ready in commits {
                if plan.touches(&ready.commit) || plan.bytes() >= TRANSACTION {
                    plan = self.apply(plan)?;
                }
                answers.push(plan.commit(ready, &mut self.known)?);
            }
            for bookmark in &bookmarks {
                plan.bookmark(bookmark)?;
            }
            all.push(answers);
        }
        faults::reach(Point::AfterEncode);
        if !plan.is_empty() || self.meta.supervised != before.supervised {
            self.apply(plan)?;
        }
        if self.meta.commit != before.commit {
            self.collector.collect(engine, began.elapsed())?;
            self.make_durable(engine)?;
        }
        Ok(all)
    }

    /// Waits for what is to be done next. Where nothing comes for a while, what can wait is done, a
    /// little at a time: there is other work for the cores than ours.
    fn next(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        while self.collector.is_due() {
            if let Received::Next(job) = receive(queue, QUIET) {
                return job;
            }
            let until = clock::real() + LITTLE;
            let go_on = || queue.is_empty() && !queue.is_closed() && clock::real() < until;
            // What fails here fails the next commit too.
            let done = self.attempt(|writer, engine| writer.collector.collect_while(engine, go_on));
            if done.is_err() {
                break;
            }
        }
        queue.blocking_recv()
    }

    /// Writes a plan and gives the one for what follows.
    fn apply<'a>(&mut self, plan: Plan<'a>) -> Result<Plan<'a>, StoreError> {
        let engine = plan.engine;
        self.meta.commit = plan.number;
        if let Some(end) = &mut self.meta.log {
            end.last += plan.logged();
        }
        if let Some(held) = &mut self.meta.held {
            plan.weigh(held);
        }
        self.shared.applying(plan.number);
        #[cfg(test)]
        self.shared.count(plan.bytes());
        self.collector.left(plan.dead());
        faults::reach(Point::BeforePut);
        plan.apply(&self.meta)?;
        faults::reach(Point::AfterPut);
        Ok(Plan::new(engine, self.meta.commit + 1))
    }

    fn make_durable(&mut self, engine: &Engine) -> Result<(), StoreError> {
        faults::reach(Point::BeforeFlush);
        if faults::planted(Bug::AcknowledgeBeforeFlush) {
            self.shared.durable(self.meta.commit);
            return Ok(());
        }
        engine.flush()?;
        faults::reach(Point::AfterFlush);
        match self.durability {
            Durability::Synced => {
                engine.sync()?;
                faults::reach(Point::AfterSync);
                self.write_mark(self.mark.mark().length)?;
                faults::reach(Point::AfterMark);
            }
            // The mark must not be ahead of the device.
            Durability::Flushed => {}
        }
        self.shared.durable(self.meta.commit);
        Ok(())
    }

    fn write_mark(&mut self, length: u64) -> Result<(), StoreError> {
        if faults::planted(Bug::ForgetMark) {
            return Ok(());
        }
        let meta = self.meta;
        self.mark
            .write(|mark| {
                mark.commit = meta.commit;
                mark.generation = meta.generation;
                mark.length = length;
            })
            .map_err(|error| StoreError::unavailable("writing the mark failed", error))
    }

    /// Brings the mark up to date and onto the device.
    fn settle(&mut self, engine: &Engine) -> Result<(), StoreError> {
        engine.flush()?;
        engine.sync()?;
        faults::reach(Point::SettleSynced);
        self.write_mark(engine.length())?;
        faults::reach(Point::SettleMarked);
        self.mark.sync().map_err(|error| StoreError::unavailable("syncing the mark failed", error))
    }

    fn begin(&mut self, generation: WorkerGeneration) -> Result<store::Opened, StoreError> {
        faults::reach(Point::BeforeBegin);
        self.attempt(|writer, engine| {
            writer.meta.generation = Some(generation);
            writer.meta.log.get_or_insert_default().begin(generation);
            let plan = Plan::new(engine, writer.meta.commit + 1);
            writer.apply(plan)?;
            faults::reach(Point::BeginPut);
            writer.settle(engine)?;
            faults::reach(Point::AfterBegin);
            writer.shared.durable(writer.meta.commit);
            writer.generation = Some(generation);
            // The runs of the worker before have ended.
            writer.known.clear();
            damage::scan(engine);
            Ok(store::Opened::new(writer.meta.supervised, Vec::new()))
        })
    }

    /// Removes a part of what is left of a deleted session.
    fn purge(&mut self, purge: &Purge) -> Result<Result<Purged, Refusal>, StoreError> {
        self.remove(purge.generation, |plan, known| plan.purge(purge, known))
    }

    /// Removes a part of the older events of a session.
    fn trim(&mut self, trim: &Trim) -> Result<Result<Purged, Refusal>, StoreError> {
        self.remove(trim.generation, |plan, _| plan.trim(trim))
    }

    fn remove(
        &mut self,
        by: WorkerGeneration,
        remove: impl FnOnce(&mut Plan<'_>, &mut Cache) -> Result<Result<Purged, Refusal>, StoreError>,
    ) -> Result<Result<Purged, Refusal>, StoreError> {
        self.attempt(|writer, engine| {
            if writer.generation != Some(by) {
                return Ok(Err(Refusal::GenerationEnded));
            }
            let mut plan = Plan::new(engine, writer.meta.commit + 1);
            let answer = remove(&mut plan, &mut writer.known)?;
            if !plan.is_empty() {
                writer.apply(plan)?;
                writer.make_durable(engine)?;
            }
            Ok(answer)
        })
    }

    /// What can wait is done now and then. Its failure hinders nobody: it is tried again.
    fn keep_house(&mut self) {
        if !self.meta.commit.is_multiple_of(HOUSEKEEPING) {
            return;
        }
        // Only a store that syncs has a mark that is true at every moment.
        if self.durability == Durability::Synced {
            let _ = self.mark.sync();
        }
        if !self.has_reserve {
            self.has_reserve = reserve::make(&self.layout.reserve()).unwrap_or(false);
        }
    }

    fn heal(&mut self) -> Result<(), StoreError> {
        match self.shared.health() {
            Health::Well => {
                if !self.has_reserve {
                    self.has_reserve = reserve::make(&self.layout.reserve()).unwrap_or(false);
                }
                return Ok(());
            }
            Health::Closed => return Err(StoreError::Closed),
            Health::Failed(_) => {}
        }
        if self.in_doubt {
            return Err(StoreError::Unavailable {
                what: "the disk failed, so it is not known what it holds; \
                       check the disk and start the worker anew"
                    .to_owned(),
                source: None,
            });
        }
        let shared = Arc::clone(&self.shared);
        let mut slot = shared.engine_mut();
        // Its last flush can panic too.
        let _ = guarded(|| drop(slot.take()));
        faults::reach(Point::HealReleased);
        reserve::give_back(&self.layout.reserve())
            .map_err(|error| StoreError::unavailable("the reserve was not given back", error))?;
        self.has_reserve = false;
        faults::reach(Point::HealRoom);
        let engine = self.reopen()?;
        faults::reach(Point::HealOpen);
        self.shared.applying(self.meta.commit);
        self.shared.durable(self.meta.commit);
        *slot = Some(engine);
        self.shared.set_health(Health::Well);
        drop(slot);
        self.has_reserve = reserve::make(&self.layout.reserve()).unwrap_or(false);
        Ok(())
    }

    /// Opens the database again and checks that nothing acknowledged is missing.
    fn reopen(&mut self) -> Result<Engine, StoreError> {
        let damages = Arc::clone(&self.shared.damages);
        let engine = Engine::open(&self.layout.sled(), self.cache_capacity, damages)
            .map_err(|error| error.into_store_error(&self.layout))?;
        let meta = Meta::read(&engine)?.unwrap_or_default();
        if meta.commit < self.mark.mark().commit {
            return Err(StoreError::Unavailable {
                what: format!(
                    "after opening it again it holds commit {} and should hold {}; \
                     close it and repair it",
                    meta.commit,
                    self.mark.mark().commit
                ),
                source: None,
            });
        }
        self.meta = meta;
        Ok(engine)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        faults::reach(Point::BeforeClose);
        let settled = match self.shared.health() {
            Health::Well => self.attempt(|writer, engine| writer.settle(engine)),
            Health::Failed(_) | Health::Closed => Ok(()),
        };
        faults::reach(Point::CloseSettled);
        self.shared.set_health(Health::Closed);
        let mut slot = self.shared.engine_mut();
        let _ = guarded(|| drop(slot.take()));
        faults::reach(Point::AfterClose);
        settled
    }
}

/// An error with its sources, in one line: it is given to many.
fn chain(error: &StoreError) -> String {
    let said = match error {
        StoreError::Unavailable { what, .. } => what.clone(),
        StoreError::InUse { .. }
        | StoreError::Open { .. }
        | StoreError::StoreDamaged { .. }
        | StoreError::Damaged { .. }
        | StoreError::Closed => error.to_string(),
    };
    with_sources(said, error)
}
