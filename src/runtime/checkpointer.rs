//! The one way to the store's write side: commits that wait go out together, in one batch, and
//! each is answered when it is durable.
//!
//! A commit that was handed in is never withdrawn. When the store fails, its owner is told once
//! and the commit is submitted again until the store answers it; the contract of
//! [`Store`](crate::store::Store) makes the repetition harmless.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::store_cell::StoreCell;
use crate::{
    clock::Clock,
    faults::{self, Bug, Point},
    model::{ids::WorkerGeneration, step::StoredStep},
    store::{Batch, Commit, Refusal, StoreError},
    telemetry::{self, Meters, Stamp},
};

/// The most commits of one batch.
const MAX_BATCH: usize = 1024;
/// No batch is smaller than this while more waits.
const MIN_BATCH: usize = 64;
/// The most bytes of snapshots, inputs and steps of one batch, unless a single commit has more.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// How many batches the store may have at once.
const UNDER_WAY: usize = 4;
/// How long a failed store is left alone, at first and at most.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How often the supervised time is stored when nothing else is.
const IDLE_COMMIT: Duration = Duration::from_secs(15);

/// What became of a commit.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// It is durable.
    Done,
    /// It was refused; nothing of it was done.
    Refused(Refusal),
    /// The store failed. The commit is still under way: another answer follows.
    Delayed(Arc<StoreError>),
}

/// Is told what became of a commit.
pub(crate) type OnAnswer = Box<dyn FnMut(Answer) + Send>;

struct Job {
    commit: Arc<Commit>,
    on_answer: OnAnswer,
    told: bool,
    handed_in: Stamp,
}

enum Message {
    Commit(Job),
    /// Answered when everything handed in before it has been.
    Flush(oneshot::Sender<()>),
}

/// Hands commits in. Clones share the way.
#[derive(Clone)]
pub(crate) struct Checkpointer {
    jobs: mpsc::UnboundedSender<Message>,
    health: Arc<Health>,
}

/// How the store does.
#[derive(Debug, Default)]
pub(crate) struct Health {
    degraded: AtomicBool,
    error: Mutex<Option<Arc<StoreError>>>,
}

impl Health {
    /// What the store failed with, while it fails.
    pub(crate) fn error(&self) -> Option<Arc<StoreError>> {
        if !self.degraded.load(Ordering::Acquire) {
            return None;
        }
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, error: Option<Arc<StoreError>>) {
        let degraded = error.is_some();
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.degraded.store(degraded, Ordering::Release);
    }
}

impl Checkpointer {
    /// The way, and the task that serves it; the task ends when it is aborted.
    pub(crate) fn new(
        store: StoreCell,
        generation: WorkerGeneration,
        clock: Clock,
        meters: Meters,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let health = Arc::new(Health::default());
        let health_of_task = Arc::clone(&health);
        let task = Task {
            store,
            generation,
            clock,
            inbox,
            waiting: Vec::new(),
            under_way: FuturesOrdered::new(),
            commits: 0,
            bytes: 0,
            health: health_of_task,
            meters,
        };
        (Self { jobs, health }, task.run())
    }

    /// Hands a commit in. Where the worker has ended, nothing answers.
    pub(crate) fn submit(&self, commit: Arc<Commit>, on_answer: OnAnswer) {
        let job = Job { commit, on_answer, told: false, handed_in: Stamp::now() };
        let _ = self.jobs.send(Message::Commit(job));
    }

    /// Waits until everything that was handed in before has been answered.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.jobs.send(Message::Flush(done)).is_ok() {
            let _ = flushed.await;
        }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }
}

struct Task {
    store: StoreCell,
    generation: WorkerGeneration,
    clock: Clock,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// What was received and not handed in yet.
    waiting: Vec<Message>,
    /// What the store has, in the order in which it was handed in.
    under_way: FuturesOrdered<Pin<Box<dyn Future<Output = Committed> + Send>>>,
    /// How much that is.
    commits: usize,
    bytes: usize,
    health: Arc<Health>,
    meters: Meters,
}

/// What goes out together.
#[derive(Default)]
struct Group {
    jobs: Vec<Job>,
    flushes: Vec<oneshot::Sender<()>>,
    /// Of snapshots, inputs and steps.
    bytes: usize,
}

type Answers = Result<Vec<Result<(), Refusal>>, StoreError>;

/// A group with the answers of the store; `None` where the worker is over.
type Committed = (Group, Option<Answers>);

impl Task {
    async fn run(mut self) {
        while self.step().await.is_some() {}
    }

    /// Sees to what comes next. There is no more where the worker is over; nobody is told then.
    async fn step(&mut self) -> Option<()> {
        tokio::select! {
            biased;
            Some(committed) = self.under_way.next() => self.settle(committed).await?,
            received = self.inbox.recv_many(&mut self.waiting, MAX_BATCH),
                if self.waiting.is_empty() =>
            {
                if received == 0 {
                    while let Some(committed) = self.under_way.next().await {
                        self.settle(committed).await?;
                    }
                    return None;
                }
            }
            () = tokio::time::sleep(IDLE_COMMIT), if self.under_way.is_empty() => {
                self.hand_in(Group::default());
            }
        }
        while self.has_room() && !self.waiting.is_empty() {
            let share = self.share();
            let group = Group::take(&mut self.waiting, share);
            self.hand_in(group);
        }
        Some(())
    }

    /// The store is given the next batch before it has answered the last, so that it need never
    /// wait for one.
    fn has_room(&self) -> bool {
        self.under_way.len() < UNDER_WAY && self.bytes < MAX_BATCH_BYTES
    }

    /// An even share of what is to be committed: where one batch has most of it, the store waits
    /// while the many who were answered at once think of what to commit next.
    fn share(&self) -> usize {
        let all = self.commits + self.waiting.len();
        (all / UNDER_WAY).clamp(MIN_BATCH, MAX_BATCH)
    }

    fn hand_in(&mut self, mut group: Group) {
        if faults::planted(Bug::AnswerBeforeCommit) {
            group.jobs.iter_mut().for_each(|job| (job.on_answer)(Answer::Done));
        }
        self.commits += group.jobs.len();
        self.bytes += group.bytes;
        let committing = self.commit(&group);
        self.under_way.push_back(Box::pin(async { (group, committing.await) }));
    }

    /// Gives a group to the store.
    fn commit(&self, group: &Group) -> impl Future<Output = Option<Answers>> + Send + use<> {
        let batch = Batch {
            generation: self.generation,
            supervised: self.clock.supervised(),
            commits: group.jobs.iter().map(|job| Arc::clone(&job.commit)).collect(),
            bookmarks: Vec::new(),
        };
        let store = self.store.get();
        async {
            let store = store.ok()?;
            faults::reach(Point::Batched);
            Some(store.commit(batch).await)
        }
    }

    /// What came back is under way no more.
    const fn take_off(&mut self, group: &Group) {
        self.commits -= group.jobs.len();
        self.bytes -= group.bytes;
    }

    /// Sees to a group that came back.
    async fn settle(&mut self, (group, answers): Committed) -> Option<()> {
        self.take_off(&group);
        match answers? {
            Ok(answers) => {
                self.finish(group, answers);
                Some(())
            }
            Err(error) => self.insist(group, error).await,
        }
    }

    /// Answers all who wait for a group, and everybody that the store is well.
    fn finish(&self, group: Group, answers: Vec<Result<(), Refusal>>) {
        self.health.set(None);
        self.answer(group.jobs, answers);
        for done in group.flushes {
            // Whoever waited for it may be gone.
            let _ = done.send(());
        }
    }

    fn answer(&self, jobs: Vec<Job>, mut answers: Vec<Result<(), Refusal>>) {
        self.meters.batch(jobs.len());
        faults::reach(Point::AfterAnswer);
        if faults::planted(Bug::MixAnswersUp) {
            answers.reverse();
        }
        for (mut job, answer) in jobs.into_iter().zip(answers) {
            (job.on_answer)(match answer {
                Ok(()) => {
                    self.meters.committed(&job.commit, job.handed_in);
                    Answer::Done
                }
                Err(refusal) => Answer::Refused(refusal),
            });
        }
    }

    /// Commits what the store failed to, however long that takes to heal.
    async fn insist(&mut self, mut failed: Group, error: StoreError) -> Option<()> {
        let mut error = Arc::new(error);
        let mut attempt = 0_u32;
        let mut wait = FIRST_RETRY;
        loop {
            attempt = attempt.saturating_add(1);
            telemetry::store_failed(&*error, attempt);
            self.meters.store_failed();
            self.health.set(Some(Arc::clone(&error)));
            failed.delay(&error);
            self.gather(&mut failed, &error).await?;
            if faults::planted(Bug::ForgetFailedBatch) {
                return Some(());
            }
            self.receive_until(Instant::now() + wait, &error).await;
            wait = (wait * 2).min(LAST_RETRY);
            // A failed attempt to heal shows again in the commit that follows.
            if let Ok(store) = self.store.get() {
                let _ = store.heal().await;
            }
            match self.commit(&failed).await? {
                Ok(answers) => {
                    telemetry::store_healed(attempt);
                    self.finish(failed, answers);
                    return Some(());
                }
                Err(again) => error = Arc::new(again),
            }
        }
    }

    /// Waits for the rest of what is under way. What fails too is tried again with what failed
    /// before; nothing that was to be flushed after that is flushed yet.
    async fn gather(&mut self, failed: &mut Group, error: &Arc<StoreError>) -> Option<()> {
        while let Some((group, answers)) = self.under_way.next().await {
            self.take_off(&group);
            failed.flushes.extend(group.flushes);
            match answers? {
                Ok(answers) => self.answer(group.jobs, answers),
                Err(_) => {
                    self.meters.store_failed();
                    failed.jobs.extend(group.jobs);
                }
            }
        }
        failed.delay(error);
        Some(())
    }

    /// Waits, and tells those who hand in meanwhile that the store fails.
    async fn receive_until(&mut self, until: Instant, error: &Arc<StoreError>) {
        for message in &mut self.waiting {
            message.delay(error);
        }
        while let Ok(Some(mut message)) = tokio::time::timeout_at(until, self.inbox.recv()).await {
            message.delay(error);
            self.waiting.push(message);
        }
        tokio::time::sleep_until(until).await;
    }
}

impl Group {
    /// Takes from the front what makes one batch of at most so many.
    fn take(waiting: &mut Vec<Message>, most: usize) -> Self {
        let mut group = Self::default();
        for message in waiting.drain(..batch_end(waiting, most)) {
            group.bytes += message.bytes();
            match message {
                Message::Commit(job) => group.jobs.push(job),
                Message::Flush(done) => group.flushes.push(done),
            }
        }
        group
    }

    fn delay(&mut self, error: &Arc<StoreError>) {
        for job in &mut self.jobs {
            job.delay(error);
        }
    }
}

impl Message {
    /// The bytes of its snapshot, inputs and steps.
    fn bytes(&self) -> usize {
        match self {
            Self::Commit(Job { commit, .. }) => commit.both().map(bytes_of).sum(),
            Self::Flush(_) => 0,
        }
    }

    fn delay(&mut self, error: &Arc<StoreError>) {
        match self {
            Self::Commit(job) => job.delay(error),
            Self::Flush(_) => {}
        }
    }
}

fn bytes_of(commit: &Commit) -> usize {
    let snapshot = commit.snapshot.as_ref().map_or(0, |snapshot| snapshot.len());
    let inputs = commit.inputs.iter().map(|input| input.payload.len()).sum::<usize>();
    let steps = commit.steps.iter().map(StoredStep::bytes).sum::<usize>();
    snapshot + inputs + steps
}

impl Job {
    /// Tells the owner, once, that the store fails.
    fn delay(&mut self, error: &Arc<StoreError>) {
        if !std::mem::replace(&mut self.told, true) {
            (self.on_answer)(Answer::Delayed(Arc::clone(error)));
        }
    }
}

/// How many of the waiting messages make one batch of at most so many.
fn batch_end(waiting: &[Message], most: usize) -> usize {
    let mut bytes = 0_usize;
    for (index, message) in waiting.iter().enumerate().take(most) {
        bytes += message.bytes();
        if bytes > MAX_BATCH_BYTES && index > 0 {
            return index;
        }
    }
    waiting.len().min(most)
}

#[cfg(test)]
mod tests;
