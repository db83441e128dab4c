//! Children that are rolled over, and those whose parent is.

use sessionkeeper::Rollover;

use super::*;

/// A child that was rolled over is one in its successor.
#[tokio::test(start_paused = true)]
async fn the_successor_of_a_child_follows_the_parent() {
    let worker = worker().await;
    let (lead, [child]) = with_children(&worker).await;
    let next = child.rollover(Rollover::new(Done::default())).await.unwrap();
    assert_eq!(children(&worker, lead.id()).await, [child.id(), next.id()]);
    lead.pause().await.unwrap();
    until(&next, |status| status.pause_cause() == Some(PauseCause::Parent)).await;
    drop(lead.stop().await.unwrap());
    until(&next, |status| status.state() == State::Stopped).await;
    sound(worker).await;
}

/// The children of a session that is rolled over are stopped, as those of any other that ends: what takes its place knows nothing of
/// them.
#[tokio::test(start_paused = true)]
async fn a_rollover_of_the_parent_is_an_end_to_its_children() {
    let worker = worker().await;
    let (lead, [child]) = with_children(&worker).await;
    let left = child_of(&worker, lead.id(), OnParent::LEAVE).await;
    lead.send(Tell::RollOver).await.unwrap();
    until(&child, |status| status.state() == State::Stopped).await;
    assert_eq!(status(&left).await.state(), State::Active);
    // One that goes on tells its end to the successor.
    left.complete().await.unwrap();
    all_done(&worker).await;
    let next = lead.latest().await.unwrap();
    idle(&next).await;
    let ends = next.snapshot().await.unwrap().state.ends;
    assert_eq!(ends.iter().map(|end| end.child).collect::<Vec<_>>(), [child.id(), left.id()]);
    sound(worker).await;
}

/// A rollover begins a successor, whatever held up the session before it.
#[tokio::test(start_paused = true)]
async fn the_successor_of_a_child_that_was_paused_with_its_parent_runs() {
    let worker = worker().await;
    let (lead, [child, other]) = with_children(&worker).await;
    lead.pause().await.unwrap();
    for held in [&child, &other] {
        until(held, |status| status.pause_cause() == Some(PauseCause::Parent)).await;
    }
    all_done(&worker).await;
    let next = child.rollover(Rollover::new(Done::default())).await.unwrap();
    until(&next, |status| status.state() == State::Active).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(status(&next).await.state(), State::Active);
    assert_eq!(status(&other).await.pause_cause(), Some(PauseCause::Parent));
    // What the parent does after that holds for it again.
    lead.resume().await.unwrap();
    lead.pause().await.unwrap();
    until(&next, |status| status.pause_cause() == Some(PauseCause::Parent)).await;
    sound(worker).await;
}
