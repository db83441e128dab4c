//! A store error at every call: whatever the n-th call of a method does, callers hear typed
//! errors, nothing is done twice, and the life of the sessions comes to the same end.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    num::NonZeroU64,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use sessionkeeper::{
    BuildError, Delete, ExternalId, FindError, InputId, Labels, Retention, Scope, SendError,
    Session, SessionError, SessionHandle, Start, StartError, StartKey, State, StatisticsError,
    StatisticsOptions, Supervisor, Window, sink,
    store::{Key, LogQuery, MemoryStore, Query, Store, StoreError},
    testing::{Call, FaultyStore, Interference},
};
use tokio::time::sleep;

use crate::support::{BUDGET, Do, Done, Scripted, number};

type Faulty = FaultyStore<MemoryStore>;

/// How many cases are tried, of all there are: `SESSIONKEEPER_CALL_SITES`.
fn cases() -> usize {
    usize::try_from(number("SESSIONKEEPER_CALL_SITES").unwrap_or(40)).unwrap()
}

/// An error that only says that the store failed.
trait Passing: Debug {
    fn is_passing(&self) -> bool;
}

impl Passing for StoreError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Passing for SessionError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Store { source, .. } if source.is_passing())
    }
}

impl Passing for SendError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_passing())
    }
}

impl Passing for StartError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Session(error) => error.is_passing(),
            Self::Input(error) => error.is_passing(),
            _ => false,
        }
    }
}

impl Passing for StatisticsError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            _ => false,
        }
    }
}

impl Passing for FindError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Session(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// Asks until the answer is no error of the store. Any other error is one too many, and one of a
/// commit shows in the health of the worker.
async fn insist<T, E: Passing>(
    supervisor: &Supervisor,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    for _ in 0..10 {
        match tokio::time::timeout(Duration::from_secs(3600), ask()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => {
                assert!(error.is_passing(), "{what}: {error:?}");
                if format!("{error:?}").contains("Commit was told to fail") {
                    let degraded = supervisor.health().store_error().is_some();
                    assert!(degraded, "{what}: {error:?}");
                }
            }
            Err(_) => panic!("{what}: no answer within an hour"),
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("{what}: the store does not come back");
}

/// How many events of a session are kept: more than most have.
const NEWEST: NonZeroU64 = NonZeroU64::new(100).expect("it is not 0");

async fn worker(store: &Faulty) -> Supervisor {
    let mut attempts = 0;
    let supervisor = loop {
        let takes_all = sink::from_fn(|_| async { Ok::<(), std::io::Error>(()) });
        let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
        let builder = builder.sink("outside", takes_all).statistics(StatisticsOptions::default());
        let retention = Retention::default().events(NEWEST).bytes(NonZeroU64::MAX);
        let builder = builder.retention(retention);
        match builder.seed(7).start().await {
            Ok(supervisor) => break supervisor,
            Err(BuildError::Store(StoreError::Unavailable { .. })) => attempts += 1,
            Err(error) => panic!("not an error of the store: {error:?}"),
        }
        assert!(attempts < 5, "the store does not come back");
    };
    let report = supervisor.recovered().await.expect("it is not shut down");
    assert!(report.failed.is_empty() && report.damaged.is_empty(), "{report:?}");
    supervisor
}

async fn begun(supervisor: &Supervisor, key: &str) -> SessionHandle<Scripted> {
    let start = || {
        let start = Start::<Scripted>::new(Done::default()).input(Do::Add(1));
        let name = key.parse().expect("a name");
        start.key(StartKey::new(key).expect("a key")).name(name)
    };
    insist(supervisor, "start", async || supervisor.start(start()).await).await.into_handle()
}

async fn sent(supervisor: &Supervisor, session: &SessionHandle<Scripted>, number: u64, input: Do) {
    let id = InputId::new(format!("input {number}")).expect("an id");
    let receipt =
        insist(supervisor, "send", async || session.send_with_id(id.clone(), input.clone()).await)
            .await;
    assert_eq!(receipt.sequence, number);
}

async fn again(supervisor: &Supervisor, session: &Session) -> SessionHandle<Scripted> {
    let session =
        insist(supervisor, "session", async || supervisor.session(session.id()).await).await;
    session.typed().expect("of its kind")
}

/// Reads all there is to read.
async fn read(supervisor: &Supervisor, session: &SessionHandle<Scripted>, key: &str) {
    let name = Key::Name(key.parse().expect("a name"));
    let found = insist(supervisor, "find", async || supervisor.find(name.clone()).await).await;
    assert_eq!(found.expect("it has the name").id(), session.id());
    let page = insist(supervisor, "list", async || supervisor.list(Query::default()).await).await;
    assert!(page.records.iter().any(|record| record.id == session.id()));
    let counts = insist(supervisor, "count", async || supervisor.counts(Scope::All).await).await;
    assert_eq!(counts.total(), page.records.len() as u64);
    insist(supervisor, "status", async || session.status().await).await;
    let events =
        insist(supervisor, "events", async || session.events(1..=u64::MAX, 999).await).await;
    let numbers: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let begun = events.iter().find_map(|event| event.run).expect("it has run");
    let found = insist(supervisor, "run", async || supervisor.run(begun).await).await;
    assert_eq!(found.session.id(), session.id());
    insist(supervisor, "snapshot", async || session.snapshot().await).await;
    let query = LogQuery { session: Some(session.id()), limit: 999, ..LogQuery::default() };
    let logged = insist(supervisor, "log", async || supervisor.log(query).await).await;
    assert_eq!(logged.items.len(), numbers.len());
}

/// Waits until all inputs are worked off, over errors of the store.
async fn settled(supervisor: &Supervisor, session: &SessionHandle<Scripted>) {
    let mut waits = 0;
    while insist(supervisor, "status", async || session.status().await)
        .await
        .record()
        .inbox
        .waiting()
        > 0
    {
        sleep(Duration::from_millis(100)).await;
        waits += 1;
        assert!(waits < 36_000, "it is not worked off in an hour");
    }
}

/// What became of a session: where it stands, what it has done, and how it is found.
type End = (State, i64, Vec<u64>, u64, Option<String>);

/// Sessions are started, sent to, paused, stopped, resumed, crash with their worker, idle, are
/// shut down and taken up again. Gives what they come to.
async fn life(store: Faulty) -> BTreeMap<String, End> {
    let supervisor = worker(&store).await;
    let first = begun(&supervisor, "first").await;
    let second = begun(&supervisor, "second").await;
    let third = begun(&supervisor, "third").await;
    sent(&supervisor, &first, 2, Do::Add(10)).await;
    sent(&supervisor, &first, 2, Do::Add(10)).await;
    insist(&supervisor, "pause", async || first.pause().await).await;
    sent(&supervisor, &first, 3, Do::Emit(5)).await;
    insist(&supervisor, "resume", async || first.resume().await).await;
    sent(&supervisor, &second, 2, Do::FailTimes(1)).await;
    sent(&supervisor, &second, 3, Do::StepThenFail(5)).await;
    settled(&supervisor, &second).await;
    let labels = || Labels::new([("team", "red")]).expect("labels");
    insist(&supervisor, "labels", async || second.set_labels(labels()).await).await;
    let external = || ExternalId::new("outside").expect("an id");
    insist(&supervisor, "external id", async || second.set_external_id(external()).await).await;
    let ticket = insist(&supervisor, "stop", async || second.stop().await).await;
    insist(&supervisor, "ended", async || ticket.ended().await).await;
    insist(&supervisor, "resume", async || second.resume().await).await;
    settled(&supervisor, &third).await;
    insist(&supervisor, "complete", async || third.complete().await).await;
    let long = begun(&supervisor, "long").await;
    sent(&supervisor, &long, 2, Do::Emit(300)).await;
    settled(&supervisor, &long).await;
    insist(&supervisor, "complete", async || long.complete().await).await;
    let gone = begun(&supervisor, "gone").await;
    insist(&supervisor, "delete", async || gone.delete(Delete::StopFirst).await).await;
    // Its sink reads the end of it first, which may take two minutes and a failure.
    sleep(Duration::from_secs(300)).await;
    let left = store.inner().events(gone.id(), 1..=99, 99).await.expect("events");
    assert_eq!(left, [], "what was left of it is removed");
    let left = store.inner().events(long.id(), 1..=999, 999).await.expect("events");
    assert!(left.len() < 150, "{} events are left, where 100 are kept", left.len());
    for (session, key) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        read(&supervisor, session, key).await;
    }
    // The worker dies, with an input in hand.
    sent(&supervisor, &first, 4, Do::Add(100)).await;
    drop(supervisor);

    let supervisor = worker(&store).await;
    let first = again(&supervisor, &first).await;
    let second = again(&supervisor, &second).await;
    sent(&supervisor, &first, 5, Do::Add(1000)).await;
    settled(&supervisor, &first).await;
    // Long enough to be paused as idle; the next input wakes it.
    sleep(Duration::from_secs(45 * 60)).await;
    sent(&supervisor, &first, 6, Do::Add(10_000)).await;
    settled(&supervisor, &first).await;
    insist(&supervisor, "pause", async || second.pause().await).await;
    supervisor.shutdown(BUDGET).await;
    drop(supervisor);

    let supervisor = worker(&store).await;
    let first = again(&supervisor, &first).await;
    settled(&supervisor, &first).await;
    read(&supervisor, &first, "first").await;
    let _ticket =
        insist(&supervisor, "stop", async || supervisor.session(second.id()).await?.stop().await)
            .await;
    sleep(Duration::from_secs(60)).await;
    assert!(supervisor.health().store_error().is_none(), "{}", supervisor.health());
    let sinks = insist(&supervisor, "sinks", async || supervisor.sinks().await).await;
    assert!(sinks.iter().all(|sink| sink.behind == 0), "{sinks:?}");
    let window = Window::SinceTheBeginning;
    let count = async || supervisor.statistics(Scope::All, window).await;
    let statistics = insist(&supervisor, "statistics", count).await;
    // With the one that was deleted.
    assert_eq!((statistics.behind, statistics.started()), (0, 5), "{statistics}");
    let mut ends = BTreeMap::new();
    for (session, name) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        let session = again(&supervisor, session).await;
        let status = insist(&supervisor, "status", async || session.status().await).await;
        let done = insist(&supervisor, "snapshot", async || session.snapshot().await).await.state;
        let record = status.record();
        let external = record.external_id.as_ref().map(ToString::to_string);
        let end = (record.state(), done.sum, done.seen, record.inbox.accepted, external);
        ends.insert(name.to_owned(), end);
    }
    supervisor.shutdown(BUDGET).await;
    ends
}

/// What happens to the n-th call of a method, in the order of the calls.
#[derive(Debug, Clone, Copy)]
struct Case {
    call: Call,
    number: u64,
    interference: Interference,
}

impl Case {
    fn store(self) -> (Faulty, Arc<AtomicBool>) {
        let store = FaultyStore::new(MemoryStore::new());
        let struck = Arc::new(AtomicBool::new(false));
        let strikes = Arc::clone(&struck);
        let mut number = 0;
        store.inject(move |call| {
            number += u64::from(call == self.call);
            if call == self.call && number == self.number && !strikes.swap(true, Ordering::SeqCst) {
                self.interference
            } else {
                Interference::None
            }
        });
        (store, struck)
    }
}

/// Lives a life on a store that does not interfere, and counts the calls.
async fn undisturbed() -> (BTreeMap<String, End>, Vec<Case>) {
    let store = FaultyStore::new(MemoryStore::new());
    let ends = life(store.clone()).await;
    let while_away = Duration::from_secs(1);
    let kinds = [
        Interference::Fail,
        Interference::LoseAnswer,
        Interference::Delay { before: while_away, after: while_away },
    ];
    let mut cases = Vec::new();
    for call in Call::ALL {
        for number in 1..=store.calls(call) {
            cases.extend(kinds.map(|interference| Case { call, number, interference }));
        }
    }
    (ends, cases)
}

#[tokio::test(start_paused = true)]
async fn g2_an_error_of_any_call_of_the_store_changes_nothing_in_the_end() {
    let (expected, all) = undisturbed().await;
    for call in Call::ALL {
        // An accepted input is looked up only where its id is used again after a restart, and
        // there is nothing to heal where only answers fail.
        let tried = all.iter().any(|case| case.call == call);
        assert!(tried || matches!(call, Call::Accepted | Call::Heal), "{call:?} is never called");
    }
    // Spread over all of them, where there are more than are wanted.
    let step = all.len().div_ceil(cases()).max(1);
    let mut struck = 0;
    for case in all.iter().step_by(step) {
        let (store, has_struck) = case.store();
        // What a failed assertion says is on stderr by then.
        let ends = AssertUnwindSafe(life(store)).catch_unwind().await;
        let ends = ends.unwrap_or_else(|_| panic!("{case:?}"));
        assert_eq!(ends, expected, "{case:?}");
        struck += usize::from(has_struck.load(Ordering::SeqCst));
    }
    let tried = all.len().div_ceil(step);
    println!("{struck} of {tried} cases struck, of {} that there are", all.len());
    assert!(struck * 10 > tried * 9, "only {struck} of {tried} cases came up");
}
