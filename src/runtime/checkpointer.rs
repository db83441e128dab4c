//! The one way to the store's write side: commits that wait go out together, in one batch, and
//! each is answered when it is durable.
//!
//! A commit that was handed in is never withdrawn. When the store fails, its owner is told once
//! and the commit is submitted again until the store answers it; the contract of
//! [`Store`](crate::store::Store) makes the repetition harmless.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::store_cell::StoreCell;
use crate::{
    clock::Clock,
    faults::{self, Bug, Point},
    model::ids::WorkerGeneration,
    store::{Batch, Commit, Refusal, StoreError},
    telemetry,
};

/// The most commits of one batch.
const MAX_BATCH: usize = 1024;
/// The most bytes of snapshots and inputs of one batch, unless a single commit has more.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// How long a failed store is left alone, at first and at most.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How often those who were answered together are given way before the next batch is made.
const GIVE_WAY: u32 = 4;
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
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let health = Arc::new(Health::default());
        let health_of_task = Arc::clone(&health);
        let waiting = Vec::new();
        let task = Task { store, generation, clock, inbox, waiting, health: health_of_task };
        (Self { jobs, health }, task.run())
    }

    /// Hands a commit in. Where the worker has ended, nothing answers.
    pub(crate) fn submit(&self, commit: Arc<Commit>, on_answer: OnAnswer) {
        let job = Job { commit, on_answer, told: false };
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
    /// What was received and not committed yet.
    waiting: Vec<Message>,
    health: Arc<Health>,
}

impl Task {
    async fn run(mut self) {
        loop {
            if self.waiting.is_empty() {
                let received = tokio::time::timeout(
                    IDLE_COMMIT,
                    self.inbox.recv_many(&mut self.waiting, MAX_BATCH),
                );
                match received.await {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(_) => {
                        self.commit(Vec::new()).await;
                        continue;
                    }
                }
            }
            let rest = self.waiting.split_off(batch_end(&self.waiting));
            let mut jobs = Vec::new();
            let mut flushed = Vec::new();
            for message in std::mem::replace(&mut self.waiting, rest) {
                match message {
                    Message::Commit(job) => jobs.push(job),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            let together = jobs.len();
            if !jobs.is_empty() || !flushed.is_empty() {
                self.commit(jobs).await;
            }
            for done in flushed {
                let _ = done.send(());
            }
            self.give_way(together).await;
        }
    }

    /// Lets those go on who were just answered together, until half of them have come back: what
    /// these commit next goes out together too, while the others are at work, rather than the
    /// first of it alone and the rest after another sync.
    async fn give_way(&mut self, answered: usize) {
        let mut turns = 0;
        while turns < GIVE_WAY && self.waiting.len() < answered / 2 {
            tokio::task::yield_now().await;
            turns += 1;
            while let Ok(message) = self.inbox.try_recv() {
                self.waiting.push(message);
                turns = 0;
            }
        }
    }

    /// Commits a batch, however long the store takes to heal.
    async fn commit(&mut self, mut jobs: Vec<Job>) {
        if faults::planted(Bug::AnswerBeforeCommit) {
            jobs.iter_mut().for_each(|job| (job.on_answer)(Answer::Done));
        }
        let mut attempt = 0_u32;
        let mut wait = FIRST_RETRY;
        loop {
            let batch = Batch {
                generation: self.generation,
                supervised: self.clock.supervised(),
                commits: jobs.iter().map(|job| Arc::clone(&job.commit)).collect(),
            };
            let Ok(store) = self.store.get() else {
                // The worker is over, and nobody is told.
                return;
            };
            faults::reach(Point::Batched);
            let committed = store.commit(batch).await;
            drop(store);
            let error = match committed {
                Ok(mut answers) => {
                    faults::reach(Point::AfterAnswer);
                    if faults::planted(Bug::MixAnswersUp) {
                        answers.reverse();
                    }
                    if attempt > 0 {
                        telemetry::store_healed(attempt);
                    }
                    self.health.set(None);
                    for (mut job, answer) in jobs.into_iter().zip(answers) {
                        (job.on_answer)(match answer {
                            Ok(()) => Answer::Done,
                            Err(refusal) => Answer::Refused(refusal),
                        });
                    }
                    return;
                }
                Err(error) => Arc::new(error),
            };
            attempt = attempt.saturating_add(1);
            telemetry::store_failed(&*error, attempt);
            self.health.set(Some(Arc::clone(&error)));
            for job in &mut jobs {
                job.delay(&error);
            }
            if faults::planted(Bug::ForgetFailedBatch) {
                return;
            }
            self.receive_until(Instant::now() + wait, &error).await;
            wait = (wait * 2).min(LAST_RETRY);
            // A failed attempt to heal shows again in the commit that follows.
            if let Ok(store) = self.store.get() {
                let _ = store.heal().await;
            }
        }
    }
}

impl Task {
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

impl Message {
    fn delay(&mut self, error: &Arc<StoreError>) {
        match self {
            Self::Commit(job) => job.delay(error),
            Self::Flush(_) => {}
        }
    }
}

impl Job {
    /// Tells the owner, once, that the store fails.
    fn delay(&mut self, error: &Arc<StoreError>) {
        if !std::mem::replace(&mut self.told, true) {
            (self.on_answer)(Answer::Delayed(Arc::clone(error)));
        }
    }
}

/// How many of the waiting messages make one batch.
fn batch_end(waiting: &[Message]) -> usize {
    let mut bytes = 0_usize;
    for (index, message) in waiting.iter().enumerate().take(MAX_BATCH) {
        if let Message::Commit(job) = message {
            bytes += job.commit.snapshot.as_ref().map_or(0, |snapshot| snapshot.len());
            bytes += job.commit.inputs.iter().map(|input| input.payload.len()).sum::<usize>();
        }
        if bytes > MAX_BATCH_BYTES && index > 0 {
            return index;
        }
    }
    waiting.len().min(MAX_BATCH)
}

#[cfg(test)]
mod tests;
