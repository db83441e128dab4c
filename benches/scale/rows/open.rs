//! A store that is opened again.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use sessionkeeper::{
    EventRecord, Fact, SessionId, SessionRecord, WorkerGeneration,
    store::{Batch, Commit, SledStore, Store as _},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    floor::sled::{Store, inside},
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, RESTING, Resting, Text},
};

pub(crate) const ROW: Row = Row {
    name: "open",
    what: "a store of all sessions and ten events of each, opened for a worker, at the median",
    floor: "the same database opened, and all records read",
    figures: &[Figure { name: "each", unit: Unit::Time, reach: Reach::AtMost(1.2) }],
    allocator: Allocator::AsItIs,
    run,
};

/// How many events each session has.
const EVENTS: u64 = 10;

/// How often the store is opened.
const OPENINGS: usize = 5;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    fill(scene, folder.path()).await?;
    let mut times = Times::default();
    for _ in 0..OPENINGS {
        let began = Instant::now();
        match side {
            Side::Ours => {
                let store = SledStore::open(folder.path())?;
                store.begin(generation()).await?;
                times.push(began.elapsed());
                check(&store, scene.sessions).await?;
            }
            Side::Floor => {
                let store = Store::open(&inside(folder.path()))?;
                store.expect("records", &[], scene.sessions)?;
                times.push(began.elapsed());
            }
        }
    }
    Ok(Readings::default().time("each", times.quantile(0.5)))
}

async fn check(store: &SledStore, count: usize) -> anyhow::Result<()> {
    ensure!(store.damaged().await?.is_empty(), "the store is damaged");
    for number in [0, count / 2, count - 1] {
        let session = session(number);
        let record = store.load(session).await?.context("a session is missing")?;
        ensure!(record.id == session, "it is another one");
        let events = store.events(session, 1..=u64::MAX, usize::MAX).await?;
        ensure!(events.len() as u64 == EVENTS, "{} events were read", events.len());
    }
    ensure!(store.load(session(count)).await?.is_none(), "there is a session too many");
    Ok(())
}

/// Puts all sessions into a store.
async fn fill(scene: &Scene, folder: &Path) -> anyhow::Result<()> {
    let (record, event, snapshot) = template(scene).await?;
    let store = SledStore::open(folder)?;
    let generation = generation();
    let supervised = store.begin(generation).await?.supervised;
    let commit = |number| {
        let events = (1..=EVENTS).map(|sequence| EventRecord { sequence, ..event.clone() });
        Arc::new(Commit {
            record: Arc::new(SessionRecord {
                id: session(number),
                version: 1,
                writer: generation,
                last_event: EVENTS,
                ..record.clone()
            }),
            events: events.collect(),
            inputs: Vec::new(),
            steps: Vec::new(),
            snapshot: Some(Arc::clone(&snapshot)),
            successor: None,
        })
    };
    let bar = workloads::progress("fill", scene.sessions);
    let all: Vec<usize> = (0..scene.sessions).collect();
    for part in all.chunks(1_000) {
        let commits = part.iter().map(|number| commit(*number)).collect();
        for answer in
            store.commit(Batch { generation, supervised, commits, bookmarks: Vec::new() }).await?
        {
            answer?;
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    Ok(store.close().await?)
}

/// What there is of a session that has just been started, and an event of 200 bytes.
pub(super) async fn template(
    scene: &Scene,
) -> anyhow::Result<(SessionRecord, EventRecord, Arc<[u8]>)> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let supervisor = workloads::supervise(folder.path(), Resting::default()).await?;
    let state = Text::new(0, RESTING);
    let session = workloads::start_one::<Resting>(&supervisor, state).await?.id();
    supervisor.shutdown(std::time::Duration::from_secs(60)).await;
    let store = SledStore::open(folder.path())?;
    let mut record = store.load(session).await?.context("it was started")?;
    record.snapshots.truncate(1);
    let newest = record.snapshot().context("it has a state")?.sequence;
    let snapshot = store.snapshot(session, newest).await?.context("its state is there")?;
    let last = store.events(session, record.last_event..=record.last_event, 1).await?;
    let last = last.into_iter().next().context("it has events")?;
    Ok((record, EventRecord { fact: Fact::Work(workloads::event()), ..last }, snapshot))
}

pub(super) fn session(number: usize) -> SessionId {
    let mut bytes = [0x5e; 16];
    if let Some(first) = bytes.first_chunk_mut() {
        *first = (number as u64).to_be_bytes();
    }
    SessionId::from_uuid(Uuid::from_bytes(bytes))
}

/// A worker.
pub(super) fn generation() -> WorkerGeneration {
    WorkerGeneration::from_uuid(Uuid::from_u128(fastrand::u128(1..)))
}
