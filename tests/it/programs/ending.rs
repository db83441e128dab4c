//! Programs that end, and programs that must be ended: nothing of them is left.

use std::time::Duration;

use sessionkeeper::{
    Settled, State,
    process::{ExitCause, StoppedBy},
};

use super::kit::{Worker, alive, gone, has_printed, printed, settled, state, told, trial, until};

const TERM: i32 = 15;
const KILL: i32 = 9;

#[tokio::test]
async fn a_program_that_succeeds_completes_its_session() {
    let worker = Worker::start().await;
    let session = worker.trial(&["say", "hello"]).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    let state = state(&session).await;
    assert_eq!(state.end.unwrap().cause, ExitCause::Exited { code: 0 });
    assert_eq!((state.lines, state.last_line.as_deref()), (1, Some("hello")));
    gone(session.id());
}

#[tokio::test]
async fn an_exit_code_that_means_no_success_fails_the_session() {
    let worker = Worker::start().await;
    let session = worker.trial(&["exit", "3"]).await;
    let Settled::Failed(status) = settled(&session).await else { panic!("it failed") };
    let reason = format!("{:?}", status.record());
    assert!(reason.contains("sh exited with code 3"), "{reason}");
    let accepted = worker.run(trial(&["exit", "3"]).success_codes([0, 3]).build().unwrap()).await;
    assert!(matches!(settled(&accepted).await, Settled::Completed(_)));
}

#[tokio::test]
async fn a_death_by_a_signal_is_never_a_success() {
    let worker = Worker::start().await;
    // A worker in the background may ignore others, which its programs inherit.
    for (name, signal) in [("ABRT", 6), ("KILL", KILL), ("SEGV", 11), ("ALRM", 14), ("TERM", TERM)]
    {
        let spec = trial(&["die", name]).success_codes((0..=255).collect::<Vec<_>>());
        let session = worker.run(spec.build().unwrap()).await;
        assert!(matches!(settled(&session).await, Settled::Failed(_)), "{name}");
        let cause = state(&session).await.end.unwrap().cause;
        assert_eq!(cause, ExitCause::Signaled { signal }, "{name}");
        assert_eq!(cause.shell_code(), Some(128 + signal));
        gone(session.id());
    }
}

/// Stops a session when its program has printed something, and gives what ended it.
async fn stopped(worker: &Worker, args: &[&str], when: &str) -> (ExitCause, u32, u32) {
    let session = worker.trial(args).await;
    has_printed(&session, when).await;
    let ended = session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopped, "{ended:?}");
    gone(session.id());
    assert_eq!(told(&session, "process_stopped").await.len(), 1);
    let end = state(&session).await.end.unwrap();
    (end.cause, end.killed, end.strays)
}

#[tokio::test]
async fn a_stop_asks_and_then_forces() {
    let worker = Worker::start().await;
    let by_code = |code| ExitCause::Stopped { by: StoppedBy::Code { code } };
    let by_signal = |signal| ExitCause::Stopped { by: StoppedBy::Signal { signal } };
    assert_eq!(stopped(&worker, &["obey"], "ready").await, (by_code(0), 0, 0));
    assert_eq!(stopped(&worker, &["wait"], "waiting").await, (by_signal(TERM), 0, 0));
    let (cause, killed, strays) = stopped(&worker, &["ignore-term"], "deaf").await;
    // What it waits for obeys.
    assert_eq!((cause, strays), (by_signal(KILL), 0));
    assert!(killed <= 1, "{killed}");
}

#[tokio::test]
async fn what_ignores_the_request_is_killed_after_its_leader_obeyed() {
    let worker = Worker::start().await;
    let (cause, killed, strays) = stopped(&worker, &["deaf-child"], "deaf").await;
    assert_eq!(cause, ExitCause::Stopped { by: StoppedBy::Code { code: 0 } });
    assert!(killed >= 1 && strays == 0, "{killed} {strays}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_left_the_group_is_found_and_ended() {
    let worker = Worker::start().await;
    let session = worker.trial(&["daemon"]).await;
    // Its leader exits by itself, and well.
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    gone(session.id());
    assert!(printed(&session).await.0.contains("deaf"));
    let end = state(&session).await.end.unwrap();
    assert!(end.killed >= 1 && end.strays >= 1, "{end:?}");
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let worker = Worker::start().await;
    let session = worker.trial(&["leave"]).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    gone(session.id());
    let end = state(&session).await.end.unwrap();
    assert_eq!(end.cause, ExitCause::Exited { code: 0 });
    assert!(end.killed >= 1, "{end:?}");
}

#[tokio::test]
async fn what_prints_for_ever_ends_with_its_program() {
    let worker = Worker::start().await;
    let session = worker.trial(&["leave-loud"]).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    gone(session.id());
    assert!(printed(&session).await.0.contains("loud\nleft\n"));
}

#[tokio::test]
async fn last_words_are_recorded() {
    let worker = Worker::start().await;
    let spec = trial(&["last-words"]).stop_grace(Duration::from_secs(5)).build().unwrap();
    let session = worker.run(spec).await;
    has_printed(&session, "ready").await;
    session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(printed(&session).await.0, "ready\nlast words\n");
}

#[tokio::test]
async fn processes_that_multiply_come_to_an_end() {
    let worker = Worker::start().await;
    let session = worker.trial(&["many", "50"]).await;
    until("all of them run", async || alive(session.id()).is_none_or(|alive| alive.len() >= 50))
        .await;
    session.stop().await.unwrap().ended().await.unwrap();
    gone(session.id());
}

#[tokio::test]
async fn a_kill_leaves_nothing() {
    let worker = Worker::start().await;
    let session = worker.trial(&["ignore-term"]).await;
    has_printed(&session, "deaf").await;
    session.kill().await.unwrap().ended().await.unwrap();
    gone(session.id());
}

#[tokio::test]
async fn a_worker_that_is_dropped_takes_its_programs_with_it() {
    let worker = Worker::start().await;
    let session = worker.trial(&["deaf-child"]).await;
    has_printed(&session, "deaf").await;
    let id = session.id();
    drop((session, worker.supervisor));
    until("nothing is alive", async || alive(id).is_none_or(|alive| alive.is_empty())).await;
}

/// However far their start has come.
#[test]
fn a_runtime_that_is_gone_takes_its_programs_with_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let mut sessions = Vec::new();
    for round in 0..60 {
        let lost = runtime();
        sessions.push(lost.block_on(async {
            let worker = Worker::start().await;
            let session = worker.trial(&["with-daemon"]).await;
            tokio::time::sleep(Duration::from_micros(round * 200)).await;
            session.id()
        }));
        drop(lost);
    }
    runtime().block_on(until("nothing is alive", async || {
        sessions.iter().all(|session| alive(*session).is_none_or(|alive| alive.is_empty()))
    }));
}

#[tokio::test]
async fn starts_against_stops() {
    let worker = Worker::start().await;
    for round in 0..200 {
        let session = worker.trial(&["wait"]).await;
        tokio::time::sleep(Duration::from_micros(round * 50)).await;
        session.stop().await.unwrap().ended().await.unwrap();
        assert_eq!(session.status().await.unwrap().state(), State::Stopped);
        gone(session.id());
    }
}
