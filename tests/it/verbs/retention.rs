//! What has ended is deleted when its time is over, also where that could not be done at once.

use std::time::Duration;

use sessionkeeper::{
    Retention, SessionError, SessionHandle, Start, State, Supervisor,
    store::{Fault, MemoryStore, Part},
    testing::{Call, FaultyStore},
};

use super::{MINUTE, until};
use crate::support::{Do, Done, Scripted, Worker};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn is_gone(session: &SessionHandle<Scripted>) -> bool {
    matches!(session.status().await, Err(SessionError::NotFound { .. }))
}

/// A look that the store cut short is made up for as soon as the store works again, and not when the next one would have been due.
#[tokio::test(start_paused = true)]
async fn retention_goes_on_when_the_store_works_again() {
    let worker = Worker::start_with(|builder| {
        builder.retention(Retention::default().completed(DAY)).max_active(100)
    })
    .await;
    let mut ended = Vec::new();
    for _ in 0..40 {
        let session = worker.session_with(|start| start.input(Do::Complete)).await;
        until(&session, |status| status.state() == State::Completed).await;
        ended.push(session);
    }
    tokio::time::sleep(DAY - MINUTE).await;
    worker.store.fail(Fault::NothingDone);
    tokio::time::sleep(MINUTE * 10).await;
    worker.store.mend();
    tokio::time::sleep(MINUTE).await;
    for session in &ended {
        assert!(is_gone(session).await);
    }
}

/// G8: one that cannot be deleted keeps neither those behind it nor the worker busy, and is deleted when it can be.
#[tokio::test(start_paused = true)]
async fn an_ended_session_that_is_damaged_keeps_no_other_from_being_removed() {
    let store = FaultyStore::new(MemoryStore::new());
    let supervisor = Supervisor::builder(store.clone())
        .workload(Scripted::default())
        .retention(Retention::default().completed(DAY))
        .start()
        .await
        .unwrap();
    let complete = async || {
        let start = Start::<Scripted>::new(Done::default()).input(Do::Complete);
        let session = supervisor.start(start).await.unwrap().into_handle();
        until(&session, |status| status.state() == State::Completed).await;
        tokio::time::sleep(MINUTE).await;
        session
    };
    let damaged = complete().await;
    let sound = complete().await;
    tokio::time::sleep(DAY / 2).await;
    let later = complete().await;
    store.inner().damage(damaged.id(), Part::Record);

    tokio::time::sleep(DAY / 2).await;
    assert!(is_gone(&sound).await, "it stood behind the damaged one");
    tokio::time::sleep(DAY / 2 + MINUTE).await;
    assert!(is_gone(&later).await, "it is removed when its own time is over");
    // What else is done in a day, beside the retention, is a look at the lanes now and then.
    let before = store.calls(Call::Load);
    tokio::time::sleep(DAY).await;
    let loads = store.calls(Call::Load) - before;
    assert!((1..=48).contains(&loads), "it is looked at again at times: {loads}");
}
