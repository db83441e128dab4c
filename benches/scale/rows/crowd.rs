//! Many sessions that commit their states at once, each again as soon as its last is durable.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet, time::Instant};

use super::checkpoint;
use crate::{
    floor::{sled::Store, writer::Writer},
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Commits, Rewriting, Signals, Text},
};

pub(crate) const ROW: Row = Row {
    name: "crowd",
    what: "64 and 1,000 sessions that checkpoint 1 KiB all the time",
    floor: "as many tasks that have the same rows written by one thread",
    figures: &[
        Figure { name: "rate of 64", unit: Unit::Rate, reach: Reach::AtLeast(0.85) },
        Figure { name: "p99 of 64", unit: Unit::Time, reach: Reach::AtMost(1.5) },
        Figure { name: "rate of 1,000", unit: Unit::Rate, reach: Reach::AtLeast(0.85) },
        Figure { name: "p99 of 1,000", unit: Unit::Time, reach: Reach::AtMost(1.5) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

const BYTES: usize = 1 << 10;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let mut readings = Readings::default();
    for (name, crowd, most) in [("64", 64, 400), ("1,000", 1_000, 100)] {
        let crowd = scene.sessions.min(crowd);
        let rounds = (scene.sessions / 50).clamp(5, most) as u64;
        let (took, mut times) = match side {
            Side::Ours => ours(scene, crowd, rounds).await?,
            Side::Floor => floor(scene, crowd, rounds).await?,
        };
        let rate = crowd as f64 * rounds as f64 / took.as_secs_f64();
        readings = readings
            .and(&format!("rate of {name}"), rate)
            .time(&format!("p99 of {name}"), times.quantile(0.99));
    }
    Ok(readings)
}

async fn ours(scene: &Scene, crowd: usize, rounds: u64) -> anyhow::Result<(Duration, Times)> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (signals, mut conductor) = Signals::new(crowd);
    let supervisor = workloads::supervise(folder.path(), Rewriting(signals)).await?;
    let state = || Text::new(0, BYTES);
    let sessions = workloads::start::<Rewriting>(&supervisor, crowd, state).await?;
    for session in &sessions {
        session.send(Commits { beginnings: 1, each: rounds, bytes: BYTES }).await?;
    }
    conductor.begin().await;
    let began = Instant::now();
    let times = conductor.done(crowd).await?;
    let took = began.elapsed();
    for session in sessions {
        session.snapshot().await?.state.check(rounds, BYTES)?;
    }
    Ok((took, times))
}

async fn floor(scene: &Scene, crowd: usize, rounds: u64) -> anyhow::Result<(Duration, Times)> {
    let template = Arc::new(checkpoint::template(scene, BYTES).await?);
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let mut store = Store::open(folder.path())?;
    store.fill((0..crowd).flat_map(|session| template.rows(session)))?;
    let writer = Writer::on(store)?;
    let together = Arc::new(Barrier::new(crowd + 1));
    let mut tasks = JoinSet::new();
    for session in 0..crowd {
        let (template, line) = (Arc::clone(&template), writer.line());
        let together = Arc::clone(&together);
        tasks.spawn(async move {
            together.wait().await;
            let mut times = Times::default();
            for step in 0..rounds {
                let rows = template.writes(session, step);
                times.of(line.write(rows)).await?;
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    together.wait().await;
    let began = Instant::now();
    let mut times = Times::default();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let took = began.elapsed();
    let store = writer.close()?;
    for tree in ["records", "slots"] {
        store.expect(tree, &[], template.count(tree).1 * crowd)?;
    }
    Ok((took, times))
}
