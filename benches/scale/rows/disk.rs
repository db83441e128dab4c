//! How much room a store takes that is written to for long.

use std::sync::Arc;

use anyhow::ensure;

use super::checkpoint;
use crate::{
    disk,
    floor::{
        sled::{Store, inside},
        writer::Writer,
    },
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Commits, Rewriting, Signals, Text},
};

pub(crate) const ROW: Row = Row {
    name: "disk",
    what: "room taken after 200 rounds of checkpoints of 1 KiB by a tenth of the sessions, and \
           its growth from the round in the middle",
    floor: "the bytes that are live; and for `beside sled`, the same rows in sled alone",
    figures: &[
        Figure { name: "used", unit: Unit::Bytes, reach: Reach::AtMost(4.5) },
        Figure { name: "growth", unit: Unit::Times, reach: Reach::Below(1.1) },
        Figure { name: "beside sled", unit: Unit::Bytes, reach: Reach::AtMost(1.25) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

/// How many rounds there are before each look.
const ROUNDS: u64 = 100;
const BYTES: usize = 1 << 10;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let sessions = (scene.sessions / 10).max(100);
    match side {
        Side::Ours => ours(scene, sessions).await,
        Side::Floor => floor(scene, sessions).await,
    }
}

async fn ours(scene: &Scene, count: usize) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (signals, mut conductor) = Signals::new(count);
    let supervisor = workloads::supervise(folder.path(), Rewriting(signals)).await?;
    let state = || Text::new(0, BYTES);
    let sessions = workloads::start::<Rewriting>(&supervisor, count, state).await?;
    let commits = Commits { beginnings: 2 * ROUNDS, each: 1, bytes: BYTES };
    let all: Arc<[_]> = sessions.into();
    let to = Arc::clone(&all);
    let sending = workloads::by_many("send", workloads::CALLERS, count, move |place| {
        let session = to.get(place).cloned();
        async move {
            if let Some(session) = session {
                session.send(commits).await?;
            }
            Ok(())
        }
    });
    sending.await?;
    let mut used = Vec::new();
    for _ in 0..2 {
        for _ in 0..ROUNDS {
            conductor.begin().await;
            conductor.done(count).await?;
        }
        used.push(disk::taken(folder.path())?);
    }
    for session in &*all {
        session.snapshot().await?.state.check(2 * ROUNDS, BYTES)?;
    }
    Ok(readings(&used))
}

async fn floor(scene: &Scene, count: usize) -> anyhow::Result<Readings> {
    let template = Arc::new(checkpoint::template(scene, BYTES).await?);
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let mut store = Store::open(&inside(folder.path()))?;
    store.fill((0..count).flat_map(|session| template.rows(session)))?;
    let writer = Writer::on(store)?;
    let mut used = Vec::new();
    for begin in [0, ROUNDS] {
        for step in begin..begin + ROUNDS {
            let (template, line) = (Arc::clone(&template), writer.line());
            let writing = workloads::by_many("write", count, count, move |session| {
                let (template, line) = (Arc::clone(&template), line.clone());
                async move { line.write(template.writes(session, step)).await }
            });
            writing.await?;
        }
        used.push(disk::taken(folder.path())?);
    }
    let store = writer.close()?;
    for tree in ["records", "slots"] {
        store.expect(tree, &[], template.count(tree).1 * count)?;
    }
    let live = template.bytes() * count;
    ensure!(live > count * 2 * BYTES, "two states of each session are kept");
    Ok(readings(&used).and("used", live as f64))
}

fn readings(used: &[f64]) -> Readings {
    let (middle, end) = (used.first().copied(), used.last().copied());
    let (middle, end) = (middle.unwrap_or(f64::NAN), end.unwrap_or(f64::NAN));
    Readings::of("used", end).and("beside sled", end).and("growth", end / middle)
}
