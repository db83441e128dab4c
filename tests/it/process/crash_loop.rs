//! A worker that is killed again and again, at any moment and at every point of the write path,
//! loses nothing that it acknowledged.

use std::collections::BTreeMap;

use tokio::time::sleep;

use super::{
    chain::{Chain, Story},
    line::Phase,
};
use crate::{guarantees::kit::micros, support::number};

/// How many children work one after the other in one folder.
const CHAIN: u64 = 20;
/// How many kills at random times.
const KILLS: &str = "SESSIONKEEPER_KILLS";

#[tokio::test]
async fn g2_nothing_acknowledged_is_lost_by_a_kill_at_any_moment() {
    let kills = number(KILLS).unwrap_or(10);
    let story = Story::new("g2_nothing_acknowledged_is_lost_by_a_kill_at_any_moment", KILLS, kills);
    let mut rng = story.rng();
    let mut phases = BTreeMap::new();
    let mut chain = Chain::new(story);
    let mut told = 0;
    for kill in 0..kills {
        if kill > 0 && kill.is_multiple_of(CHAIN) {
            told += std::mem::replace(&mut chain, Chain::new(story)).close(&mut rng).await;
        }
        let mut work = chain.next(&mut rng);
        // One in four is about to shut down, or does.
        let phase = match rng.u32(0..8) {
            0 => Phase::Spawned,
            1 => Phase::Opened,
            2 => Phase::Started,
            3 | 4 => Phase::ShuttingDown,
            _ => Phase::Recovered,
        };
        if phase == Phase::ShuttingDown {
            work.steps = rng.u32(1..10);
        }
        let mut child = chain.spawn(&work);
        if phase != Phase::Spawned {
            child.until_reached(phase).await;
        }
        for _ in 0..if phase == Phase::Recovered { rng.u32(0..300) } else { 0 } {
            child.next().await;
        }
        sleep(micros(rng.u64(0..20_000))).await;
        child.kill().await;
        *phases.entry(child.phase()).or_insert(0) += 1;
        chain = chain.keep(&work, &child);
    }
    told += chain.close(&mut rng).await;
    eprintln!("{kills} kills, {told} promises; killed after: {phases:?}");
}

#[cfg(not(sessionkeeper_faults))]
#[test]
fn g2_nothing_acknowledged_is_lost_by_a_kill_at_any_point() {
    eprintln!(
        "skipped: g2_nothing_acknowledged_is_lost_by_a_kill_at_any_point: \
         there are points only with RUSTFLAGS=\"--cfg sessionkeeper_faults\""
    );
}

#[cfg(sessionkeeper_faults)]
#[tokio::test]
async fn g2_nothing_acknowledged_is_lost_by_a_kill_at_any_point() {
    use std::os::unix::process::ExitStatusExt;

    use sessionkeeper::faults::Point;

    let kills = number(KILLS).unwrap_or(10);
    let story = Story::new("g2_nothing_acknowledged_is_lost_by_a_kill_at_any_point", KILLS, kills);
    let mut rng = story.rng();
    let each = (kills / 40).max(1);
    let mut points: Vec<_> = (0..each).flat_map(|_| Point::ALL.iter().copied()).collect();
    rng.shuffle(&mut points);
    let mut killed: BTreeMap<_, u32> = Point::ALL.iter().map(|point| (point.name(), 0)).collect();
    let mut chain = Chain::new(story);
    let mut told = 0;
    for (kill, point) in points.iter().enumerate() {
        if kill > 0 && (kill as u64).is_multiple_of(CHAIN) {
            told += std::mem::replace(&mut chain, Chain::new(story)).close(&mut rng).await;
        }
        let mut work = chain.next(&mut rng);
        let (time, panics) = passes(*point, &mut rng);
        work.kill_at = Some((point.name().to_owned(), time));
        work.panic_at = panics.map(|time| (Point::BeforeFlush.name().to_owned(), time));
        work.steps = 15;
        let mut child = chain.spawn(&work);
        let ended = child.ended().await;
        let phase = child.phase();
        chain = chain.keep(&work, &child);
        if ended.signal() == Some(9) {
            *killed.get_mut(point.name()).unwrap() += 1;
        } else if phase != Phase::ShutDown {
            chain
                .fail(&work, &format!("a child that was not killed got no further than {phase:?}"));
        }
    }
    told += chain.close(&mut rng).await;
    eprintln!("{} kills, {told} promises; {killed:?}", killed.values().sum::<u32>());
    let missed: Vec<_> = killed.iter().filter(|(_, count)| **count == 0).collect();
    assert!(missed.is_empty(), "no child was killed at {missed:?}");
}

/// At which pass a child is killed at a point; and after how many groups its store fails before,
/// so that it comes there at all.
#[cfg(sessionkeeper_faults)]
fn passes(point: sessionkeeper::faults::Point, rng: &mut fastrand::Rng) -> (u32, Option<u32>) {
    use sessionkeeper::faults::Point;
    match point {
        Point::Decided
        | Point::Batched
        | Point::BeforeEncode
        | Point::AfterEncode
        | Point::BeforePut
        | Point::AfterPut
        | Point::BeforeFlush
        | Point::AfterFlush
        | Point::AfterSync
        | Point::AfterMark
        | Point::BeforeAnswer
        | Point::AfterAnswer
        | Point::BeforePublish
        | Point::BeforeAcknowledge
        | Point::AfterAcknowledge => (rng.u32(1..40), None),
        // Reached by the registration of a worker, and by its end.
        Point::SettleSynced | Point::SettleMarked => (rng.u32(1..=2), None),
        Point::OpenLocked
        | Point::OpenRead
        | Point::Opened
        | Point::BeforeBegin
        | Point::BeginPut
        | Point::AfterBegin
        | Point::BeforeClose
        | Point::CloseSettled
        | Point::AfterClose => (1, None),
        Point::HealReleased | Point::HealRoom | Point::HealOpen => (1, Some(rng.u32(1..40))),
    }
}
