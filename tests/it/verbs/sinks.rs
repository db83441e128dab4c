//! Sinks: everything, in order, at least once, and nobody waits for them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::{
    BuildError, EventRecord, SessionId, State, SupervisedTime, Supervisor, WorkerGeneration,
    sink::{self, Sink, SinkBatch, SinkBegin, SinkItem, SinkOptions, SinkStatus},
    store::{Batch, Bookmark, BoxError, MemoryStore, Part, Store},
};

use super::{HANGS, MINUTE, SECOND, idle, log, soon, until};
use crate::support::{BUDGET, Do, Scripted, Worker};

/// What a sink answers to a call.
#[derive(Debug, Clone, Copy)]
enum Say {
    Took(usize),
    Fails,
    Panics,
    Hangs,
}

/// A sink that remembers what it took.
#[derive(Clone, Default)]
struct Memory {
    taken: Arc<Mutex<Vec<SinkItem>>>,
    /// What it answers to its next calls, before it takes everything.
    says: Arc<Mutex<VecDeque<Say>>>,
    calls: Arc<Mutex<u32>>,
}

impl Memory {
    fn says(says: impl IntoIterator<Item = Say>) -> Self {
        Self { says: Arc::new(Mutex::new(says.into_iter().collect())), ..Self::default() }
    }

    fn taken(&self) -> Vec<SinkItem> {
        self.taken.lock().unwrap().clone()
    }

    fn calls(&self) -> u32 {
        *self.calls.lock().unwrap()
    }

    /// The events, each with its position.
    fn events(&self) -> Vec<(u64, SessionId, Arc<EventRecord>)> {
        let events = self.taken().into_iter().filter_map(|item| match item {
            SinkItem::Event { cursor, session, event } => Some((cursor.position(), session, event)),
            _ => None,
        });
        events.collect()
    }
}

impl Sink for Memory {
    async fn deliver(&self, batch: SinkBatch) -> Result<usize, BoxError> {
        *self.calls.lock().unwrap() += 1;
        let says = self.says.lock().unwrap().pop_front();
        let count = match says {
            None => batch.items().len(),
            Some(Say::Took(count)) => count,
            Some(Say::Fails) => return Err("it was told to".into()),
            Some(Say::Panics) => panic!("it was told to"),
            Some(Say::Hangs) => std::future::pending().await,
        };
        if let Some(taken) = batch.items().get(..count) {
            self.taken.lock().unwrap().extend(taken.iter().cloned());
        }
        Ok(count)
    }
}

async fn worker(sink: &Memory, options: SinkOptions) -> Worker {
    Worker::start_with(|builder| builder.sink_with("memory", sink.clone(), options)).await
}

async fn status(supervisor: &Supervisor) -> SinkStatus {
    supervisor.sinks().await.unwrap().remove(0)
}

/// Waits until a sink has everything.
async fn caught_up(supervisor: &Supervisor) -> SinkStatus {
    soon(async {
        loop {
            let status = status(supervisor).await;
            if status.behind == 0 {
                return status;
            }
            tokio::time::sleep(SECOND).await;
        }
    })
    .await
}

/// Whether these are all events from the first to the last, none twice.
fn are_whole(events: &[(u64, SessionId, Arc<EventRecord>)]) {
    let mut next: BTreeMap<SessionId, u64> = BTreeMap::new();
    for (place, (position, session, event)) in events.iter().enumerate() {
        assert_eq!(*position, place as u64 + 1);
        let due = next.entry(*session).or_insert(1);
        assert_eq!(event.sequence, *due);
        *due += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_given_all_events_and_how_the_sessions_stand() {
    let sink = Memory::default();
    let worker = worker(&sink, SinkOptions::default()).await;
    let sessions = [worker.session().await, worker.session().await];
    for session in &sessions {
        for _ in 0..5 {
            session.send(Do::Emit(100)).await.unwrap();
        }
        idle(session).await;
    }
    let caught = caught_up(&worker.supervisor).await;
    assert_eq!(caught.name, "memory");
    assert_eq!(caught.failures, 0);
    let events = sink.events();
    are_whole(&events);
    assert_eq!(caught.cursor.position(), events.len() as u64);
    assert_eq!(caught.delivered, sink.taken().len() as u64);
    for session in &sessions {
        let mine = events.iter().filter(|(_, id, _)| *id == session.id());
        assert_eq!(mine.count(), log(session).await.len());
        let records: Vec<_> = sink
            .taken()
            .into_iter()
            .filter_map(|item| match item {
                SinkItem::Record { record, .. } if record.id == session.id() => Some(record),
                _ => None,
            })
            .collect();
        assert!(records.is_sorted_by_key(|record| record.version));
        let newest = super::status(session).await;
        assert_eq!(records.last().unwrap().version, newest.record().version);
    }
    // A batch ends with how its last session stands.
    assert!(matches!(sink.taken().last(), Some(SinkItem::Record { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_is_told_at_once() {
    let sink = Memory::default();
    let worker = worker(&sink, SinkOptions::default().interval(HANGS)).await;
    let session = worker.session().await;
    tokio::time::sleep(MINUTE).await;
    let before = sink.events().len();
    assert!(before < log(&session).await.len(), "there is no hurry before the end");
    session.send(Do::Complete).await.unwrap();
    until(&session, |status| status.state() == State::Completed).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(sink.events().len(), log(&session).await.len());

    let stopped = worker.session().await;
    stopped.stop().await.unwrap().ended().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(status(&worker.supervisor).await.behind, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_is_given_the_same_again() {
    let sink = Memory::says([Say::Fails, Say::Panics, Say::Hangs, Say::Took(0), Say::Fails]);
    let worker = worker(&sink, SinkOptions::default()).await;
    let session = worker.session().await;
    session.send(Do::Emit(300)).await.unwrap();
    idle(&session).await;
    let mut troubles = Vec::new();
    soon(async {
        while sink.calls() < 6 {
            let status = status(&worker.supervisor).await;
            assert_eq!(status.failures > 0, status.trouble.is_some());
            troubles.extend(status.trouble.map(|trouble| trouble.to_string()));
            tokio::time::sleep(SECOND / 10).await;
        }
    })
    .await;
    troubles.dedup();
    assert_eq!(
        troubles,
        [
            "it was told to",
            "it panicked: it was told to",
            "it did not answer within 30s",
            "it took nothing of 129 items",
            "it was told to",
        ]
    );
    let caught = caught_up(&worker.supervisor).await;
    assert_eq!((caught.failures, caught.trouble), (0, None));
    are_whole(&sink.events());
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_in_part_goes_on_behind_that() {
    let says = [1, 1, 7, 120, 1].map(Say::Took);
    let sink = Memory::says(says);
    let worker = worker(&sink, SinkOptions::default()).await;
    let session = worker.session().await;
    session.send(Do::Emit(400)).await.unwrap();
    idle(&session).await;
    caught_up(&worker.supervisor).await;
    are_whole(&sink.events());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_counts_for_nothing() {
    let sink = Memory::says([Say::Took(usize::MAX)]);
    let worker = worker(&sink, SinkOptions::default().interval(SECOND)).await;
    let session = worker.session().await;
    session.send(Do::Emit(3)).await.unwrap();
    idle(&session).await;
    soon(async {
        while sink.calls() == 0 {
            tokio::time::sleep(SECOND / 10).await;
        }
    })
    .await;
    let failed = status(&worker.supervisor).await;
    assert_eq!(failed.cursor.position(), 0);
    assert!(failed.trouble.unwrap().contains("it says that it took"));
    caught_up(&worker.supervisor).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_goes_on_where_the_worker_before_was_lost() {
    let sink = Memory::default();
    let add = |builder: sessionkeeper::Builder| {
        builder.sink_with("memory", sink.clone(), SinkOptions::default().interval(SECOND))
    };
    let mut worker = Worker::start_with(add).await;
    let mut session = worker.session().await;
    for round in 0..20_u64 {
        session.send(Do::Emit(200)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(round * 137)).await;
        worker = worker.crash_and_restart_with(add).await;
        session = worker.again(&session).await;
    }
    idle(&session).await;
    caught_up(&worker.supervisor).await;
    let mut events = sink.events();
    assert!(events.len() > 4000, "{}", events.len());
    let twice = events.len() as u64 - events.last().unwrap().0;
    assert!(twice <= 20 * 128, "at most a batch for each crash: {twice}");
    events.sort_by_key(|(position, ..)| *position);
    events.dedup_by_key(|(position, ..)| *position);
    are_whole(&events);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_delivers_everything_and_the_next_worker_nothing_twice() {
    let sink = Memory::default();
    let disk = MemoryStore::new();
    let options = SinkOptions::default().interval(HANGS);
    for _ in 0..3 {
        let supervisor = Supervisor::builder(disk.clone())
            .workload(Scripted::default())
            .sink_with("memory", sink.clone(), options)
            .start()
            .await
            .unwrap();
        let session = supervisor.start(Scripted::start()).await.unwrap().into_handle();
        session.send(Do::Emit(300)).await.unwrap();
        idle(&session).await;
        let report = supervisor.shutdown(BUDGET).await;
        assert!(report.took < SECOND, "{report}");
        let events = sink.events();
        are_whole(&events);
        let SinkItem::Record { record, .. } = sink.taken().pop().unwrap() else {
            panic!("a record is the last");
        };
        assert_eq!(record.state(), State::Paused);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_delays_nobody() {
    let hangs = Memory::says([Say::Hangs; 100]);
    let other = Memory::default();
    let worker = Worker::start_with(|builder| {
        builder.sink("hangs", hangs.clone()).sink("other", other.clone())
    })
    .await;
    let session = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    idle(&session).await;
    session.send(Do::Complete).await.unwrap();
    until(&session, |status| status.state() == State::Completed).await;
    tokio::time::sleep(SECOND).await;
    are_whole(&other.events());
    assert_eq!(worker.supervisor.sinks().await.unwrap().remove(1).behind, 0);
    let report = worker.supervisor.shutdown(BUDGET).await;
    assert!(report.took <= BUDGET, "{report}");
    assert_eq!(hangs.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_new_begins_where_it_is_told_to() {
    let disk = MemoryStore::new();
    let start = |all: Memory, new: Memory| {
        let builder = Supervisor::builder(disk.clone()).workload(Scripted::default());
        let begin = SinkOptions::default().begin(SinkBegin::Now);
        builder.sink("all", all).sink_with("new", new, begin).start()
    };
    let supervisor =
        Supervisor::builder(disk.clone()).workload(Scripted::default()).start().await.unwrap();
    let session = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    idle(&session).await;
    let there = log(&session).await.len();
    supervisor.shutdown(BUDGET).await;

    let (all, new) = (Memory::default(), Memory::default());
    let supervisor = start(all.clone(), new.clone()).await.unwrap();
    supervisor.shutdown(BUDGET).await;
    are_whole(&all.events());
    assert!(new.events().iter().all(|(position, ..)| *position > there as u64));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_gap() {
    let disk = MemoryStore::new();
    let sink = Memory::default();
    let start = || Supervisor::builder(disk.clone()).workload(Scripted::default());
    let supervisor = start().start().await.unwrap();
    let session = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    session.send(Do::Emit(10)).await.unwrap();
    idle(&session).await;
    supervisor.shutdown(BUDGET).await;
    disk.damage(session.id(), Part::Event(4));
    disk.damage(session.id(), Part::Record);
    let supervisor = start().sink("memory", sink.clone()).start().await.unwrap();
    caught_up(&supervisor).await;
    let gaps = sink.taken().into_iter().filter_map(|item| match item {
        SinkItem::Gap { from, cursor } => Some(from..=cursor.position()),
        _ => None,
    });
    assert_eq!(gaps.collect::<Vec<_>>(), [4..=4]);
    assert!(!sink.taken().iter().any(|item| matches!(item, SinkItem::Record { .. })));
}

/// A worker of which the sink takes everything, and what is in its store then.
async fn filled(disk: &MemoryStore, sink: &Memory) -> Bookmark {
    let builder = Supervisor::builder(disk.clone()).workload(Scripted::default());
    let supervisor = builder.sink("memory", sink.clone()).start().await.unwrap();
    let session = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    idle(&session).await;
    supervisor.shutdown(BUDGET).await;
    begin(disk).await;
    disk.bookmarks().await.unwrap().remove(0)
}

fn somebody() -> WorkerGeneration {
    WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))
}

async fn begin(disk: &MemoryStore) {
    disk.begin(somebody()).await.unwrap();
}

/// Lets a store have a bookmark.
async fn put(disk: &MemoryStore, bookmark: Bookmark) {
    let bookmarks = vec![bookmark];
    let (generation, supervised) = (somebody(), SupervisedTime::default());
    let batch = Batch { generation, supervised, commits: Vec::new(), bookmarks };
    disk.commit(batch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_in_another_log_is_of_no_use() {
    let elsewhere = filled(&MemoryStore::new(), &Memory::default()).await;
    let (disk, sink) = (MemoryStore::new(), Memory::default());
    let here = filled(&disk, &sink).await;
    assert_ne!(here.cursor.log(), elsewhere.cursor.log());
    let there = sink.events().len();
    put(&disk, elsewhere).await;
    let sink = Memory::default();
    let again = filled(&disk, &sink).await;
    assert_eq!(again.cursor.log(), here.cursor.log());
    are_whole(&sink.events());
    assert!(sink.events().len() > there, "it has all that was there, and what came then");
}

#[tokio::test(start_paused = true)]
async fn where_the_store_was_put_back_a_sink_is_given_what_comes_then() {
    let (disk, sink) = (MemoryStore::new(), Memory::default());
    let mut ahead = filled(&disk, &sink).await;
    let there = ahead.cursor.position();
    assert_eq!(there, sink.events().len() as u64);
    ahead.cursor = format!("{:016x}-{}", ahead.cursor.log(), there + 1_000).parse().unwrap();
    put(&disk, ahead).await;
    let sink = Memory::default();
    let now = filled(&disk, &sink).await.cursor.position();
    let positions: Vec<_> = sink.events().iter().map(|(position, ..)| *position).collect();
    assert_eq!(positions, (there + 1..=now).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn sinks_that_cannot_be_are_refused() {
    let nothing = || sink::from_fn(|_: SinkBatch| async { Ok::<(), std::io::Error>(()) });
    let builder = || Supervisor::builder(MemoryStore::new()).workload(Scripted::default());
    let refused = builder().sink("one", nothing()).sink("one", nothing()).start().await;
    assert!(matches!(refused, Err(BuildError::DuplicateSink { name }) if name == "one"));
    let refused = builder().sink("a\nb", nothing()).start().await;
    assert!(matches!(refused, Err(BuildError::SinkName(_))));
    for options in [
        SinkOptions::default().interval(Duration::ZERO),
        SinkOptions::default().timeout(Duration::ZERO),
    ] {
        let refused = builder().sink_with("one", nothing(), options).start().await;
        assert!(matches!(refused, Err(BuildError::Invalid { .. })));
    }
}
