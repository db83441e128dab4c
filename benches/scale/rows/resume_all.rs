//! The start of a worker on sessions that a shutdown paused.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, ensure};
use sessionkeeper::{SessionRecord, SnapshotEnvelope, State, Supervisor, store::SledStore};
use tokio::time::Instant;

use crate::{
    floor::{
        actors,
        sled::{Store, unseal},
        template::{self, Template},
        writer::Writer,
    },
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, RESTING, Resting, Text},
};

pub(crate) const ROW: Row = Row {
    name: "resume-all",
    what: "the start of a worker on sessions that a shutdown paused, with 1 KiB of state each, \
           until all run",
    floor: "their rows read and decoded, then linked actors and tasks spawned, then the same rows \
            by one thread that writes",
    figures: &[Figure { name: "all", unit: Unit::Time, reach: Reach::AtMost(1.5) }],
    allocator: Allocator::AsItIs,
    run,
};

/// What the index of the states says of an active session.
const ACTIVE: &[u8] = &[b't', 2];

/// No shutdown here takes longer.
const BUDGET: Duration = Duration::from_secs(24 * 3600);

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let count = scene.sessions;
    Ok(match side {
        Side::Ours => {
            let supervisor = workloads::supervise(folder.path(), Resting::default()).await?;
            let state = || Text::new(0, RESTING);
            drop(workloads::start::<Resting>(&supervisor, count, state).await?);
            shut_down(supervisor, count).await?;

            let store = SledStore::open(folder.path())?;
            let workload = Resting::default();
            let began = Instant::now();
            let supervisor = resume(store, count, workload.clone()).await?;
            while workload.begun.load(Ordering::Relaxed) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let took = began.elapsed();
            ensure!(workload.spoilt.load(Ordering::Relaxed) == 0, "some states are other ones");
            workloads::expect(&supervisor, State::Active, count).await?;
            Readings::default().time("all", took)
        }
        Side::Floor => {
            let template = template(scene).await?;
            let mut store = Store::open(folder.path())?;
            store.fill((0..count).flat_map(|session| template.rows(session)))?;
            drop(store);

            let store = Store::open(folder.path())?;
            let began = Instant::now();
            let decoded = decode(&store)?;
            let read = began.elapsed();
            ensure!(decoded == count, "{decoded} sessions were read, and not {count}");
            let began = Instant::now();
            let parent = actors::parent().await;
            let children = actors::bring_up(&parent, count).await?;
            let spawned = began.elapsed();
            let writer = Writer::on(store)?;
            let written = writer.write_for_all("write", count, count, template).await?;
            writer.close()?.expect("index", ACTIVE, count)?;
            drop(children);
            Readings::default()
                .time("all", read + spawned + written)
                .time("read", read)
                .time("spawn", spawned)
                .time("write", written)
        }
    })
}

async fn shut_down(supervisor: Supervisor, count: usize) -> anyhow::Result<()> {
    let report = supervisor.shutdown(BUDGET).await;
    ensure!(report.lines.len() == count, "the shutdown knew {} sessions", report.lines.len());
    Ok(())
}

async fn resume(store: SledStore, count: usize, workload: Resting) -> anyhow::Result<Supervisor> {
    let supervisor = Supervisor::builder(store)
        .workload(workload)
        .resume_at_once(count)
        .resume_jitter(Duration::ZERO)
        .start()
        .await?;
    let report = supervisor.recovered().await?;
    ensure!(report.resumed.len() == count, "{} sessions were resumed", report.resumed.len());
    Ok(supervisor)
}

/// Reads all sessions with their newest states, and says how many there are.
fn decode(store: &Store) -> anyhow::Result<usize> {
    let slots = store.tree("slots")?;
    let mut count = 0;
    for row in store.tree("records")? {
        let (key, value) = row?;
        let record: SessionRecord = serde_json::from_slice(unseal(&value)?)?;
        ensure!(record.state() == State::Paused, "{} is {}", record.id, record.state());
        let newest = record.snapshot().context("there is a snapshot")?;
        let slot = u8::from(newest.sequence % 2 == 1);
        let value = slots.get([&key[..], &[slot]].concat())?.context("the snapshot is there")?;
        let snapshot = unseal(&value)?.get(8..).context("its number is before it")?;
        let snapshot = SnapshotEnvelope::decode(snapshot)?;
        serde_json::from_slice::<Text>(&snapshot.payload)?.check(0, RESTING)?;
        count += 1;
    }
    Ok(count)
}

/// What is written when a session is resumed that a shutdown had paused.
async fn template(scene: &Scene) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let folder: &Path = folder.path();
    let supervisor = workloads::supervise(folder, Resting::default()).await?;
    let state = Text::new(0, RESTING);
    let session = workloads::start_one::<Resting>(&supervisor, state).await?.id();
    shut_down(supervisor, 1).await?;
    let before = template::rows(folder).await?;
    let _supervisor = resume(SledStore::open(folder)?, 1, Resting::default()).await?;
    Template::of(session, &before, &template::rows(folder).await?)
}
