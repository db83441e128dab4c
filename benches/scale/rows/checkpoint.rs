//! One session that commits its state again and again.

use std::time::Duration;

use anyhow::ensure;

use crate::{
    floor::{
        sled::Store,
        template::{self, Template},
        writer::Writer,
    },
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Commits, Rewriting, Signals, Text},
};

pub(crate) const ROW: Row = Row {
    name: "checkpoint",
    what: "a checkpoint of one session, until it is durable, at the median",
    floor: "the same rows by one thread that writes, flushes and syncs",
    figures: &[
        Figure { name: "1 KiB", unit: Unit::Time, reach: Reach::AtMost(1.3) },
        Figure { name: "64 KiB", unit: Unit::Time, reach: Reach::AtMost(1.3) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let rounds = scene.sessions.clamp(100, 1_000) as u64;
    let sizes = [("1 KiB", 1 << 10, rounds), ("64 KiB", 64 << 10, rounds / 2)];
    let mut readings = Readings::default();
    for (name, bytes, rounds) in sizes {
        let took = match side {
            Side::Ours => ours(scene, bytes, rounds).await?,
            Side::Floor => floor(scene, bytes, rounds).await?,
        };
        readings = readings.time(name, took);
    }
    Ok(readings)
}

async fn ours(scene: &Scene, bytes: usize, rounds: u64) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (signals, mut conductor) = Signals::new(1);
    let supervisor = workloads::supervise(folder.path(), Rewriting(signals)).await?;
    let state = Text::new(0, bytes);
    let session = workloads::start_one::<Rewriting>(&supervisor, state).await?;
    session.send(Commits { beginnings: 1, each: rounds, bytes }).await?;
    let mut times = conductor.step().await?;
    session.snapshot().await?.state.check(rounds, bytes)?;
    Ok(times.quantile(0.5))
}

async fn floor(scene: &Scene, bytes: usize, rounds: u64) -> anyhow::Result<Duration> {
    let template = template(scene, bytes).await?;
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let mut store = Store::open(folder.path())?;
    store.fill(template.rows(0))?;
    let writer = Writer::on(store)?;
    let line = writer.line();
    let times = tokio::spawn(async move {
        let mut times = Times::default();
        for step in 0..rounds {
            let rows = template.writes(0, step);
            times.of(line.write(rows)).await?;
        }
        for tree in ["slots", "snapshots", "pieces"] {
            let (before, after) = template.count(tree);
            ensure!(before == after, "a checkpoint keeps as many rows as there were");
        }
        Ok((times, template))
    });
    let (mut times, template) = times.await??;
    let store = writer.close()?;
    for tree in ["records", "slots", "snapshots", "pieces"] {
        store.expect(tree, &[], template.count(tree).1)?;
    }
    Ok(times.quantile(0.5))
}

/// What a checkpoint of so many bytes writes, when there were some before it.
pub(super) async fn template(scene: &Scene, bytes: usize) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (signals, mut conductor) = Signals::new(1);
    let supervisor = workloads::supervise(folder.path(), Rewriting(signals)).await?;
    let state = Text::new(0, bytes);
    let session = workloads::start_one::<Rewriting>(&supervisor, state).await?;
    session.send(Commits { beginnings: 5, each: 1, bytes }).await?;
    for _ in 0..4 {
        conductor.step().await?;
    }
    let before = template::rows(folder.path()).await?;
    conductor.step().await?;
    Template::of(session.id(), &before, &template::rows(folder.path()).await?)
}
