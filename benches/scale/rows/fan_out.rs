//! Events on their way to many: told by one run, and taken by subscribers to the log of all sessions.
//!
//! One of the subscribers does not read until the others have all. Ours are durable before anybody sees them,
//! the floor's are not.

use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::StreamExt;
use sessionkeeper::{Event, EventRecord, Fact, LogFilter, LogFrom, LogUpdate, Timestamp};
use tokio::{
    sync::{Semaphore, broadcast},
    task::JoinSet,
    time::Instant,
};

use crate::{
    disk,
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Telling},
};

pub(crate) const ROW: Row = Row {
    name: "fan-out",
    what: "2,000 events of one session to 1,000 subscribers to the log of all, one of which does not read \
           until the others have all of them",
    floor: "the same events through a broadcast channel of tokio, which has room for all",
    figures: &[
        Figure { name: "all", unit: Unit::Time, reach: Reach::AtMost(2.0) },
        // Before the one that does not read does so: the newest events, and what the store keeps in memory.
        Figure { name: "held", unit: Unit::Bytes, reach: Reach::Below(HELD) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

const EVENTS: usize = 2_000;
const MOST: usize = 1_000;
const HELD: f64 = (16 << 20) as f64;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let subscribers = scene.sessions.clamp(2, MOST);
    match side {
        Side::Ours => ours(scene, subscribers).await,
        Side::Floor => floor(subscribers).await,
    }
}

async fn ours(scene: &Scene, subscribers: usize) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let told = Arc::new(Semaphore::new(0));
    let workload = Telling { told: Arc::clone(&told) };
    let supervisor = workloads::supervise(folder.path(), workload).await?;
    let session = workloads::start_one::<Telling>(&supervisor, ()).await?;
    // What tells of its start is durable by then.
    session.send(0).await?;
    told.acquire().await?.forget();
    let subscribe = || supervisor.subscribe(LogFilter::default(), LogFrom::Now);
    let lazy = subscribe().await?;
    let mut all = JoinSet::new();
    for _ in 1..subscribers {
        let updates = subscribe().await?;
        all.spawn(take(updates));
    }
    let before = disk::resident()?;
    let began = Instant::now();
    session.send(EVENTS).await?;
    while let Some(taken) = all.join_next().await {
        taken??;
    }
    let readings = Readings::default().time("all", began.elapsed());
    let held = disk::resident()? - before;
    take(lazy).await?;
    Ok(readings.and("held", held))
}

/// Takes the events, which have no gap.
async fn take<S, E>(updates: S) -> anyhow::Result<()>
where
    S: futures::Stream<Item = Result<LogUpdate, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut updates = updates.take(EVENTS);
    let mut last = None;
    let mut count = 0;
    while let Some(update) = updates.next().await {
        let LogUpdate::Event { event, .. } = update? else {
            anyhow::bail!("some are gone");
        };
        ensure!(
            last.is_none_or(|last| last + 1 == event.sequence),
            "{} comes next",
            event.sequence
        );
        last = Some(event.sequence);
        count += 1;
    }
    ensure!(count == EVENTS, "{count} came");
    Ok(())
}

async fn floor(subscribers: usize) -> anyhow::Result<Readings> {
    let (sender, lazy) = broadcast::channel(EVENTS);
    let mut all = JoinSet::new();
    for _ in 1..subscribers {
        all.spawn(receive(sender.subscribe()));
    }
    tokio::task::yield_now().await;
    let before = disk::resident()?;
    let events = (0..EVENTS as u64).map(|sequence| {
        let fact = Fact::Work(Event::completion(workloads::random_text(166)));
        Arc::new(EventRecord { sequence, at: Timestamp::UNIX_EPOCH, run: None, input: None, fact })
    });
    let events: Vec<_> = events.collect();
    let began = Instant::now();
    for event in events {
        sender.send(event).ok().context("somebody receives")?;
    }
    while let Some(received) = all.join_next().await {
        received??;
    }
    let readings = Readings::default().time("all", began.elapsed());
    let held = disk::resident()? - before;
    receive(lazy).await?;
    Ok(readings.and("held", held))
}

async fn receive(mut receiver: broadcast::Receiver<Arc<EventRecord>>) -> anyhow::Result<()> {
    for number in 0..EVENTS as u64 {
        let event = receiver.recv().await?;
        ensure!(event.sequence == number, "{} comes after {number}", event.sequence);
    }
    Ok(())
}
