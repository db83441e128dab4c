//! What an idle active session holds in memory, its timer included.

use tokio::sync::mpsc;

use crate::{
    disk,
    floor::actors,
    readings::Readings,
    row::{Figure, Reach, Row, Scene, Side, Unit},
    workloads,
};

pub(crate) const ROW: Row = Row {
    name: "memory",
    what: "resident memory of an idle active session with an empty state and a live timer",
    floor: "a linked actor, and a task with a channel",
    figures: &[Figure { name: "each", unit: Unit::Bytes, reach: Reach::AtMost(1.25) }],
    run,
};

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    // What is there once, whatever the number: threads, the store, its cache.
    let fixed = scene.sessions.min(1_000);
    let per = |before: f64, after: f64| (after - before) / scene.sessions as f64;
    Ok(match side {
        Side::Ours => {
            let folder = tempfile::tempdir_in(&scene.folder)?;
            let supervisor = workloads::supervise(folder.path()).await?;
            let first = workloads::start(&supervisor, fixed).await?;
            let before = disk::resident()?;
            // As a worker does it that knows its sessions by their ids: handles are not kept.
            drop(workloads::start(&supervisor, scene.sessions).await?);
            let after = disk::resident()?;
            drop((first, supervisor));
            Readings::of("each", per(before, after))
        }
        Side::Floor => {
            let parent = actors::parent().await;
            let bring_up = |count: usize| {
                let mut all = Vec::with_capacity(count);
                for _ in 0..count {
                    let actor = actors::child(&parent);
                    let (line, mut inbox) = mpsc::unbounded_channel::<Vec<u8>>();
                    let task = tokio::spawn(async move { while inbox.recv().await.is_some() {} });
                    all.push((actor, line, task));
                }
                all
            };
            let first = bring_up(fixed);
            let before = disk::resident()?;
            let all = bring_up(scene.sessions);
            actors::settle(all.iter().map(|(actor, _, _)| actor)).await?;
            let after = disk::resident()?;
            drop((first, all));
            Readings::of("each", per(before, after))
        }
    })
}
