//! A worker in a storm: many sessions that are started, beaten, paused and resumed, and one whose
//! inbox is flooded. `cargo bench --bench storm` prints what it took and fails where a bound does
//! not hold; `SESSIONKEEPER_STORM` scales it (1.0 is 100,000 sessions and 1,000,000 inputs).
//!
//! Times are compared with what the disk itself needed in the same seconds, so that a slow machine
//! is not taken for a slow library.

#![allow(clippy::print_stdout, reason = "it says what it measured")]

use std::{
    fmt,
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use sessionkeeper::{
    Context, Labels, Outcome, SendError, SessionHandle, Start, StartedSession, Supervisor,
    Workload, WorkloadError, store::SledStore,
};
use tokio::time::Instant;

/// How many callers ask at once.
const CALLERS: usize = 512;
/// No control call may take longer than this for 99 of 100, unless the disk took a third of it.
const CONTROL_P99: Duration = Duration::from_millis(100);
/// What 100,000 sessions may hold, each, the store's cache included.
const BYTES_PER_SESSION: u64 = 32 << 10;
/// What a flood may add.
const FLOOD_BYTES: u64 = 64 << 20;

struct Counter;

impl Workload for Counter {
    const KIND: &'static str = "counter";
    const STATE_VERSION: u32 = 1;
    type State = u64;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {
            *cx.state_mut() += 1;
        }
        Ok(Outcome::Yielded)
    }
}

type Handle = SessionHandle<Counter>;

/// How long each of many calls took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    async fn of<T>(&mut self, call: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let answer = call.await;
        self.0.push(began.elapsed());
        answer
    }

    fn quantile(&mut self, quantile: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1) as f64;
        self.0.get((last * quantile) as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = Self(self.0.clone());
        let (median, p99) = (times.quantile(0.5), times.quantile(0.99));
        write!(f, "{} calls, median {median:.2?}, p99 {p99:.2?}", times.0.len())
    }
}

/// The resident memory of this process.
fn resident() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("needs Linux")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib << 10)
}

/// Does something to every one of many, and says how fast that was.
async fn each<'a, T, U, E, F>(
    what: &str,
    all: &'a [T],
    call: impl Fn(&'a T) -> F,
) -> anyhow::Result<Vec<U>>
where
    E: Into<anyhow::Error>,
    F: Future<Output = Result<U, E>>,
{
    let began = Instant::now();
    let calls = stream::iter(all).map(call).buffered(CALLERS);
    let answers = calls.map_err(Into::into).try_collect::<Vec<U>>().await?;
    let took = began.elapsed();
    let rate = all.len() as f64 / took.as_secs_f64();
    println!("{what:<28} {took:>8.2?}, {rate:>9.0} per second");
    Ok(answers)
}

/// Writes and syncs 1 KiB again and again: what the disk needs by itself meanwhile.
fn floor(path: &Path, over: &AtomicBool) -> std::io::Result<Times> {
    let mut file = File::create(path)?;
    let mut times = Times::default();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        file.write_all(&[7; 1024])?;
        file.sync_data()?;
        times.0.push(began.elapsed());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(times)
}

async fn sessions(supervisor: &Supervisor, count: usize) -> anyhow::Result<Vec<Handle>> {
    let before = resident()?;
    let numbers: Vec<usize> = (0..count).collect();
    let started = each("start", &numbers, |_| supervisor.start(Start::<Counter>::new(0))).await?;
    let handles: Vec<Handle> = started.into_iter().map(StartedSession::into_handle).collect();
    each("send", &handles, |session| session.send(1)).await?;
    let per_session = resident()?.saturating_sub(before) / count as u64;
    println!("{:<28} {per_session} bytes", "resident per session");
    let fixed = (64 << 20) / count as u64;
    ensure!(per_session <= BYTES_PER_SESSION + fixed, "a session holds {per_session} bytes");

    let began = Instant::now();
    for session in &handles {
        let _ = session.heartbeat();
    }
    println!("{:<28} {:.0?} each", "beat", began.elapsed() / count as u32);
    each("pause", &handles, |session| session.pause()).await?;
    each("resume", &handles, |session| session.resume()).await?;
    Ok(handles)
}

async fn flood(handles: &[Handle], folder: &Path, inputs: u64) -> anyhow::Result<()> {
    let (flooded, neighbour) =
        (handles.first().context("a session")?, handles.last().context("a session")?);
    let before = resident()?;
    let sent = Arc::new(AtomicU64::new(0));
    let (accepted, full) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (sent, accepted, full) = (sent.clone(), accepted.clone(), full.clone());
            let session = flooded.clone();
            tokio::spawn(async move {
                while sent.fetch_add(1, Ordering::Relaxed) < inputs {
                    match session.send(1).await {
                        Ok(_) => accepted.fetch_add(1, Ordering::Relaxed),
                        Err(SendError::Full { .. }) => full.fetch_add(1, Ordering::Relaxed),
                        Err(error) => return Err(error),
                    };
                    tokio::task::yield_now().await;
                }
                Ok(())
            })
        })
        .collect();

    let over = Arc::new(AtomicBool::new(false));
    let disk = std::thread::spawn({
        let (path, over) = (folder.join("floor"), over.clone());
        move || floor(&path, &over)
    });
    let (mut status, mut durable, mut pausing) =
        (Times::default(), Times::default(), Times::default());
    let labels = Labels::new([("flooded", "yes")])?;
    let mut most = before;
    let began = Instant::now();
    while sent.load(Ordering::Relaxed) < inputs {
        status.of(flooded.status()).await?;
        durable.of(flooded.set_labels(labels.clone())).await?;
        pausing.of(neighbour.pause()).await?;
        pausing.of(neighbour.resume()).await?;
        pausing.of(flooded.pause()).await?;
        pausing.of(flooded.resume()).await?;
        most = most.max(resident()?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for caller in callers {
        caller.await??;
    }
    over.store(true, Ordering::Relaxed);
    let mut disk = disk.join().map_err(|_| anyhow::anyhow!("the floor panicked"))??;
    let took = began.elapsed();
    let (accepted, full) = (accepted.load(Ordering::Relaxed), full.load(Ordering::Relaxed));
    println!("{:<28} {took:.2?}, {accepted} accepted, {full} told that it is full", "flood");
    println!("{:<28} {}", "  status meanwhile", status);
    println!("{:<28} {}", "  a durable verb meanwhile", durable);
    println!("{:<28} {}", "  pause, resume meanwhile", pausing);
    println!("{:<28} {}", "  the disk by itself", disk);
    let grown = most.saturating_sub(before);
    println!("{:<28} {} KiB", "  memory added", grown >> 10);
    ensure!(grown <= FLOOD_BYTES, "the flood added {grown} bytes");
    let bound = CONTROL_P99.max(disk.quantile(0.99) * 3);
    for times in [&mut status, &mut durable, &mut pausing] {
        let p99 = times.quantile(0.99);
        ensure!(p99 <= bound, "a control call took {p99:?} at p99; the bound is {bound:?}");
    }
    while flooded.status().await?.record().inbox.waiting() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    flooded.pause().await?;
    let sum = flooded.snapshot().await?.state;
    ensure!(sum == accepted + 1, "{sum} effects of {} accepted inputs", accepted + 1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let scale: f64 = match std::env::var("SESSIONKEEPER_STORM") {
        Ok(scale) => scale.parse().context("SESSIONKEEPER_STORM is no number")?,
        Err(_) => 1.0,
    };
    let folder = tempfile::tempdir()?;
    let supervisor = Supervisor::builder(SledStore::open(folder.path().join("data"))?)
        .workload(Counter)
        .start()
        .await?;
    let handles = sessions(&supervisor, (100_000.0 * scale) as usize).await?;
    flood(&handles, folder.path(), (1_000_000.0 * scale) as u64).await?;
    let budget = Duration::from_secs(120);
    let began = Instant::now();
    let report = supervisor.shutdown(budget).await;
    println!("{:<28} {:.2?}", "shutdown", began.elapsed());
    ensure!(began.elapsed() <= budget, "the shutdown exceeded its budget");
    drop((report, handles));
    Ok(())
}
