//! A log whose older events are gone is held against its record too, wherever it begins.

use sessionkeeper::{
    Cause, EventRecord, PauseCause, Phase, SessionRecord, State, SupervisedTime, Trimmed,
    testing::{Rule, audit_log},
};

use crate::support::{Do, Worker, drained};

/// A session that was paused, woken, failed, restarted, stopped and resumed, with its log.
async fn lived() -> (SessionRecord, Vec<EventRecord>) {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Emit(3))).await;
    drained(&session).await;
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    session.send(Do::FailTimes(1)).await.unwrap();
    drained(&session).await;
    session.stop().await.unwrap().ended().await.unwrap();
    session.resume().await.unwrap();
    session.send(Do::Emit(1)).await.unwrap();
    drained(&session).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    session.send(Do::Spend(3)).await.unwrap();
    drained(&session).await;
    session.pause().await.unwrap();
    let record = session.status().await.unwrap().record().clone();
    let log = session.events(1..=u64::MAX, 999).await.unwrap();
    (SessionRecord::clone(&record), log)
}

fn found(record: &SessionRecord, log: &[EventRecord]) -> Vec<Rule> {
    audit_log(record, log).into_iter().map(|violation| violation.rule).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_log_is_judged_wherever_it_begins() {
    let (mut record, log) = lived().await;
    assert!(log.len() > 20, "{}", log.len());
    for gone in 0..log.len() {
        let left = log.get(gone..).unwrap();
        let to = gone as u64;
        record.trimmed = (gone > 0).then(|| Box::new(Trimmed { to, since: None }));
        assert_eq!(audit_log(&record, left), [], "{gone} are gone");
        // More may be gone than is.
        record.trimmed = Some(Box::new(Trimmed { to: to + 2, since: None }));
        assert_eq!(audit_log(&record, left), [], "{gone} are gone");
        if gone > 0 {
            record.trimmed = Some(Box::new(Trimmed { to: to - 1, since: None }));
            assert_eq!(found(&record, left), [Rule::Numbering], "{gone} are gone");
        }
    }
}

type Spoil = fn(&mut SessionRecord, &mut Vec<EventRecord>);

#[tokio::test(start_paused = true)]
async fn what_is_wrong_behind_a_gap_is_found() {
    let spoilt: [(&str, Spoil); 6] = [
        ("another state", |record, _| record.phase = Phase::Stopped),
        ("another cause", |record, _| {
            let since = SupervisedTime::default();
            record.phase = Phase::Paused { cause: PauseCause::Idle, since, until: None };
        }),
        ("a run that goes on", |record, _| record.runs.since = Some(SupervisedTime::default())),
        ("no run ever", |record, _| record.runs.count = 0),
        ("another history", |record, _| {
            let last = record.history.back_mut().unwrap();
            (last.to, last.cause) = (State::Active, Cause::SlotFree);
        }),
        ("an event in the middle is missing", |_, log| drop(log.remove(3))),
    ];
    let (record, log) = lived().await;
    for gone in [5, 10, log.len() - 8] {
        for (what, spoil) in spoilt {
            let (mut record, mut left) = (record.clone(), log.get(gone..).unwrap().to_vec());
            record.trimmed = Some(Box::new(Trimmed { to: gone as u64, since: None }));
            spoil(&mut record, &mut left);
            assert_ne!(audit_log(&record, &left), [], "{what}, {gone} are gone");
        }
    }
}
