//! A power cut takes what was not synced, and nothing that was.

use tokio::time::sleep;

use super::{
    chain::{Chain, Story},
    child::Work,
    disk::Disk,
    line::Phase,
    parent::Child,
};
use crate::{guarantees::kit::micros, support::number};

/// How many power cuts.
const CUTS: &str = "SESSIONKEEPER_CUTS";

/// A disk to cut the power of, and how often; `None`, and a word, where there can be none.
fn begin(test: &'static str) -> Option<(Disk, u64, Story)> {
    let cuts = number(CUTS).unwrap_or(3);
    match Disk::new() {
        Ok(disk) => Some((disk, cuts, Story::new(test, CUTS, cuts))),
        Err(why) => {
            eprintln!("skipped: {test}: {why}");
            None
        }
    }
}

/// Lets a child say some lines, then cuts its power.
async fn work_until_cut(child: &mut Child, lines: u32, disk: &Disk, rng: &mut fastrand::Rng) {
    if child.until_reached(Phase::Recovered).await {
        for _ in 0..lines {
            child.next().await;
        }
        sleep(micros(rng.u64(0..20_000))).await;
    }
    disk.cut();
    child.kill().await;
    disk.restore();
}

#[tokio::test]
async fn g2_a_synced_store_loses_nothing_acknowledged_in_a_power_cut() {
    const TEST: &str = "g2_a_synced_store_loses_nothing_acknowledged_in_a_power_cut";
    let Some((disk, cuts, story)) = begin(TEST) else { return };
    let mut rng = story.rng();
    let mut chain = Chain::on(story, disk.path());
    for _ in 0..cuts {
        let work = Work { largest: rng.usize(0..2) * 300_000, ..chain.next(&mut rng) };
        let mut child = chain.spawn(&work);
        work_until_cut(&mut child, rng.u32(0..300), &disk, &mut rng).await;
        chain = chain.keep(&work, &child);
    }
    let told = chain.close(&mut rng).await;
    eprintln!("{cuts} power cuts, {told} promises kept");
}

#[tokio::test]
async fn g2_a_flushed_store_loses_in_a_power_cut_what_a_kill_leaves() {
    const TEST: &str = "g2_a_flushed_store_loses_in_a_power_cut_what_a_kill_leaves";
    let Some((disk, cuts, story)) = begin(TEST) else { return };
    let mut rng = story.rng();
    let mut losses = Vec::new();
    for _ in 0..cuts {
        let mut chain = Chain::on(story, disk.path());
        // Killed alone, it keeps everything.
        let work = Work { synced: false, ..chain.next(&mut rng) };
        let mut child = chain.spawn(&work);
        child.until_reached(Phase::Recovered).await;
        for _ in 0..rng.u32(50..200) {
            child.next().await;
        }
        child.kill().await;
        chain = chain.keep(&work, &child);

        let work = Work { synced: false, ..chain.next(&mut rng) };
        let mut child = chain.spawn(&work);
        work_until_cut(&mut child, rng.u32(50..300), &disk, &mut rng).await;
        chain = chain.keep(&work, &child);

        let work = Work { synced: false, steps: 1, ..chain.next(&mut rng) };
        let mut child = chain.spawn(&work);
        child.ended().await;
        losses.extend(chain.take(&child));
        std::fs::remove_dir_all(disk.path().join("store")).unwrap();
    }
    let lost = losses.len();
    let example = losses.first().and_then(|loss| loss.lines().next());
    eprintln!("{cuts} power cuts, of which {lost} cost something, such as: {example:?}");
    assert!(lost > 0, "without a sync a power cut costs something: else it was none");
}
