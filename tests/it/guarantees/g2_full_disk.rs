//! G2 on a disk that is full: callers are told, sessions wait, and nothing is done twice.

use sessionkeeper::{
    InputId, PauseCause, SendError, SessionError, SessionHandle, Start, StartError, State,
    store::{Fault, Store},
    testing::{Call, Interference},
};

use super::kit::{Custom, collect, custom_with, millis, next, secs, start_on, tap};
use crate::support::{Do, Done, Scripted, Worker, drained};

const FAULTS: [Fault; 2] = [Fault::NothingDone, Fault::AnswerLost];

fn under_way(error: &SessionError) -> bool {
    match error {
        SessionError::Store { under_way, .. } => *under_way,
        other => panic!("not an error of the store: {other}"),
    }
}

fn send_under_way(error: &SendError) -> bool {
    match error {
        SendError::Session(error) => under_way(error),
        other => panic!("not an error of the store: {other}"),
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(2), future)
        .await
        .unwrap_or_else(|_| panic!("{what}: the caller hears nothing"))
}

#[tokio::test(start_paused = true)]
async fn g2_on_a_full_disk_callers_are_told_what_became_of_their_request() {
    for fault in FAULTS {
        let worker = Worker::start().await;
        let session = worker.session_with(|start| start.input(Do::Add(1))).await;
        drained(&session).await;
        worker.store.fail(fault);

        let first = soon("send", session.send(Do::Add(10))).await.unwrap_err();
        assert!(send_under_way(&first), "{fault:?}: {first}");
        assert!(worker.supervisor.health().store_error().is_some());
        let second = soon("send", session.send(Do::Add(100))).await.unwrap_err();
        assert!(!send_under_way(&second), "{fault:?}: {second}");
        let stop = soon("stop", session.stop()).await.unwrap_err();
        assert!(!under_way(&stop), "{fault:?}: {stop}");
        let labels = soon("labels", session.set_labels(Default::default())).await.unwrap_err();
        assert!(!under_way(&labels), "{fault:?}: {labels}");
        let start = sessionkeeper::Start::<Scripted>::new(Default::default());
        let start = soon("start", worker.supervisor.start(start)).await.unwrap_err();
        assert!(matches!(start, StartError::Session(SessionError::Store { .. })), "{start}");
        assert_eq!(session.status().await.unwrap().state(), State::Active);

        worker.store.mend();
        tokio::time::sleep(secs(10)).await;
        assert!(worker.supervisor.health().store_error().is_none(), "{fault:?}");
        let done = drained(&session).await;
        assert_eq!((done.sum, done.seen), (11, vec![1, 2]), "{fault:?}");
        session.send(Do::Add(1000)).await.unwrap();
        assert_eq!(drained(&session).await.sum, 1011);
    }
}

#[tokio::test(start_paused = true)]
async fn g2_on_a_full_disk_a_pause_is_told_that_it_is_under_way() {
    for fault in FAULTS {
        let worker = Worker::start().await;
        let session = worker.session().await;
        tokio::time::sleep(millis(100)).await;
        worker.store.fail(fault);
        let error = soon("pause", session.pause()).await.unwrap_err();
        assert!(under_way(&error), "{fault:?}: {error}");
        let again = soon("another pause", session.pause()).await.unwrap_err();
        assert!(matches!(again, SessionError::Store { .. }), "{fault:?}: {again}");
        worker.store.mend();
        tokio::time::sleep(secs(10)).await;
        let status = session.status().await.unwrap();
        assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g2_sessions_keep_running_on_a_full_disk_and_catch_up() {
    for fault in FAULTS {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for _ in 0..5 {
            let session = worker.session().await;
            session.send(Do::Busy { limit: secs(600), takes: secs(60) }).await.unwrap();
            session.send(Do::Emit(10)).await.unwrap();
            session.send(Do::Add(5)).await.unwrap();
            sessions.push(session);
        }
        tokio::time::sleep(secs(30)).await;
        worker.store.fail(fault);
        tokio::time::sleep(secs(3600)).await;
        for session in &sessions {
            assert_eq!(session.status().await.unwrap().state(), State::Active);
        }
        worker.store.mend();
        for session in &sessions {
            let done = drained(session).await;
            assert_eq!((done.sum, done.seen), (5, vec![1, 2, 3]), "{fault:?}");
            let status = session.status().await.unwrap();
            assert_eq!(
                status.record().runs.count,
                1,
                "{fault:?}: the store's failure is not theirs"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g2_answers_that_are_lost_do_not_double_anything() {
    let mut rng = fastrand::Rng::with_seed(11);
    let worker = Worker::start().await;
    let session = worker.session().await;
    let mut repeated = 0;
    for number in 0..60_u64 {
        let fault = FAULTS[rng.usize(0..2)];
        worker.store.fail_next(rng.u32(0..3), fault);
        let id = InputId::new(format!("input {number}")).unwrap();
        loop {
            match session.send_with_id(id.clone(), Do::Add(1)).await {
                Ok(receipt) => {
                    assert_eq!(receipt.sequence, number + 1);
                    repeated += u32::from(receipt.repeated);
                    break;
                }
                Err(error) => assert!(matches!(error, SendError::Session(_)), "{error}"),
            }
            tokio::time::sleep(millis(30)).await;
        }
        if rng.bool() {
            drained(&session).await;
        }
    }
    let done = drained(&session).await;
    assert_eq!(done.sum, 60);
    assert_eq!(done.seen, (1..=60).collect::<Vec<_>>());
    assert!(repeated > 5, "hardly a send was answered with an error: {repeated}");
}

#[tokio::test(start_paused = true)]
async fn g2_a_crash_of_a_worker_on_a_full_disk_keeps_what_was_acknowledged() {
    for fault in FAULTS {
        let worker = Worker::start().await;
        let session = worker.session().await;
        session.send(Do::Add(1)).await.unwrap();
        session.send(Do::Busy { limit: secs(60), takes: secs(20) }).await.unwrap();
        session.send(Do::Add(2)).await.unwrap();
        tokio::time::sleep(secs(5)).await;
        worker.store.fail(fault);
        let error = session.send(Do::Add(4)).await.unwrap_err();
        assert!(send_under_way(&error));
        tokio::time::sleep(secs(60)).await;
        worker.store.mend();
        worker.store.heal().await.unwrap();
        let worker = worker.crash_and_restart().await;
        let session = worker.again(&session).await;
        let done = drained(&session).await;
        let sum = if fault == Fault::AnswerLost { 7 } else { 3 };
        assert_eq!(done.sum, sum, "{fault:?}: the last send may be in, all others must be");
    }
}

#[tokio::test(start_paused = true)]
async fn g2_a_recovery_on_a_full_disk_waits_until_there_is_room() {
    let worker = Worker::start().await;
    let mut sessions: Vec<SessionHandle<Scripted>> = Vec::new();
    for _ in 0..100 {
        sessions.push(worker.session_with(|start| start.input(Do::Add(1))).await);
    }
    for session in &sessions {
        drained(session).await;
    }
    let Worker { store, workload, supervisor } = worker;
    drop(supervisor);
    store.fail(Fault::NothingDone);
    let worker = Worker::on(store, workload, |b| b).await;
    tokio::time::sleep(secs(60)).await;
    worker.store.mend();
    let report = worker.supervisor.recovered().await.unwrap();
    assert!(report.failed.is_empty(), "given up: {}", report.failed.len());
    assert_eq!(report.resumed.len(), 100);
    for session in &sessions {
        let session = worker.again(session).await;
        session.send(Do::Add(1)).await.unwrap();
        assert_eq!(drained(&session).await.sum, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn g2_a_recovery_that_cannot_read_for_a_moment_reads_again() {
    let tap = tap();
    let workload = Custom::new(|cx| Box::pin(collect(cx)));
    let supervisor = start_on(tap.clone(), workload.clone(), |b| b).await;
    let session = custom_with(&supervisor, 1).await;
    tokio::time::sleep(secs(1)).await;
    drop(supervisor);
    next(&tap, 3, Call::Snapshot, Interference::Fail);
    let supervisor = start_on(tap.clone(), workload, |b| b).await;
    let report = supervisor.recovered().await.unwrap();
    assert_eq!(report.resumed, [session.id()], "{:?}", report.failed);
}

#[tokio::test(start_paused = true)]
async fn g2_a_session_that_got_its_place_on_a_full_disk_begins_when_there_is_room() {
    let worker = Worker::start_with(|b| b.max_active(1)).await;
    let slot = worker.supervisor.slot().await.unwrap();
    let pending = worker.session_with(|start| start.input(Do::Add(1))).await;
    assert_eq!(pending.status().await.unwrap().state(), State::Pending);
    worker.store.fail(Fault::NothingDone);
    // The store's failure shows at the next commit, which may be an empty one.
    tokio::time::sleep(secs(20)).await;
    assert!(worker.supervisor.health().store_error().is_some());
    drop(slot);
    tokio::time::sleep(secs(20)).await;
    worker.store.mend();
    tokio::time::timeout(secs(60), pending.wait_for(&[State::Active]))
        .await
        .expect("it is passed over for ever")
        .unwrap();
    assert_eq!(drained(&pending).await.sum, 1);
}

#[tokio::test(start_paused = true)]
async fn g2_a_store_that_panics_has_failed_and_takes_nobody_with_it() {
    let tap = tap();
    let scripted = Scripted::default();
    let supervisor = start_on(tap.clone(), scripted, |builder| builder).await;
    let start = Start::<Scripted>::new(Done::default());
    let session = supervisor.start(start).await.unwrap().into_handle();
    next(&tap, 3, Call::Commit, Interference::Panic);
    let error = soon("send", session.send(Do::Add(1))).await.unwrap_err();
    assert!(send_under_way(&error), "{error}");
    tokio::time::sleep(secs(10)).await;
    assert!(supervisor.health().store_error().is_none());
    session.send(Do::Add(10)).await.unwrap();
    assert_eq!(drained(&session).await.sum, 11);
}
