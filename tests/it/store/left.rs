//! A store that an earlier version has left with sessions of all kinds: whoever opens it finds what there was, and
//! goes on with it.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use chrono::DateTime;
use sessionkeeper::{
    Alarm, Builder, Delete, Fork, LogCursor, Rollover, Scope, SessionHandle, Start, StartError,
    State, StatisticsOptions, Supervisor, Window,
    hooks::SessionHooks,
    sink::{self, SinkBatch, SinkItem},
    store::{Query, SledStore, Store},
    testing::audit,
};

use super::{
    fixture::Place,
    formats::{pack, unpack},
    sled::Folder,
};
use crate::support::{BUDGET, Do, Done, Scripted, drained};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/left-1.txt");

/// What the label of each of its sessions says.
const WHAT: &str = "what";

/// What reads the log beside a worker has seen.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<LogCursor>>>);

impl Seen {
    fn note(&self, batch: &SinkBatch) {
        let cursors = batch.items().iter().filter_map(|item| match item {
            SinkItem::Event { cursor, .. } => Some(*cursor),
            SinkItem::Record { .. } | SinkItem::Gap { .. } => None,
            _ => None,
        });
        self.0.lock().expect("nobody panicked").extend(cursors);
    }
}

/// Hooks that do nothing: what they have heard of stands in the store.
struct Deaf;

impl SessionHooks for Deaf {}

/// A worker with everything that reads the log.
async fn worker(store: SledStore, seen: &Seen) -> Supervisor {
    let seen = seen.clone();
    let sink = sink::from_fn(move |batch: SinkBatch| {
        seen.note(&batch);
        async { Ok::<(), std::io::Error>(()) }
    });
    let builder: Builder = Supervisor::builder(store).workload(Scripted::default());
    let builder = builder.sink("copy", sink).hooks(Deaf).statistics(StatisticsOptions::default());
    let supervisor = builder.start().await.expect("it starts");
    supervisor.recovered().await.expect("recovered");
    supervisor
}

fn start(what: &str) -> Start<Scripted> {
    let labels = sessionkeeper::Labels::new([(WHAT, what)]).expect("labels");
    Scripted::start().labels(labels)
}

async fn begin(supervisor: &Supervisor, start: Start<Scripted>) -> SessionHandle<Scripted> {
    supervisor.start(start).await.expect("started").into_handle()
}

/// The sessions with a label, the newest first.
async fn all(supervisor: &Supervisor, what: &str) -> Vec<SessionHandle<Scripted>> {
    let labels = vec![(WHAT.to_owned(), what.to_owned())];
    let page = supervisor.list(Query { labels, ..Query::default() }).await.expect("a page");
    let mut all = Vec::new();
    for record in page.records {
        let session = supervisor.session(record.id).await.expect("there");
        all.push(session.typed().expect("of its kind"));
    }
    all
}

async fn one(supervisor: &Supervisor, what: &str) -> SessionHandle<Scripted> {
    all(supervisor, what).await.into_iter().next().expect("one with this label")
}

async fn state(session: &SessionHandle<Scripted>) -> State {
    session.status().await.expect("there").state()
}

/// Fills a store, and shuts down.
async fn fill(store: SledStore) {
    let supervisor = worker(store, &Seen::default()).await;
    let chat = begin(&supervisor, start("chat").name("chat".parse().expect("a name"))).await;
    chat.send(Do::Add(1)).await.expect("sent");
    drained(&chat).await;
    let mut last = chat.clone();
    for sum in [10, 20] {
        let next = Rollover::new(Done { sum, ..Done::default() });
        last = last.rollover(next).await.expect("rolled over").into_handle();
    }
    let fork = Fork::<Scripted>::new();
    supervisor.fork(last.id(), fork).await.expect("forked");

    let gone = begin(&supervisor, start("gone").key("gone".parse().expect("a key"))).await;
    gone.delete(Delete::StopFirst).await.expect("deleted");

    let parent = begin(&supervisor, start("parent")).await;
    begin(&supervisor, start("child").child_of(parent.id())).await;

    let urgent = begin(&supervisor, start("urgent")).await;
    urgent.pause().await.expect("paused");
    urgent.send(Do::Add(1)).await.expect("sent");
    urgent.send_urgent(Do::Add(2)).await.expect("sent");

    let in_the_year_3000 = DateTime::from_timestamp(32_503_680_000, 0).expect("a time");
    let alarm = Alarm::at(in_the_year_3000);
    let asleep = begin(&supervisor, start("asleep")).await;
    asleep.send(Do::SleepUntil(alarm)).await.expect("sent");
    asleep.wait_for(&[State::Paused]).await.expect("asleep");

    let ended = begin(&supervisor, start("ended")).await;
    ended.send(Do::Complete).await.expect("sent");
    ended.wait_for(&[State::Completed]).await.expect("completed");
    supervisor.shutdown(BUDGET).await;
}

#[tokio::test]
async fn whoever_opens_a_store_goes_on_with_all_that_was_left_in_it() {
    let place = unpack(&fs::read_to_string(FIXTURE).expect("the fixture"));
    let store = SledStore::open(place.path()).expect("open");
    assert_eq!(audit(&store).await, []);
    let left = store.bookmarks().await.expect("a list");
    assert_eq!(left.len(), 3, "a sink, hooks and statistics");
    let seen = Seen::default();
    let supervisor = worker(store, &seen).await;

    let counts = supervisor.counts(Scope::All).await.expect("counted");
    let of = |state| counts.of(state);
    assert_eq!((of(State::Completed), of(State::Paused), of(State::Active)), (3, 2, 4));
    let counted = supervisor.statistics(Scope::All, Window::SinceTheBeginning).await;
    assert_eq!(counted.expect("counted").started(), 10);

    // The newest is the fork, which has its label from the chain.
    let chain = all(&supervisor, "chat").await;
    let [fork, last, middle, first] = chain.as_slice() else { panic!("{} sessions", chain.len()) };
    let next = [first.latest().await, middle.latest().await].map(|next| next.expect("there").id());
    assert_eq!(next, [last.id(); 2]);
    let sums = [first, middle, last, fork].map(|session| session.snapshot());
    let sums = futures::future::join_all(sums).await.into_iter().map(|read| read.expect("read"));
    assert_eq!(sums.map(|snapshot| snapshot.state.sum).collect::<Vec<_>>(), [1, 10, 20, 20]);
    let ran = first.status().await.expect("there").record().runs.last.clone().expect("it ran");
    let run = supervisor.run(ran.run).await.expect("found");
    assert_eq!(run.session.id(), first.id());

    let again = start("gone").key("gone".parse().expect("a key"));
    let refused = supervisor.start(again).await.expect_err("it was deleted");
    assert!(matches!(refused, StartError::Deleted { .. }), "{refused}");

    let urgent = one(&supervisor, "urgent").await;
    urgent.resume().await.expect("resumed");
    assert_eq!(drained(&urgent).await.seen, [2, 1]);

    let asleep = one(&supervisor, "asleep").await;
    assert_eq!(state(&asleep).await, State::Paused);

    let (parent, child) = (one(&supervisor, "parent").await, one(&supervisor, "child").await);
    assert_eq!(child.status().await.expect("there").record().links().parent, Some(parent.id()));
    parent.stop().await.expect("asked").ended().await.expect("stopped");
    child.wait_for(&[State::Stopped]).await.expect("its parent was stopped");

    supervisor.shutdown(BUDGET).await;
    let seen = seen.0.lock().expect("nobody panicked").clone();
    let copied = left.iter().find(|left| left.reader.as_str() == "sink:copy").expect("a sink's");
    let first = seen.first().expect("something happened");
    assert_eq!(first.position(), copied.cursor.position() + 1, "it goes on where it was");
    let store = SledStore::open(place.path()).expect("open");
    assert_eq!(audit(&store).await, []);
}

/// Writes the fixture anew. To be used only where a new format gets a fixture of its own.
#[tokio::test]
#[ignore = "writes a fixture; executed by hand, by its name and with --ignored"]
async fn write_the_fixture_of_what_is_left() {
    let place = Folder::new();
    fill(SledStore::open(place.path()).expect("open")).await;
    fs::write(FIXTURE, pack(place.path())).expect("written");
}
