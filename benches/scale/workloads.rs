//! The workloads that are measured, and how many of them are brought up.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Builder, Context, Event, Outcome, SessionHandle, Start, State, Supervisor, Workload,
    WorkloadError,
    store::{Query, SledStore},
};
use tokio::{
    sync::{Barrier, Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};

use crate::readings::Times;

/// How many callers ask at once.
pub(crate) const CALLERS: usize = 512;

/// Has no state and does nothing.
pub(crate) struct Idle;

impl Workload for Idle {
    const KIND: &'static str = "idle";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }
}

/// A state of a certain size that no compression makes smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) round: u64,
    text: String,
    sum: u32,
}

impl Text {
    pub(crate) fn new(round: u64, bytes: usize) -> Self {
        let text = random_text(bytes).to_owned();
        let sum = crc32fast::hash(text.as_bytes());
        Self { round, text, sum }
    }

    /// Checks that it is what a round wrote.
    pub(crate) fn check(&self, round: u64, bytes: usize) -> anyhow::Result<()> {
        let Self { round: found, text, sum } = self;
        ensure!(*found == round, "the state is that of round {found}, and not {round}");
        ensure!(text.len() == bytes, "the text has {} bytes, and not {bytes}", text.len());
        ensure!(crc32fast::hash(text.as_bytes()) == *sum, "the text is another one");
        Ok(())
    }
}

/// Random letters and digits; others each time.
pub(crate) fn random_text(bytes: usize) -> &'static str {
    static POOL: OnceLock<String> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let letters = std::iter::repeat_with(fastrand::alphanumeric);
        letters.take(1 << 20).collect()
    });
    let from = fastrand::usize(..pool.len().saturating_sub(bytes).max(1));
    pool.get(from..from + bytes).unwrap_or(pool)
}

/// Puts other bytes into a value.
pub(crate) fn refresh(value: &mut [u8]) {
    for chunk in value.chunks_mut(1 << 16) {
        chunk.copy_from_slice(random_text(chunk.len()).as_bytes());
    }
}

/// What runs that work and whoever measures them tell one another.
#[derive(Clone)]
pub(crate) struct Signals {
    /// Where those wait that begin together.
    together: Arc<Barrier>,
    /// How long each commit of a run took.
    times: mpsc::UnboundedSender<Times>,
}

/// The other end of [`Signals`].
pub(crate) struct Conductor {
    together: Arc<Barrier>,
    times: mpsc::UnboundedReceiver<Times>,
}

impl Signals {
    /// For so many sessions that begin together.
    pub(crate) fn new(sessions: usize) -> (Self, Conductor) {
        let together = Arc::new(Barrier::new(sessions + 1));
        let (sender, times) = mpsc::unbounded_channel();
        let signals = Self { together: Arc::clone(&together), times: sender };
        (signals, Conductor { together, times })
    }
}

impl Conductor {
    /// Lets those begin that wait.
    pub(crate) async fn begin(&self) {
        self.together.wait().await;
    }

    /// Waits until so many sessions are at their next beginning, or done.
    pub(crate) async fn done(&mut self, sessions: usize) -> anyhow::Result<Times> {
        let bar = progress("commit", sessions);
        let mut all = Times::default();
        for _ in 0..sessions {
            all.extend(self.times.recv().await.context("the workload is gone")?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(all)
    }

    /// Has one session do its next commits.
    pub(crate) async fn step(&mut self) -> anyhow::Result<Times> {
        self.begin().await;
        self.done(1).await
    }
}

/// How often a run commits its state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Commits {
    /// How often it waits for the others and begins.
    pub(crate) beginnings: u64,
    /// How many commits follow each, one as soon as the last is durable.
    pub(crate) each: u64,
    /// How large the text is that it writes with each.
    pub(crate) bytes: usize,
}

/// Changes its state and commits it, as often as its inputs say.
async fn commit_as_told<W: Workload<Input = Commits>>(
    cx: &mut Context<W>,
    signals: &Signals,
    change: impl Fn(&mut W::State, usize) + Send + Sync,
) -> Result<Outcome, WorkloadError> {
    while let Some(commits) = cx.next_input().await? {
        for _ in 0..commits.beginnings {
            signals.together.wait().await;
            let mut times = Times::default();
            for _ in 0..commits.each {
                change(cx.state_mut(), commits.bytes);
                times.of(cx.checkpoint()).await?;
            }
            // Nobody has to wait for them.
            let _ = signals.times.send(times);
        }
    }
    Ok(Outcome::Yielded)
}

/// Commits a new text as often as an input says.
pub(crate) struct Rewriting(pub(crate) Signals);

impl Workload for Rewriting {
    const KIND: &'static str = "rewriting";
    const STATE_VERSION: u32 = 1;
    type State = Text;
    type Input = Commits;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let rewrite = |text: &mut Text, bytes| *text = Text::new(text.round + 1, bytes);
        commit_as_told(cx, &self.0, rewrite).await
    }
}

/// A conversation that only grows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Chat(pub(crate) Vec<String>);

impl Chat {
    /// One of so many messages of so many bytes.
    pub(crate) fn new(messages: usize, bytes: usize) -> Self {
        Self((0..messages).map(|_| random_text(bytes).to_owned()).collect())
    }
}

/// Adds a message and commits, as often as an input says.
pub(crate) struct Chatting(pub(crate) Signals);

impl Workload for Chatting {
    const KIND: &'static str = "chatting";
    const STATE_VERSION: u32 = 1;
    type State = Chat;
    type Input = Commits;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let say = |chat: &mut Chat, bytes| chat.0.push(random_text(bytes).to_owned());
        commit_as_told(cx, &self.0, say).await
    }
}

/// Tells as many events as an input says. They are durable when `told` has one permit more.
#[derive(Clone)]
pub(crate) struct Telling {
    pub(crate) told: Arc<Semaphore>,
}

/// An event of 200 bytes.
pub(crate) fn event() -> Event {
    Event::completion(random_text(200 - r#"{"type":"completion","message":""}"#.len()))
}

impl Workload for Telling {
    const KIND: &'static str = "telling";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = usize;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(count) = cx.next_input().await? {
            for _ in 0..*count {
                cx.emit(event()).await?;
            }
            cx.checkpoint().await?;
            self.told.add_permits(1);
        }
        Ok(Outcome::Yielded)
    }
}

/// Has a text for its state, and does nothing with it.
#[derive(Clone, Default)]
pub(crate) struct Resting {
    /// How many runs have begun.
    pub(crate) begun: Arc<AtomicUsize>,
    /// Those of them whose text was not as it should be.
    pub(crate) spoilt: Arc<AtomicUsize>,
}

/// The size of its text.
pub(crate) const RESTING: usize = 1 << 10;

impl Workload for Resting {
    const KIND: &'static str = "resting";
    const STATE_VERSION: u32 = 1;
    type State = Text;
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        if cx.state().check(0, RESTING).is_err() {
            self.spoilt.fetch_add(1, Ordering::Relaxed);
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }
}

/// A supervisor of a workload on a store in a folder.
pub(crate) async fn supervise(
    folder: &Path,
    workload: impl Workload,
) -> anyhow::Result<Supervisor> {
    Ok(builder(folder)?.workload(workload).start().await?)
}

/// The same, to be set up further.
pub(crate) fn builder(folder: &Path) -> anyhow::Result<Builder> {
    Ok(Supervisor::builder(SledStore::open(folder)?))
}

/// Starts so many sessions.
pub(crate) async fn start<W: Workload>(
    supervisor: &Supervisor,
    count: usize,
    state: impl Fn() -> W::State,
) -> anyhow::Result<Vec<SessionHandle<W>>> {
    let bar = progress("start", count);
    let all = stream::iter(0..count)
        .map(|_| supervisor.start(Start::<W>::new(state())))
        .buffered(CALLERS)
        .inspect(|_| bar.inc(1))
        .map_ok(|started| started.into_handle())
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(all)
}

/// Waits until all of them run: a start returns when it is durable, and the run begins right after.
pub(crate) async fn all_run<W: Workload>(sessions: &[SessionHandle<W>]) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    for session in sessions {
        while let Err(error) = session.heartbeat() {
            ensure!(Instant::now() < until, "{error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

/// Starts one session.
pub(crate) async fn start_one<W: Workload>(
    supervisor: &Supervisor,
    state: W::State,
) -> anyhow::Result<SessionHandle<W>> {
    Ok(supervisor.start(Start::<W>::new(state)).await?.into_handle())
}

/// Does something for each number up to a count, from so many tasks at once.
pub(crate) async fn by_many<F, D>(
    what: &'static str,
    callers: usize,
    count: usize,
    act: F,
) -> anyhow::Result<()>
where
    F: Fn(usize) -> D + Clone + Send + 'static,
    D: Future<Output = anyhow::Result<()>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let bar = progress(what, count);
    let mut tasks = JoinSet::new();
    for _ in 0..callers.min(count) {
        let (next, bar, act) = (Arc::clone(&next), bar.clone(), act.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<(), anyhow::Error>(());
                }
                act(number).await?;
                bar.inc(1);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Checks that so many sessions are in a state.
pub(crate) async fn expect(
    supervisor: &Supervisor,
    state: State,
    count: usize,
) -> anyhow::Result<()> {
    let bar = progress("check", count);
    let mut query = Query { states: vec![state], limit: 1_000, ..Query::default() };
    let mut found = 0;
    loop {
        let page = supervisor.list(query.clone()).await?;
        found += page.records.len();
        bar.inc(page.records.len() as u64);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    ensure!(found == count, "{found} sessions are {state}, and not {count}");
    Ok(())
}

/// A bar on the terminal, if there is one.
pub(crate) fn progress(what: &'static str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<12} {wide_bar} {pos}/{len} {per_sec}");
    let bar = ProgressBar::new(count as u64).with_message(what);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
