//! Programs that show no sign of life, and those that need not.

use std::time::Duration;

use sessionkeeper::{
    Settled, Start, State,
    process::{ProcessState, Silence},
};

use super::kit::{Handle, Programs, Worker, alive, gone, once, settled, trial, until};

/// A session whose program may be silent for so long.
async fn silent_for(timeout: Duration, worker: &Worker, args: &[&str], silence: Silence) -> Handle {
    let policy = once().to_builder().heartbeat_timeout(timeout).build().unwrap();
    let spec = trial(args).silence(silence).build().unwrap();
    let start = Start::<Programs>::new(ProcessState::from(spec)).policy(policy);
    worker.supervisor.start(start).await.unwrap().into_handle()
}

const SHORT: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_silent_program_is_taken_for_hung_and_ended() {
    let worker = Worker::start().await;
    let session = silent_for(SHORT, &worker, &["ignore-term"], Silence::Counts).await;
    assert!(matches!(settled(&session).await, Settled::Expired(_)));
    // An expiry is durable first, and then the run is ended.
    until("nothing is alive", async || alive(session.id()).is_none_or(|alive| alive.is_empty()))
        .await;
}

#[tokio::test]
async fn output_is_a_sign_of_life() {
    let worker = Worker::start().await;
    // Also where no line ends. A machine that does other things may hold up what prints.
    let timeout = Duration::from_secs(2);
    let ticks = silent_for(timeout, &worker, &["ticks"], Silence::Counts).await;
    let dots = silent_for(timeout, &worker, &["dots"], Silence::Counts).await;
    tokio::time::sleep(timeout * 2).await;
    for session in [ticks, dots] {
        assert_eq!(session.status().await.unwrap().state(), State::Active);
        session.stop().await.unwrap().ended().await.unwrap();
    }
}

/// Neither is the time that it takes to end what a program has left.
#[tokio::test]
async fn what_is_left_of_a_program_is_ended_in_time_of_its_own() {
    let worker = Worker::start().await;
    for silence in [Silence::Ok, Silence::Counts] {
        let session = silent_for(SHORT, &worker, &["leave"], silence).await;
        let settled = settled(&session).await;
        assert!(matches!(settled, Settled::Completed(_)), "{silence:?}: {settled:?}");
        gone(session.id());
    }
}

#[tokio::test]
async fn a_program_that_is_quiet_by_nature_is_well_while_it_lives() {
    let worker = Worker::start().await;
    let session = silent_for(SHORT, &worker, &["silent", "1"], Silence::Ok).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
}
