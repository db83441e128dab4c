//! Programs that show no sign of life, and those that need not.

use std::time::Duration;

use sessionkeeper::{
    Settled, Start, State,
    process::{ProcessState, Silence},
};

use super::kit::{Handle, Programs, Worker, alive, once, settled, trial, until};

async fn with_timeout(worker: &Worker, args: &[&str], silence: Silence) -> Handle {
    let timeout = Duration::from_millis(400);
    let policy = once().to_builder().heartbeat_timeout(timeout).build().unwrap();
    let spec = trial(args).silence(silence).build().unwrap();
    let start = Start::<Programs>::new(ProcessState::from(spec)).policy(policy);
    worker.supervisor.start(start).await.unwrap().into_handle()
}

#[tokio::test]
async fn a_silent_program_is_taken_for_hung_and_ended() {
    let worker = Worker::start().await;
    let session = with_timeout(&worker, &["ignore-term"], Silence::Counts).await;
    assert!(matches!(settled(&session).await, Settled::Expired(_)));
    // An expiry is durable first, and then the run is ended.
    until("nothing is alive", async || alive(session.id()).is_none_or(|alive| alive.is_empty()))
        .await;
}

#[tokio::test]
async fn output_is_a_sign_of_life() {
    let worker = Worker::start().await;
    // Also where no line ends.
    for what in ["ticks", "dots"] {
        let session = with_timeout(&worker, &[what], Silence::Counts).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(session.status().await.unwrap().state(), State::Active, "{what}");
        session.stop().await.unwrap().ended().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_is_quiet_by_nature_is_well_while_it_lives() {
    let worker = Worker::start().await;
    let session = with_timeout(&worker, &["silent", "1"], Silence::Ok).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
}
