//! G2: nothing acknowledged is lost.

use std::time::Duration;

use sessionkeeper::{
    Limit, OnSilence, PauseCause, Policy, SessionHandle, SessionId, Start, StartKey, State,
    store::{BoxError, SledStore},
    testing::{Harness, crash_at_every_commit},
};

use super::kit::{millis, secs, start_on, tireless};
use crate::support::{Do, Done, Scripted, Worker, drained};

/// What callers were told before the worker was lost.
#[derive(Debug, Default)]
struct Told {
    session: Option<SessionId>,
    accepted: u64,
    last: Option<(Word, bool)>,
}

/// A word on the session, which must hold after the crash if it was acknowledged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Pause,
    Resume,
    Stop,
}

const SCRIPT: &[Option<Word>] = &[
    None,
    None,
    Some(Word::Pause),
    None,
    Some(Word::Resume),
    None,
    None,
    None,
    Some(Word::Stop),
    Some(Word::Resume),
    None,
    Some(Word::Pause),
];

/// Goes through the script, and writes down what it is told.
async fn work(worker: &mut Harness, told: &mut Told) -> Result<(), BoxError> {
    let start = Scripted::start().key(StartKey::new("one")?).input(Do::Add(1));
    let session = worker.supervisor().start(start).await?.into_handle();
    told.session = Some(session.id());
    told.accepted = 1;
    for (step, word) in SCRIPT.iter().enumerate() {
        tokio::time::sleep(millis(20)).await;
        if let Some(word) = word {
            told.last = Some((*word, false));
            match word {
                Word::Pause => drop(session.pause().await?),
                Word::Resume => session.resume().await?,
                Word::Stop => drop(session.stop().await?.ended().await?),
            }
            told.last = Some((*word, true));
        } else {
            told.accepted = session.send(Do::Add(1 << (step + 1))).await?.sequence;
        }
    }
    Ok(())
}

/// What was acknowledged holds, and the session goes on from it.
async fn holds(worker: &mut Harness, told: &Told) -> Result<(), BoxError> {
    let Some(id) = told.session else {
        return Ok(());
    };
    let session: SessionHandle<Scripted> = worker.supervisor().session(id).await?.typed()?;
    let status = session.status().await?;
    let accepted = status.record().inbox.accepted;
    assert!(accepted >= told.accepted, "{told:?}: an accepted input is lost");
    assert!(accepted <= told.accepted + 1, "{told:?}: an input came from nowhere");
    match told.last {
        Some((Word::Pause, true)) => {
            assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "{told:?}");
        }
        Some((Word::Stop, true)) => assert_eq!(status.state(), State::Stopped, "{told:?}"),
        Some((Word::Resume, true)) => assert_eq!(status.state(), State::Active, "{told:?}"),
        Some((_, false)) | None => {}
    }
    if status.state() != State::Active {
        session.resume().await?;
    }
    let done = worker.drained(&session).await;
    assert_eq!(done.seen, (1..=accepted).collect::<Vec<_>>(), "{told:?}");
    assert_eq!(u64::from(done.sum.count_ones()), accepted, "{told:?}: each once");
    Ok(())
}

#[test]
fn g2_a_crash_at_any_commit_loses_nothing_that_was_acknowledged() {
    let commits = crash_at_every_commit(|b| b.workload(Scripted::default()), work, holds);
    assert!(commits > 20, "the script has {commits} commits only");
}

#[tokio::test(start_paused = true)]
async fn g2_no_way_for_a_run_to_end_loses_an_input() {
    let kinds: &[(&str, Do)] = &[
        ("panic", Do::PanicTimes(2)),
        ("error", Do::FailTimes(2)),
        ("named wait", Do::FailAndRetryAfter(secs(3))),
        ("saved, then failed", Do::SaveThenFail(1)),
        ("a step, then failed", Do::StepThenFail(1)),
        ("missed deadline", Do::Silent(secs(30))),
        ("crash", Do::Beat { every: secs(1), times: 30 }),
        ("kill", Do::Beat { every: secs(1), times: 40 }),
    ];
    for (name, what) in kinds {
        let policy = Policy::builder()
            .restart(tireless())
            .heartbeat_timeout(secs(20))
            .on_silence(OnSilence::Restart)
            .idle_timeout(Limit::Never)
            .build()
            .unwrap();
        let mut worker = Worker::with_policy(policy.clone()).await;
        let mut session = worker.session_with(|start| start.input(Do::Add(1))).await;
        session.send(what.clone()).await.unwrap();
        session.send(Do::Add(100)).await.unwrap();
        tokio::time::sleep(secs(5)).await;
        match *name {
            "crash" => {
                worker = worker.crash_and_restart_with(|b| b.policy(policy)).await;
                session = worker.again(&session).await;
            }
            "kill" => {
                session.kill().await.unwrap().ended().await.unwrap();
                session.resume().await.unwrap();
            }
            // A run that is silent for good would go on for ever: after two deadlines it is
            // let through.
            "missed deadline" => {
                tokio::time::sleep(secs(40)).await;
                assert!(session.status().await.unwrap().record().runs.restarts >= 2);
                session.stop_within(Duration::ZERO).await.unwrap().ended().await.unwrap();
                let status = session.status().await.unwrap();
                assert_eq!(status.record().inbox.waiting(), 2, "{name}");
                continue;
            }
            _ => {}
        }
        let done = tokio::time::timeout(secs(500), drained(&session)).await;
        let done = done.unwrap_or_else(|_| panic!("{name}: the inputs are never worked off"));
        assert_eq!(done.seen.iter().filter(|n| **n == 3).count(), 1, "{name}: {done:?}");
        assert!(done.sum % 1000 >= 101, "{name}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_what_was_acknowledged_is_on_disk_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let all = async {
        let mut id = None;
        for round in 1..=3_u64 {
            let store = loop {
                // The worker before lets go of its store as soon as its tasks are gone.
                match SledStore::open(folder.path()) {
                    Ok(store) => break store,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let supervisor = start_on(store, Scripted::default(), |b| b).await;
            let session: SessionHandle<Scripted> = match id {
                None => {
                    let start = Start::new(Done::default());
                    supervisor.start(start).await.unwrap().into_handle()
                }
                Some(id) => {
                    let session = supervisor.session(id).await.unwrap().typed().unwrap();
                    supervisor.recovered().await.unwrap();
                    session
                }
            };
            id = Some(session.id());
            for _ in 0..20 {
                session.send(Do::Add(1)).await.unwrap();
            }
            if round == 3 {
                let done = drained(&session).await;
                assert_eq!(done.sum, 60);
                assert_eq!(done.seen, (1..=60).collect::<Vec<_>>());
                supervisor.shutdown(secs(10)).await;
            }
        }
    };
    tokio::time::timeout(secs(60), all).await.expect("it hangs");
}

/// A long inbox is read a part at a time.
#[tokio::test(start_paused = true)]
async fn g2_every_input_of_a_long_inbox_is_given_out() {
    const INPUTS: i64 = 600;
    let policy = Policy::builder().max_inputs(1000_u32).build().unwrap();
    let worker = Worker::with_policy(policy).await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    for number in 1..=INPUTS {
        session.send(Do::Add(number)).await.unwrap();
    }
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, INPUTS * (INPUTS + 1) / 2);
    let status = session.status().await.unwrap();
    assert_eq!((status.record().inbox.waiting_bytes, status.record().runs.count), (0, 2));
}
