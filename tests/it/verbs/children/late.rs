//! Children that are there only after their parent has moved.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::*;

/// A child that outlives parents which end, but not one that is stopped, and whose start takes until its parent has been stopped.
#[tokio::test(start_paused = true)]
async fn a_child_heeds_how_its_parent_stood_when_it_was_deleted() {
    let worker = worker().await;
    let (lead, [other]) = with_children(&worker).await;
    lead.pause().await.unwrap();
    all_done(&worker).await;
    let (unseen, mut loads) = (Arc::new(AtomicBool::new(false)), 0);
    worker.store().inject({
        let unseen = Arc::clone(&unseen);
        move |call| match call {
            Call::Load => {
                loads += 1;
                match loads {
                    // That of the child, after the two of its parent.
                    3 => Interference::Delay { before: SECOND * 3, after: Duration::ZERO },
                    _ => Interference::None,
                }
            }
            Call::Due if unseen.load(Ordering::SeqCst) => Interference::Fail,
            _ => Interference::None,
        }
    });
    let on_parent = OnParent { end: WhenParentEnds::Leave, ..OnParent::default() };
    let start = Scripted::start()
        .id(SessionId::from_uuid(uuid::Uuid::from_u128(7)))
        .child_of(lead.id())
        .on_parent(on_parent);
    let child = tokio::spawn({
        let supervisor = worker.supervisor().clone();
        async move { supervisor.start(start).await }
    });
    tokio::time::sleep(SECOND).await;
    lead.stop().await.unwrap().ended().await.unwrap();
    until(&other, |status| status.state() == State::Stopped).await;
    assert!(!child.is_finished(), "it is not found among the children");
    unseen.store(true, Ordering::SeqCst);
    let child = child.await.unwrap().unwrap().into_handle();
    lead.delete(Delete::IfAtRest).await.unwrap();
    assert_eq!(status(&child).await.state(), State::Active);

    unseen.store(false, Ordering::SeqCst);
    all_done(&worker).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(status(&child).await.state(), State::Stopped);
    sound(worker).await;
}
