//! What an idle active session holds in memory, its timer included.

use crate::{
    disk,
    floor::actors,
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Idle},
};

pub(crate) const ROW: Row = Row {
    name: "memory",
    what: "resident memory of an idle active session with an empty state and a live timer",
    floor: "a linked actor, and a task with a channel",
    figures: &[Figure { name: "each", unit: Unit::Bytes, reach: Reach::AtMost(1.25) }],
    allocator: Allocator::AsItIs,
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
            let supervisor = workloads::supervise(folder.path(), Idle).await?;
            let first = workloads::start::<Idle>(&supervisor, fixed, || ()).await?;
            let before = disk::resident()?;
            // As a worker does it that knows its sessions by their ids: handles are not kept.
            let all = workloads::start::<Idle>(&supervisor, scene.sessions, || ()).await?;
            workloads::all_run(&all).await?;
            drop(all);
            let after = disk::resident()?;
            drop((first, supervisor));
            Readings::of("each", per(before, after))
        }
        Side::Floor => {
            let parent = actors::parent().await;
            let first = actors::bring_up(&parent, fixed).await?;
            let before = disk::resident()?;
            let all = actors::bring_up(&parent, scene.sessions).await?;
            let after = disk::resident()?;
            drop((first, all));
            Readings::of("each", per(before, after))
        }
    })
}
