//! A heartbeat: from within the run, and from outside by a handle.

use std::{
    hint::black_box,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use sessionkeeper::{
    Context, Outcome, Start, Supervisor, Workload, WorkloadError, store::SledStore,
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    readings::{Readings, nanos},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
};

pub(crate) const ROW: Row = Row {
    name: "heartbeat",
    what: "a heartbeat of a run",
    floor: "a clock read and an atomic store",
    figures: &[
        Figure { name: "in the run", unit: Unit::Time, reach: Reach::AtMost(1.3) },
        Figure { name: "by a handle", unit: Unit::Time, reach: Reach::AtMost(2.0) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

const BEATS: u32 = 20_000_000;

/// Beats, and says how long it took.
struct Beating(Mutex<Option<oneshot::Sender<f64>>>);

impl Workload for Beating {
    const KIND: &'static str = "beating";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let told = self.0.lock().ok().and_then(|mut told| told.take());
        if let Some(told) = told {
            let run = cx.run();
            let took = each(|| black_box(run).heartbeat());
            // Whoever asked is gone only with this process.
            let _ = told.send(took);
        }
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }
}

/// How long one of many takes, in nanoseconds.
fn each(mut beat: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..BEATS {
        beat();
    }
    nanos(began.elapsed()) / f64::from(BEATS)
}

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    Ok(match side {
        Side::Ours => {
            let folder = tempfile::tempdir_in(&scene.folder)?;
            let (told, within) = oneshot::channel();
            let supervisor = Supervisor::builder(SledStore::open(folder.path())?)
                .workload(Beating(Mutex::new(Some(told))))
                .start()
                .await?;
            let session = supervisor.start(Start::<Beating>::new(())).await?.into_handle();
            let within = within.await.context("the run ended")?;
            let mut beats = 0_u32;
            let handle = each(|| beats += u32::from(black_box(&session).heartbeat().is_ok()));
            anyhow::ensure!(beats == BEATS, "the session is alive, and took {beats} beats");
            Readings::of("in the run", within).and("by a handle", handle)
        }
        Side::Floor => {
            let (beat, origin) = (AtomicU64::new(0), Instant::now());
            let floor = each(|| {
                let now = black_box(origin).elapsed().as_millis() as u64;
                black_box(&beat).store(now, Ordering::Relaxed);
            });
            Readings::of("in the run", floor).and("by a handle", floor)
        }
    })
}
