//! A workload that does what its inputs say.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Alarm, Context, Event, Outcome, Rollover, Run, RunEnd, Start, StepError, Usage, Workload,
    WorkloadError,
};

/// The state of a [`Scripted`] session: what it has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What its inputs added up to.
    pub sum: i64,
    /// The numbers of its inputs, in the order in which they took effect. Each is there once, but
    /// for one that [saved](Do::SaveThenFail) in the middle of its turn; and zeros, where it
    /// [grew](Do::Grow).
    pub seen: Vec<u64>,
}

/// An input of a [`Scripted`] session: what it is told to do in one turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Do {
    /// Add to the sum.
    Add(i64),
    /// Add 1, and on so many first attempts fail after that.
    FailTimes(u32),
    /// Add 1, and on so many first attempts panic after that.
    PanicTimes(u32),
    /// Fail for good.
    FailForGood,
    /// Fail and name the wait, once.
    FailAndRetryAfter(Duration),
    /// Complete.
    Complete,
    /// Ignore every request for this long, then complete.
    CompleteAfter(Duration),
    /// Ignore every request for this long, then fail, once.
    FailAfter(Duration),
    /// Return though nobody asked.
    Yield,
    /// Give no sign for this long.
    Silent(Duration),
    /// The same, declared.
    Busy {
        /// The limit that is declared.
        limit: Duration,
        /// What it takes.
        takes: Duration,
    },
    /// Wait for a person for this long.
    Await(Duration),
    /// Beat in this measure so many times, deaf to every request.
    Beat {
        /// The time before each beat.
        every: Duration,
        /// How many there are.
        times: u32,
    },
    /// Block the thread until the [gate](Probe::close_gate) opens.
    Block,
    /// Add and save progress in the middle of the turn, add much more, then fail, once.
    SaveThenFail(i64),
    /// Take a [step](Run::step) that gives this number, fail, once, and add what the step gave. One
    /// that was interrupted is retried.
    StepThenFail(i64),
    /// Emit so many events.
    Emit(u32),
    /// Record so many tokens.
    Spend(u64),
    /// Ignore every request for this long, beating once a second.
    Deaf(Duration),
    /// Grow the state by so many bytes.
    Grow(usize),
    /// Roll the session over: its successor begins with this sum.
    RollOver(i64),
    /// Sleep until the alarm rings, on the first attempt, and add 1 on the next.
    SleepUntil(Alarm),
}

/// A workload that does what its inputs say, for tests of what is built around sessions: of a
/// [`Store`](crate::store::Store), of a policy, of what calls the verbs. Clones share their
/// [`Probe`], also across the workers of a test.
///
/// ```
/// use sessionkeeper::testing::{Do, Harness, Scripted, block_on};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// block_on(async {
///     let scripted = Scripted::default();
///     let workload = scripted.clone();
///     let harness = Harness::start(move |builder| builder.workload(workload.clone())).await;
///     let start = Scripted::start().input(Do::Add(40));
///     let session = harness.supervisor().start(start).await?.into_handle();
///     session.send(Do::PanicTimes(2)).await?; // adds 1 in its third run
///     session.send(Do::Emit(3)).await?;
///     session.send(Do::Add(1)).await?;
///     assert_eq!(harness.drained(&session).await.sum, 42); // a failed attempt is undone
///     assert_eq!(scripted.probe.runs(), 3);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Scripted {
    /// What is known about its runs.
    pub probe: Arc<Probe>,
}

impl Scripted {
    /// A session that has done nothing yet.
    pub fn start() -> Start<Self> {
        Start::new(Done::default())
    }
}

/// What is known about all runs of a [`Scripted`] workload.
#[derive(Default)]
pub struct Probe {
    runs: AtomicU32,
    live: AtomicU32,
    most_live: AtomicU32,
    closed: AtomicU32,
    blocked: AtomicU32,
    steps: AtomicU32,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Probe {
    /// How many runs have begun.
    pub fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    /// How many runs are alive.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::SeqCst)
    }

    /// How many runs were alive at once, at most.
    pub fn most_live(&self) -> u32 {
        self.most_live.load(Ordering::SeqCst)
    }

    /// How many runs were closed.
    pub fn closed(&self) -> u32 {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many runs have come to a gate.
    pub fn blocked(&self) -> u32 {
        self.blocked.load(Ordering::SeqCst)
    }

    /// How many steps were called.
    pub fn steps(&self) -> u32 {
        self.steps.load(Ordering::SeqCst)
    }

    /// Closes a gate for the next run that is told to [block](Do::Block); dropping the answer
    /// opens it. Without a gate nothing blocks.
    pub fn close_gate(&self) -> Gate {
        let (open, gate) = mpsc::channel();
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate);
        Gate { _open: open }
    }

    /// Whether a run has come to the gate that was closed last.
    pub fn is_at_gate(&self) -> bool {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn block(&self) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(gate) = gate {
            self.blocked.fetch_add(1, Ordering::SeqCst);
            // Nothing is sent: the end of the wait is an error.
            let _ = gate.recv();
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("runs", &self.runs())
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

/// Keeps a gate closed until it is dropped.
#[derive(Debug)]
#[must_use = "the gate opens where this is dropped"]
pub struct Gate {
    _open: mpsc::Sender<()>,
}

struct Alive<'a>(&'a Probe);

impl<'a> Alive<'a> {
    fn new(probe: &'a Probe) -> Self {
        probe.runs.fetch_add(1, Ordering::SeqCst);
        let live = probe.live.fetch_add(1, Ordering::SeqCst) + 1;
        probe.most_live.fetch_max(live, Ordering::SeqCst);
        Self(probe)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Scripted {
    async fn take_step(&self, run: &Run, number: i64) -> Result<i64, StepError> {
        let call = async |_| {
            self.probe.steps.fetch_add(1, Ordering::SeqCst);
            Ok::<_, WorkloadError>(number)
        };
        match run.step("add", call).await {
            Err(StepError::Interrupted(_)) => run.retry_step("add", call).await,
            given => given,
        }
    }
}

impl Workload for Scripted {
    const KIND: &'static str = "scripted";
    const STATE_VERSION: u32 = 1;
    type State = Done;
    type Input = Do;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let _alive = Alive::new(&self.probe);
        while let Some(input) = cx.next_input().await? {
            let attempt = input.attempt();
            cx.state_mut().seen.push(input.sequence());
            match input.into_inner() {
                Do::Add(number) => cx.state_mut().sum += number,
                Do::FailTimes(times) => {
                    cx.state_mut().sum += 1;
                    if attempt <= times {
                        return Err("told to fail".into());
                    }
                }
                Do::PanicTimes(times) => {
                    cx.state_mut().sum += 1;
                    assert!(attempt > times, "told to panic");
                }
                Do::FailForGood => return Err(WorkloadError::permanent("told to fail for good")),
                Do::FailAndRetryAfter(wait) => {
                    if attempt == 1 {
                        return Err(WorkloadError::retry_after(wait, "told to wait"));
                    }
                }
                Do::Complete => return Ok(Outcome::Completed),
                Do::CompleteAfter(span) => {
                    tokio::time::sleep(span).await;
                    return Ok(Outcome::Completed);
                }
                Do::FailAfter(span) => {
                    tokio::time::sleep(span).await;
                    if attempt == 1 {
                        return Err("told to fail late".into());
                    }
                }
                Do::Yield => return Ok(Outcome::Yielded),
                Do::Silent(span) => tokio::time::sleep(span).await,
                Do::Busy { limit, takes } => {
                    cx.busy(limit, tokio::time::sleep(takes)).await?;
                }
                Do::Await(span) => {
                    let _waiting = cx.awaiting("an answer");
                    tokio::time::sleep(span).await;
                }
                Do::Beat { every, times } => {
                    for _ in 0..times {
                        tokio::time::sleep(every).await;
                        cx.heartbeat();
                    }
                }
                Do::Block => self.probe.block(),
                Do::SaveThenFail(number) => {
                    if attempt == 1 {
                        cx.state_mut().sum += number;
                        cx.save_progress().await?;
                        cx.state_mut().sum += 1_000_000;
                        return Err("told to fail after saving".into());
                    }
                }
                Do::StepThenFail(number) => {
                    let given = self.take_step(cx, number).await?;
                    if attempt == 1 {
                        return Err("told to fail after a step".into());
                    }
                    cx.state_mut().sum += given;
                }
                Do::Emit(count) => {
                    for index in 0..count {
                        cx.emit(Event::custom("tick", index)).await?;
                    }
                }
                Do::Spend(tokens) => cx.record_usage(Usage::tokens(tokens, 0)),
                Do::Deaf(span) => {
                    for _ in 0..span.as_secs() {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        cx.heartbeat();
                    }
                }
                Do::SleepUntil(alarm) => {
                    if attempt == 1 {
                        return Ok(Outcome::SleepUntil(alarm));
                    }
                    cx.state_mut().sum += 1;
                }
                Do::RollOver(sum) => {
                    let next = Done { sum, ..Done::default() };
                    return Ok(cx.rollover(Rollover::new(next)));
                }
                Do::Grow(bytes) => {
                    let more = vec![0; bytes / 2];
                    cx.state_mut().seen.extend(more);
                }
            }
        }
        Ok(Outcome::Yielded)
    }

    async fn close(&self, _: &Run, _: &RunEnd) {
        self.probe.closed.fetch_add(1, Ordering::SeqCst);
    }
}
