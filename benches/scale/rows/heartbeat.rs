//! A heartbeat of a live session, given from outside by its handle.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::{
    readings::{Readings, nanos},
    row::{Figure, Reach, Row, Scene, Side, Unit},
    workloads,
};

pub(crate) const ROW: Row = Row {
    name: "heartbeat",
    what: "a heartbeat of a run",
    floor: "a clock read and an atomic store",
    figures: &[Figure { name: "each", unit: Unit::Time, reach: Reach::AtMost(1.3) }],
    run,
};

const BEATS: u32 = 20_000_000;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let took = match side {
        Side::Ours => {
            let folder = tempfile::tempdir_in(&scene.folder)?;
            let supervisor = workloads::supervise(folder.path()).await?;
            let sessions = workloads::start(&supervisor, 1).await?;
            let began = Instant::now();
            for session in sessions.iter().cycle().take(BEATS as usize) {
                black_box(session).heartbeat()?;
            }
            began.elapsed()
        }
        Side::Floor => {
            let (beat, origin) = (AtomicU64::new(0), Instant::now());
            let began = Instant::now();
            for _ in 0..BEATS {
                let now = black_box(origin).elapsed().as_millis() as u64;
                beat.store(now, Ordering::Relaxed);
            }
            black_box(&beat);
            began.elapsed()
        }
    };
    Ok(Readings::of("each", nanos(took) / f64::from(BEATS)))
}
