//! All sessions paused by many callers.

use std::sync::Arc;

use sessionkeeper::State;
use tokio::time::Instant;

use crate::{
    floor::{
        actors,
        sled::Store,
        template::{self, Template},
        writer::Writer,
    },
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, CALLERS, RESTING, Resting, Text},
};

pub(crate) const ROW: Row = Row {
    name: "pause-all",
    what: "durable pauses of all sessions, with 1 KiB of state each, from 512 callers",
    floor: "the same rows by one thread that writes, and then linked actors stopped",
    figures: &[Figure { name: "all", unit: Unit::Time, reach: Reach::AtMost(1.25) }],
    allocator: Allocator::AsItIs,
    run,
};

/// What the index of the states says of a paused session.
const PAUSED: &[u8] = &[b't', 3];

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let count = scene.sessions;
    Ok(match side {
        Side::Ours => {
            let supervisor = workloads::supervise(folder.path(), Resting::default()).await?;
            let state = || Text::new(0, RESTING);
            let sessions = workloads::start::<Resting>(&supervisor, count, state).await?;
            let sessions: Arc<[_]> = sessions.into();
            let began = Instant::now();
            let pausing = workloads::by_many("pause", CALLERS, count, move |place| {
                let session = sessions.get(place).cloned();
                async move {
                    if let Some(session) = session {
                        session.pause().await?;
                    }
                    Ok(())
                }
            });
            pausing.await?;
            let took = began.elapsed();
            workloads::expect(&supervisor, State::Paused, count).await?;
            Readings::default().time("all", took)
        }
        Side::Floor => {
            let template = template(scene).await?;
            let mut store = Store::open(folder.path())?;
            store.fill((0..count).flat_map(|session| template.rows(session)))?;
            let writer = Writer::on(store)?;
            let written = writer.write_for_all("write", CALLERS, count, template).await?;
            let store = writer.close()?;
            store.expect("records", &[], count)?;
            store.expect("index", PAUSED, count)?;
            drop(store);

            let parent = actors::parent().await;
            let children = actors::bring_up(&parent, count).await?;
            let began = Instant::now();
            actors::stop_all(&parent, &children).await?;
            let stopped = began.elapsed();
            Readings::default()
                .time("all", written + stopped)
                .time("write", written)
                .time("stop", stopped)
        }
    })
}

/// What a pause writes.
async fn template(scene: &Scene) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let supervisor = workloads::supervise(folder.path(), Resting::default()).await?;
    let state = Text::new(0, RESTING);
    let session = workloads::start_one::<Resting>(&supervisor, state).await?;
    let before = template::rows(folder.path()).await?;
    session.pause().await?;
    Template::of(session.id(), &before, &template::rows(folder.path()).await?)
}
