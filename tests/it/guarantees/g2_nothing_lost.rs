//! G2: nothing acknowledged is lost.

use std::time::Duration;

use sessionkeeper::{
    Limit, OnSilence, PauseCause, Policy, SessionHandle, SessionId, Start, StartKey, State,
    Supervisor, store::SledStore,
};

use super::kit::{Cut, Tap, millis, secs, start_on, tireless};
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

/// Goes through the script until an answer does not come.
async fn work(supervisor: &Supervisor) -> Told {
    let mut told = Told::default();
    let start = Start::<Scripted>::new(Done::default())
        .key(StartKey::new("one").unwrap())
        .input(Do::Add(1));
    let Ok(Ok(started)) = patient(supervisor.start(start)).await else {
        return told;
    };
    let session = started.into_handle();
    told.session = Some(session.id());
    told.accepted = 1;
    for (step, word) in SCRIPT.iter().enumerate() {
        tokio::time::sleep(millis(20)).await;
        if let Some(word) = word {
            told.last = Some((*word, false));
            let answered = match word {
                Word::Pause => patient(session.pause()).await.is_ok_and(|said| said.is_ok()),
                Word::Resume => patient(session.resume()).await.is_ok_and(|said| said.is_ok()),
                Word::Stop => match patient(session.stop()).await {
                    Ok(Ok(ticket)) => patient(ticket.ended()).await.is_ok_and(|end| end.is_ok()),
                    Ok(Err(_)) | Err(_) => false,
                },
            };
            if !answered {
                return told;
            }
            told.last = Some((*word, true));
        } else {
            let number = 1 << (step + 1);
            match patient(session.send(Do::Add(number))).await {
                Ok(Ok(receipt)) => told.accepted = receipt.sequence,
                Ok(Err(_)) | Err(_) => return told,
            }
        }
    }
    told
}

async fn patient<F: Future>(future: F) -> Result<F::Output, tokio::time::error::Elapsed> {
    tokio::time::timeout(secs(50), future).await
}

/// Crashes after so many commits; `false` if the script came to its end before.
async fn check_crash_after(commits: u64, cut: Cut) -> bool {
    let tap = Tap::cut_after(commits, cut);
    let supervisor = start_on(tap.clone(), Scripted::default(), |b| b).await;
    let told = work(&supervisor).await;
    drop(supervisor);
    let name = format!("{commits} commits, {cut:?}, {told:?}");

    let worker = Worker::on(tap.store.clone(), Scripted::default(), |b| b).await;
    worker.supervisor.recovered().await.unwrap();
    let Some(id) = told.session else {
        return tap.was_cut();
    };
    let session: SessionHandle<Scripted> =
        worker.supervisor.session(id).await.expect(&name).typed().unwrap();
    let status = session.status().await.unwrap();
    let accepted = status.record().inbox.accepted;
    assert!(accepted >= told.accepted, "{name}: an accepted input is lost");
    assert!(accepted <= told.accepted + 1, "{name}: an input came from nowhere");
    match told.last {
        Some((Word::Pause, true)) => {
            assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "{name}");
        }
        Some((Word::Stop, true)) => assert_eq!(status.state(), State::Stopped, "{name}"),
        Some((Word::Resume, true)) => assert_eq!(status.state(), State::Active, "{name}"),
        Some((_, false)) | None => {}
    }
    if status.state() != State::Active {
        session.resume().await.expect(&name);
    }
    let done = drained(&session).await;
    assert_eq!(done.seen, (1..=accepted).collect::<Vec<_>>(), "{name}");
    assert_eq!(done.sum.count_ones() as u64, accepted, "{name}: each once");
    tap.was_cut()
}

#[tokio::test(start_paused = true)]
async fn g2_a_crash_at_any_commit_loses_nothing_that_was_acknowledged() {
    for cut in [Cut::Before, Cut::After] {
        let mut crashes = 0;
        while check_crash_after(crashes, cut).await {
            crashes += 1;
        }
        assert!(crashes > 20, "{cut:?}: the script has {crashes} commits only");
    }
}

#[tokio::test(start_paused = true)]
async fn g2_no_way_for_a_run_to_end_loses_an_input() {
    let kinds: &[(&str, Do)] = &[
        ("panic", Do::PanicTimes(2)),
        ("error", Do::FailTimes(2)),
        ("named wait", Do::FailAndRetryAfter(secs(3))),
        ("saved, then failed", Do::SaveThenFail(1)),
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
