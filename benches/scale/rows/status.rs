//! The status of live sessions: as a page shows it that goes through many of them.

use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::ensure;
use sessionkeeper::State;
use tokio::time::Instant;

use crate::{
    readings::{Readings, nanos},
    row::{Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Idle},
};

pub(crate) const ROW: Row = Row {
    name: "status",
    what: "the status of a live session, of a tenth of the sessions in random order",
    floor: "a lookup in a concurrent map of as many entries, and a clone of the `Arc`",
    figures: &[
        Figure { name: "by id", unit: Unit::Time, reach: Reach::AtMost(3.0) },
        Figure { name: "by handle", unit: Unit::Time, reach: Reach::AtMost(3.0) },
    ],
    run,
};

const READS: usize = 2_000_000;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let count = scene.sessions.div_ceil(10);
    Ok(match side {
        Side::Ours => {
            let folder = tempfile::tempdir_in(&scene.folder)?;
            let supervisor = workloads::supervise(folder.path(), Idle).await?;
            let mut sessions = workloads::start::<Idle>(&supervisor, count, || ()).await?;
            fastrand::shuffle(&mut sessions);
            workloads::all_run(&sessions).await?;
            let ids: Vec<_> = sessions.iter().map(|session| session.id()).collect();
            let mut active = 0;
            let began = Instant::now();
            for id in ids.iter().cycle().take(READS) {
                let status = supervisor.status(*id).await?;
                active += usize::from(status.state() == State::Active && status.session() == *id);
            }
            let by_id = began.elapsed();
            let began = Instant::now();
            for session in sessions.iter().cycle().take(READS) {
                let status = session.status().await?;
                let is_right = status.session() == session.id();
                active += usize::from(status.state() == State::Active && is_right);
            }
            let by_handle = began.elapsed();
            ensure!(active == 2 * READS, "only {active} of {} were as they are", 2 * READS);
            Readings::of("by id", each(by_id)).and("by handle", each(by_handle))
        }
        Side::Floor => {
            let map = papaya::HashMap::<u128, Arc<u128>>::new();
            let mut ids: Vec<u128> = (0..count).map(|_| fastrand::u128(..)).collect();
            let pinned = map.pin();
            for id in &ids {
                pinned.insert(*id, Arc::new(*id));
            }
            drop(pinned);
            fastrand::shuffle(&mut ids);
            let mut found = 0;
            let began = Instant::now();
            for id in ids.iter().cycle().take(READS) {
                let entry = black_box(&map).pin().get(id).map(Arc::clone);
                found += usize::from(entry.is_some_and(|entry| *entry == *id));
            }
            let took = began.elapsed();
            ensure!(found == READS, "only {found} of {READS} were found");
            Readings::of("by id", each(took)).and("by handle", each(took))
        }
    })
}

fn each(took: Duration) -> f64 {
    nanos(took) / READS as f64
}
