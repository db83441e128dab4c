//! What is counted and measured, on paused time: exactly what happened, under the names of the table.

use std::{collections::BTreeMap, time::Duration};

use sessionkeeper::{
    Builder, OnIdle, Policy, Resource, RunEnd, SessionHandle, State,
    store::MemoryStore,
    testing::{Call, FaultyStore, Interference},
};
use tokio::time::{Instant, advance, sleep};

use crate::guarantees::kit::{Custom, collect, custom, start_on};
use crate::support::{BUDGET, Do, Scripted, Worker, drained};

mod recorder;

use recorder::Book;

const COMMIT: &str = "sessionkeeper_commit_seconds";
const BATCH: &str = "sessionkeeper_commit_batch_size";
const FAILURES: &str = "sessionkeeper_store_failures_total";
const CHECKPOINT: &str = "sessionkeeper_checkpoint_bytes";
const INBOX: &str = "sessionkeeper_inbox_depth";
const STOP: &str = "sessionkeeper_stop_seconds";
const NOTHING: [f64; 4] = [0.0; 4];

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pause(cause: &str) -> String {
    format!("sessionkeeper_pause_seconds{{cause={cause}}}")
}

fn lateness(cause: &str) -> String {
    format!("sessionkeeper_expiry_lateness_seconds{{cause={cause}}}")
}

fn moves<const N: usize>(expected: [(&str, &str, u64); N]) -> BTreeMap<String, u64> {
    let series = |(to, cause, count)| (format!("{{to={to},cause={cause}}}"), count);
    expected.map(series).into()
}

/// A store whose commits take 5 ms.
fn slow() -> FaultyStore<MemoryStore> {
    let store = FaultyStore::new(MemoryStore::new());
    store.inject(|call| match call {
        Call::Commit => Interference::Delay { before: millis(5), after: millis(0) },
        _ => Interference::None,
    });
    store
}

async fn on(store: FaultyStore<MemoryStore>, policy: Policy) -> sessionkeeper::Supervisor {
    let builder: Builder = sessionkeeper::Supervisor::builder(store);
    builder.workload(Scripted::default()).policy(policy).seed(7).start().await.unwrap()
}

async fn begin(supervisor: &sessionkeeper::Supervisor) -> SessionHandle<Scripted> {
    supervisor.start(Scripted::start()).await.unwrap().into_handle()
}

/// Does something and says how long it took.
async fn timed<T>(doing: impl Future<Output = T>) -> (T, f64) {
    let began = Instant::now();
    let done = doing.await;
    (done, began.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn a_life_is_counted_move_by_move_and_leaves_the_gauges_as_they_were() {
    let book = Book::default();
    let _installed = book.install();
    let supervisor = on(slow(), Policy::default()).await;
    assert_eq!(book.sessions(), NOTHING);
    let session = begin(&supervisor).await;
    assert_eq!(book.sessions(), [0.0, 1.0, 0.0, 0.0]);

    session.send(Do::Deaf(Duration::from_secs(3))).await.unwrap();
    sleep(millis(500)).await;
    let (paused, took) = timed(session.pause()).await;
    paused.unwrap();
    assert_eq!(book.histogram(&pause("asked")), [took]);
    assert!(took > 2.4, "it was deaf: {took}");
    assert_eq!(book.sessions(), [0.0, 0.0, 1.0, 0.0]);

    session.resume().await.unwrap();
    session.send(Do::Deaf(Duration::from_secs(2))).await.unwrap();
    sleep(millis(500)).await;
    let began = Instant::now();
    let ticket = session.stop().await.unwrap();
    assert_eq!(book.sessions(), [0.0, 0.0, 0.0, 1.0]);
    ticket.ended().await.unwrap();
    assert_eq!(book.histogram(STOP), [began.elapsed().as_secs_f64()]);
    assert_eq!(book.sessions(), NOTHING);

    session.resume().await.unwrap();
    session.send(Do::Complete).await.unwrap();
    session.settled().await.unwrap();
    assert_eq!(book.sessions(), NOTHING);
    let expected = moves([
        ("active", "asked", 3),
        ("paused", "asked", 1),
        ("stopping", "asked", 1),
        ("stopped", "run_gone", 1),
        ("completed", "workload", 1),
    ]);
    assert_eq!(book.moves(), expected);
    assert_eq!(book.histogram(INBOX), [1.0, 1.0, 1.0]);
    // One at a time, each as slow as the store.
    let commits = book.histogram(COMMIT);
    assert_eq!(commits, vec![0.005; commits.len()]);
    assert_eq!(book.histogram(BATCH), vec![1.0; commits.len()]);
    assert_eq!(book.counter(FAILURES), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_repeated_counts_nothing() {
    let book = Book::default();
    let _installed = book.install();
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Complete)).await;
    session.settled().await.unwrap();
    let stopped = worker.session().await;
    stopped.stop().await.unwrap().ended().await.unwrap();
    sleep(millis(500)).await;

    let before = book.pages();
    session.pause().await.unwrap_err();
    session.stop().await.unwrap_err();
    session.resume().await.unwrap_err();
    session.fail("too late").await.unwrap_err();
    session.send(Do::Add(1)).await.unwrap_err();
    stopped.pause().await.unwrap_err();
    stopped.send(Do::Add(1)).await.unwrap_err();
    stopped.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(book.pages(), before);

    // A pause that was refused does not begin one.
    stopped.resume().await.unwrap();
    let (paused, took) = timed(stopped.pause()).await;
    paused.unwrap();
    assert_eq!(book.histogram(&pause("asked")), [took]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_overtaken_is_not_measured() {
    let book = Book::default();
    let _installed = book.install();
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(millis(4000)))).await;
    sleep(millis(500)).await;
    let (pausing, resumed) = tokio::join!(session.pause(), async {
        sleep(millis(500)).await;
        session.resume().await
    });
    pausing.unwrap_err();
    resumed.unwrap();
    drained(&session).await;
    session.send(Do::Deaf(millis(4000))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let (stopped, pausing) = tokio::join!(session.stop(), session.pause());
    stopped.unwrap().ended().await.unwrap();
    pausing.unwrap_err();
    assert_eq!(book.histogram(&pause("asked")), [0.0; 0]);
    assert_eq!(book.histogram(STOP).len(), 1);
    assert_eq!(book.sessions(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn each_rest_has_its_cause() {
    let book = Book::default();
    let _installed = book.install();
    let policy = Policy::builder().idle_timeout(Duration::from_secs(60)).build().unwrap();
    let worker = Worker::with_policy(policy).await;
    let idle = worker.session().await;
    sleep(Duration::from_secs(61)).await;
    assert_eq!(idle.status().await.unwrap().state(), State::Paused);
    assert_eq!(book.histogram(&pause("idle")), [0.0]);
    // Without a run it is at rest at once.
    let (stopped, took) = timed(async { idle.stop().await.unwrap().ended().await }).await;
    stopped.unwrap();
    assert_eq!(book.histogram(STOP), [took]);

    worker.session_with(|start| start.input(Do::Deaf(Duration::from_secs(2)))).await;
    sleep(millis(1500)).await;
    assert_eq!(book.sessions(), [0.0, 1.0, 0.0, 0.0]);
    worker.supervisor.shutdown(BUDGET).await;
    assert_eq!(book.histogram(&pause("shutdown")), [0.5]);
    assert_eq!(book.histogram(&pause("asked")), [0.0; 0]);
    assert_eq!(book.moves()["{to=paused,cause=shutdown}"], 1);
    // It is paused in the store, but no worker is open.
    assert_eq!(book.sessions(), NOTHING);
}

/// Stays while its session is paused, and takes 3 s to close.
struct Tool;

impl Resource for Tool {
    async fn close(&self, _: &RunEnd) {
        sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_measured_until_what_was_held_is_closed_however_late_it_comes() {
    let keeps = Custom::new(|cx| {
        cx.hold_while_paused(Tool, Duration::from_secs(600));
        Box::pin(collect(cx))
    });
    for late in 0..40 {
        let book = Book::default();
        let _installed = book.install();
        let supervisor = start_on(slow(), keeps.clone(), |builder| builder).await;
        let session = custom(&supervisor).await;
        sleep(millis(500)).await;
        let stop = async {
            sleep(millis(late)).await;
            timed(async { session.stop().await.unwrap().ended().await.unwrap() }).await.1
        };
        let (paused, stopped) = tokio::join!(session.pause(), stop);
        assert_eq!(book.histogram(STOP), [stopped], "{late} ms late");
        assert!(stopped >= 3.0, "{late} ms late: {stopped}");
        assert_eq!(book.histogram(&pause("asked")).len(), usize::from(paused.is_ok()));
        assert_eq!(book.sessions(), NOTHING);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_counts_what_it_finds_and_takes_it_back_when_it_ends() {
    let book = Book::default();
    let _installed = book.install();
    let worker = Worker::start_with(|builder| builder.max_active(2)).await;
    let first = worker.session().await;
    let second = worker.session().await;
    worker.session().await;
    second.pause().await.unwrap();
    drained(&first).await;
    sleep(millis(500)).await;
    assert_eq!(book.sessions(), [0.0, 2.0, 1.0, 0.0]);
    worker.session().await;
    assert_eq!(book.sessions(), [1.0, 2.0, 1.0, 0.0]);

    // The sessions of two workers on two stores add up.
    let other = Worker::start().await;
    other.session().await;
    assert_eq!(book.sessions(), [1.0, 3.0, 1.0, 0.0]);
    other.supervisor.shutdown(BUDGET).await;
    assert_eq!(book.sessions(), [1.0, 2.0, 1.0, 0.0]);

    let Worker { store, workload, supervisor } = worker;
    drop(supervisor);
    assert_eq!(book.sessions(), NOTHING);
    let worker = Worker::on(store, workload, |builder| builder.max_active(2)).await;
    worker.supervisor.recovered().await.unwrap();
    sleep(millis(500)).await;
    assert_eq!(book.sessions(), [1.0, 2.0, 1.0, 0.0]);
    assert_eq!(book.moves()["{to=active,cause=recovered}"], 2);
    worker.again(&first).await.stop().await.unwrap().ended().await.unwrap();
    sleep(millis(500)).await;
    assert_eq!(book.sessions(), [0.0, 2.0, 1.0, 0.0]);
    worker.supervisor.shutdown(BUDGET).await;
    assert_eq!(book.sessions(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_shows_in_failures_and_in_the_latency() {
    let book = Book::default();
    let _installed = book.install();
    let store = FaultyStore::new(MemoryStore::new());
    let supervisor = on(store.clone(), Policy::default()).await;
    let session = begin(&supervisor).await;
    sleep(millis(500)).await;
    let before = book.histogram(COMMIT).len();
    store.next(Call::Commit, Interference::Fail);
    store.next(Call::Commit, Interference::LoseAnswer);
    // Under way, though its caller hears of the store.
    session.send(Do::Add(1)).await.unwrap_err();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(session.snapshot().await.unwrap().state.sum, 1);
    assert_eq!(book.counter(FAILURES), 2);
    // 50 ms of waiting after the first failure and 100 ms after the second.
    assert_eq!(book.histogram(COMMIT)[before..before + 2], [0.15, 0.0]);
    assert_eq!(book.histogram(BATCH).iter().sum::<f64>() as usize, book.histogram(COMMIT).len());
    assert_eq!(book.histogram(INBOX), [1.0]);
    supervisor.shutdown(BUDGET).await;
}

#[tokio::test(start_paused = true)]
async fn checkpoints_and_the_inbox_are_measured_as_they_are_stored() {
    let book = Book::default();
    let _installed = book.install();
    let worker = Worker::start().await;
    let session = worker.session().await;
    let stored = |session: SessionHandle<Scripted>| async move {
        let status = session.status().await.unwrap();
        let newest = *status.record().snapshot().unwrap();
        (newest.sequence, newest.bytes as f64)
    };
    drained(&session).await;
    let (number, first) = stored(session.clone()).await;
    let measured = book.histogram(CHECKPOINT);
    assert_eq!((number as usize, first), (measured.len(), *measured.last().unwrap()));
    session.send(Do::Grow(100_000)).await.unwrap();
    drained(&session).await;
    sleep(millis(500)).await;
    let (number, grown) = stored(session.clone()).await;
    let measured = book.histogram(CHECKPOINT);
    assert_eq!((number as usize, grown), (measured.len(), *measured.last().unwrap()));
    assert!(grown > first + 90_000.0, "{grown}");

    assert_eq!(book.histogram(INBOX), [1.0]);
    session.send(Do::Deaf(Duration::from_secs(60))).await.unwrap();
    for number in 0..3 {
        session.send(Do::Add(number)).await.unwrap();
    }
    assert_eq!(book.histogram(INBOX), [1.0, 1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn many_commits_at_once_are_few_batches() {
    const SESSIONS: usize = 500;
    let book = Book::default();
    let _installed = book.install();
    let worker = Worker::start().await;
    futures::future::join_all((0..SESSIONS).map(|_| worker.session())).await;
    let (batches, commits) = (book.histogram(BATCH), book.histogram(COMMIT));
    assert_eq!(batches.iter().sum::<f64>() as usize, commits.len());
    assert!(batches.len() < commits.len() / 10, "{batches:?}");
    assert_eq!(book.sessions()[1] as usize, SESSIONS);
    assert_eq!(book.moves(), moves([("active", "asked", SESSIONS as u64)]));
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_as_late_as_its_verdict() {
    let book = Book::default();
    let _installed = book.install();
    let policy = Policy::builder()
        .heartbeat_timeout(Duration::from_secs(20))
        .idle_timeout(Duration::from_secs(40))
        .on_idle(OnIdle::Expire)
        .paused_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let worker = Worker::with_policy(policy).await;
    let silent = worker.session_with(|start| start.input(Do::Silent(millis(3_600_000)))).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(silent.status().await.unwrap().state(), State::Expired);
    assert_eq!(book.histogram(&lateness("silence")), [0.0]);

    // A worker that is held up just before the deadline sees it late.
    let silent = worker.session_with(|start| start.input(Do::Silent(millis(3_600_000)))).await;
    sleep(millis(19_500)).await;
    advance(millis(1_500)).await;
    sleep(millis(500)).await;
    assert_eq!(silent.status().await.unwrap().state(), State::Expired);
    assert_eq!(book.histogram(&lateness("silence")), [0.0, 1.0]);

    let (idle, paused) = (worker.session().await, worker.session().await);
    paused.pause().await.unwrap();
    sleep(Duration::from_secs(90)).await;
    for session in [&idle, &paused] {
        assert_eq!(session.status().await.unwrap().state(), State::Expired);
    }
    assert_eq!(book.histogram(&lateness("idle_timeout")), [0.0]);
    assert_eq!(book.histogram(&lateness("paused_timeout")), [0.0]);
    assert_eq!(book.histogram(&lateness("pending_timeout")), [0.0; 0]);
    assert_eq!(book.moves()["{to=expired,cause=silence}"], 2);
    assert_eq!(book.sessions(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn the_table_in_the_documentation_names_what_there_is() {
    let book = Book::default();
    let _installed = book.install();
    let worker = Worker::start().await;
    worker.session().await;
    let pages = book.pages();
    let there_is = pages.described.iter().map(|(name, (kind, unit, meaning))| {
        let labels: Vec<_> = pages.labels[name].iter().map(|label| format!("`{label}`")).collect();
        let mut cells = vec![format!("`{name}`"), (*kind).to_owned(), (*unit).to_owned()];
        cells.extend([labels.join(", "), meaning.clone()]);
        cells
    });
    let text = include_str!("../../../docs/METRICS.md");
    let told = text.lines().filter_map(|line| {
        let line = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let mut cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        cells[0].insert(0, '`');
        let mut labels: Vec<_> = cells[3].split(", ").collect();
        labels.sort_unstable();
        cells[3] = labels.join(", ");
        Some(cells)
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    assert_eq!(told, there_is.collect::<Vec<_>>());
    // Nothing is recorded under a name that is not described.
    assert_eq!(pages.labels.keys().collect::<Vec<_>>(), pages.described.keys().collect::<Vec<_>>());
}
