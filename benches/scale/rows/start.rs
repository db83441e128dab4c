//! Many sessions started by many callers.

use tokio::time::Instant;

use crate::{
    floor::{
        actors,
        template::{self, Template},
        writer::Writer,
    },
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, CALLERS, Idle},
};
use sessionkeeper::{Start, State};

pub(crate) const ROW: Row = Row {
    name: "start",
    what: "durable starts of all sessions, from 512 callers",
    floor: "linked actors and tasks spawned, and then the same rows by one thread that writes",
    figures: &[Figure { name: "all", unit: Unit::Time, reach: Reach::AtMost(1.5) }],
    allocator: Allocator::AsItIs,
    run,
};

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let count = scene.sessions;
    Ok(match side {
        Side::Ours => {
            let supervisor = workloads::supervise(folder.path(), Idle).await?;
            let caller = supervisor.clone();
            let began = Instant::now();
            let starting = workloads::by_many("start", CALLERS, count, move |_| {
                let supervisor = caller.clone();
                async move { Ok(supervisor.start(Start::<Idle>::new(())).await.map(drop)?) }
            });
            starting.await?;
            let took = began.elapsed();
            workloads::expect(&supervisor, State::Active, count).await?;
            Readings::default().time("all", took)
        }
        Side::Floor => {
            let template = template(scene).await?;
            let records = template.count("records");
            let began = Instant::now();
            let parent = actors::parent().await;
            let all = actors::bring_up(&parent, count).await?;
            let spawned = began.elapsed();
            let writer = Writer::open(folder.path())?;
            let written = writer.write_for_all("write", CALLERS, count, template).await?;
            anyhow::ensure!(records == (0, 1), "a start makes a record");
            writer.close()?.expect("records", &[], count)?;
            drop(all);
            Readings::default()
                .time("all", spawned + written)
                .time("spawn", spawned)
                .time("write", written)
        }
    })
}

/// What a start writes.
async fn template(scene: &Scene) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let supervisor = workloads::supervise(folder.path(), Idle).await?;
    workloads::start_one::<Idle>(&supervisor, ()).await?;
    let before = template::rows(folder.path()).await?;
    let session = workloads::start_one::<Idle>(&supervisor, ()).await?;
    Template::of(session.id(), &before, &template::rows(folder.path()).await?)
}
