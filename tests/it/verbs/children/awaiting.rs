//! A run waits for the end of a child.

use super::*;
use sessionkeeper::Activity;

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_a_child_through_restarts_and_is_not_silent() {
    let mut worker = worker().await;
    let (lead, [child]) = with_children(&worker).await;
    lead.send(Tell::Await(child.id())).await.unwrap();
    until(&lead, |status| matches!(status.activity(), Activity::Awaiting { .. })).await;
    tokio::time::sleep(MINUTE * 120).await;
    worker.crash_and_reopen().await;
    let (lead, child) = (worker.again(&lead).await, worker.again(&child).await);
    until(&lead, |status| matches!(status.activity(), Activity::Awaiting { .. })).await;
    assert!(lead.snapshot().await.unwrap().state.ends.is_empty());
    child.complete().await.unwrap();
    until(&lead, |status| status.record().inbox.consumed == 3).await;
    idle(&lead).await;
    // Asked again it gives the same, in the next worker too.
    worker.crash_and_reopen().await;
    let lead = worker.again(&lead).await;
    lead.send(Tell::Await(child.id())).await.unwrap();
    idle(&lead).await;
    let ends = lead.snapshot().await.unwrap().state.ends;
    assert_eq!(ends.len(), 3, "waited for twice, and told once");
    assert!(ends.iter().all(|end| *end == ends[0] && end.state == State::Completed), "{ends:?}");
    sound(worker).await;
}

/// A run that waits is paused at once, with its input in hand, and waits again.
#[tokio::test(start_paused = true)]
async fn a_run_that_waits_yields_when_it_is_asked() {
    let worker = worker().await;
    let (lead, [child]) = with_children(&worker).await;
    lead.send(Tell::Await(child.id())).await.unwrap();
    in_hand(&lead, 2).await;
    let began = tokio::time::Instant::now();
    lead.pause().await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    lead.resume().await.unwrap();
    until(&child, |status| status.state() == State::Active).await;
    drop(child.stop().await.unwrap());
    until(&lead, |status| status.record().inbox.consumed == 3).await;
    idle(&lead).await;
    assert_eq!(lead.snapshot().await.unwrap().state.ends[0].state, State::Stopped);
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_rolled_over_is_waited_for_in_its_successor() {
    let worker = worker().await;
    let (lead, [child]) = with_children(&worker).await;
    lead.send(Tell::Await(child.id())).await.unwrap();
    in_hand(&lead, 2).await;
    child.send(Do::RollOver(7)).await.unwrap();
    until(&child, |status| status.state() == State::Completed).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(status(&lead).await.record().inbox.consumed, 1);
    let next = child.latest().await.unwrap();
    next.complete().await.unwrap();
    until(&lead, |status| status.record().inbox.consumed == 3).await;
    idle(&lead).await;
    let ends = lead.snapshot().await.unwrap().state.ends;
    assert!(ends.iter().all(|end| end.child == next.id()), "{ends:?}");
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_no_child_is_not_waited_for() {
    let worker = worker().await;
    let lead = lead(&worker).await;
    let stranger = worker.supervisor().start(Scripted::start()).await.unwrap();
    lead.send(Tell::Await(stranger.id())).await.unwrap();
    until(&lead, |status| status.record().failures.last.is_some()).await;
    let failed = status(&lead).await.record().failures.last.clone().unwrap().to_string();
    assert!(failed.contains(&format!("it is no child of session {}", lead.id())), "{failed}");
    sound(worker).await;
}
