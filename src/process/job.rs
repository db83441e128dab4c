//! A program of a session, and what becomes of its output.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::{JoinError, JoinHandle},
    time::timeout,
};

use super::{
    child::{CLOSE_GRACE, Child},
    error::ProcessError,
    exit::{ExitCause, ProcessEnd},
    json::MapJson,
    spec::{InterruptBy, ProcessSpec},
    transcript::{Summary, Transcript},
    workload::{ProcessInput, ProcessState},
};
use crate::{
    Event, Held, Input, Resource, Run, RunEnd,
    faults::{self, Bug},
};

/// When nothing is read of a frozen program for so long, nothing is left in its pipe. It is longer than a chunk waits for
/// more.
const STILL: Duration = Duration::from_millis(30);

/// A program and what becomes of its output: held by the session's run, and while it is frozen by the session.
pub(super) struct Job<M> {
    pub(super) child: Child,
    transcript: AsyncMutex<Transcript<M>>,
    pub(super) summary: watch::Receiver<Summary>,
    /// The input that was written last.
    given: Mutex<Option<Given>>,
    /// How many lines are in the state already.
    noted: Mutex<u64>,
    interrupt_by: InterruptBy,
    codes: Vec<i32>,
}

/// The task that records what a program prints.
pub(super) struct Reading(Option<JoinHandle<()>>);

impl Reading {
    pub(super) fn begin<M: MapJson>(run: &Run, job: &Held<Job<M>>) -> Self {
        let job = job.clone();
        Self(Some(run.spawn(async move { job.read().await })))
    }

    /// Whether it is known to be over.
    pub(super) const fn is_over(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until it is over. It fails where it panicked, as a mapper may.
    pub(super) async fn done(&mut self) -> Result<(), JoinError> {
        match &mut self.0 {
            Some(task) => {
                let read = task.await;
                self.0 = None;
                read
            }
            None => Ok(()),
        }
    }

    /// Interrupts it.
    pub(super) async fn abort(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
        // That it was interrupted is no news.
        let _ = self.done().await;
    }
}

/// An input that was written to the program.
#[derive(Debug, Clone, Copy)]
struct Given {
    sequence: u64,
    /// How many turns the program had ended before.
    turns: u64,
}

impl<M: MapJson> Job<M> {
    pub(super) fn new(child: Child, transcript: Transcript<M>, spec: &ProcessSpec) -> Self {
        Self {
            child,
            summary: transcript.summary(),
            transcript: AsyncMutex::new(transcript),
            given: Mutex::default(),
            noted: Mutex::default(),
            interrupt_by: spec.interrupt_by().clone(),
            codes: spec.success_codes().to_vec(),
        }
    }

    /// Hands it to the next run of its session.
    pub(super) async fn hand_to(&self, run: &Run) {
        self.transcript.lock().await.hand_to(run);
        self.child.thaw().await;
    }

    /// Records what the program prints, until it prints no more. It may be interrupted, and begun again.
    async fn read(&self) {
        let mut transcript = self.transcript.lock().await;
        let run = transcript.run();
        transcript.flush().await;
        while let Some(chunk) = self.child.read(|| run.heartbeat()).await {
            transcript.take(chunk);
            transcript.flush().await;
        }
        transcript.finish().await;
    }

    /// Records what a program had printed when it was frozen.
    pub(super) async fn read_rest(&self) {
        let mut transcript = self.transcript.lock().await;
        transcript.flush().await;
        while let Ok(Some(chunk)) = timeout(STILL, self.child.read(|| {})).await {
            transcript.take(chunk);
            transcript.flush().await;
        }
    }

    /// Gives the program an input, and waits until it is done with it where it says so. One that it had been given
    /// before it was frozen is not written again.
    pub(super) async fn turn(&self, run: Run, input: Input<ProcessInput>, until_done: bool) {
        let sequence = input.sequence();
        let mut summary = self.summary.clone();
        let turns = summary.borrow().turns;
        let before = *lock(&self.given);
        let is_same =
            |before: &Given| before.sequence == sequence && !faults::planted(Bug::GiveInputAgain);
        let given = match before.filter(is_same) {
            Some(before) => before,
            None => {
                let given = Given { sequence, turns };
                *lock(&self.given) = Some(given);
                if let Err(error) = self.write(input.into_inner()).await {
                    let _ = run.emit(Event::error(error.to_string())).await;
                    return;
                }
                given
            }
        };
        if !until_done {
            return;
        }
        // The sender lives in the job.
        let done = async { drop(summary.wait_for(|now| now.turns > given.turns).await) };
        let mut done = pin!(done);
        loop {
            tokio::select! {
                biased;
                () = &mut done => break,
                () = run.interrupted() => self.interrupt(&run).await,
            }
        }
        if run.is_interrupted() {
            // It may be given again, and is then another turn.
            *lock(&self.given) = None;
        }
    }

    /// Tells the program that its turn is interrupted.
    async fn interrupt(&self, run: &Run) {
        match &self.interrupt_by {
            InterruptBy::Nothing => {}
            InterruptBy::Signal => self.child.interrupt().await,
            InterruptBy::Line(line) => {
                if let Err(error) = self.child.write_line(line).await {
                    // A fenced run says nothing.
                    let _ = run.emit(Event::error(error.to_string())).await;
                }
            }
        }
    }

    async fn write(&self, input: ProcessInput) -> Result<(), ProcessError> {
        match input {
            ProcessInput::Text(text) => self.child.write_line(&text).await,
            ProcessInput::Json(value) => self.child.write_line(&value.to_string()).await,
            ProcessInput::EndOfFile => {
                self.child.close_input().await;
                Ok(())
            }
        }
    }

    /// Brings the state up to date with what was printed.
    pub(super) fn note(&self, state: &mut ProcessState) {
        let Summary { lines, last_line, external_id, .. } = self.summary.borrow().clone();
        let noted = std::mem::replace(&mut *lock(&self.noted), lines);
        state.lines += lines - noted;
        state.last_line = last_line.or(state.last_line.take());
        state.external_id = external_id.or(state.external_id.take());
    }

    pub(super) fn is_success(&self, end: &ProcessEnd) -> bool {
        match end.cause {
            ExitCause::Exited { code } => self.codes.contains(&code),
            ExitCause::Signaled { .. } if faults::planted(Bug::TakeDeathForSuccess) => true,
            ExitCause::Signaled { .. }
            | ExitCause::OutOfMemory
            | ExitCause::Stopped { .. }
            | ExitCause::Unknown
            | ExitCause::NotStarted => false,
        }
    }

    pub(super) async fn tell_end(&self, end: &ProcessEnd) {
        let mut transcript = self.transcript.lock().await;
        transcript.tell_end(end, self.is_success(end));
        transcript.finish().await;
    }
}

impl<M: MapJson> Resource for Job<M> {
    /// The run did not end it: it was cancelled, or is gone. What the program prints meanwhile, and how it ends, is
    /// recorded as long as the run is not settled; that of a program that was frozen is, and leaves it as last words.
    async fn close(&self, _end: &RunEnd) {
        let (end, ()) = tokio::join!(self.child.end(CLOSE_GRACE), self.read());
        self.tell_end(&end).await;
    }

    /// How the program ended, and what it printed before.
    fn last_words(&self) -> Vec<Event> {
        // Who holds it may have been interrupted by now, and then there is nothing to say.
        self.transcript.try_lock().map(|mut told| told.take_unsaid()).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
