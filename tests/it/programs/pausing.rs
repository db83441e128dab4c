//! Programs of sessions that are paused: frozen, or stopped and run again.

use std::{fs, time::Duration};

use sessionkeeper::{
    Event, Fact, Limit, Rollover, State,
    process::{OnPause, OutputFormat, ProcessInput, ProcessState, Stdin},
    testing::audit_log,
};

use super::kit::{Worker, alive, gone, has_printed, printed, state, told, trial, turn_done, until};

/// Whether all processes of a session stand still.
fn stands_still(session: sessionkeeper::SessionId) -> bool {
    alive(session).is_none_or(|alive| {
        !alive.is_empty()
            && alive.iter().all(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
                stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
            })
    })
}

#[tokio::test]
async fn a_frozen_program_goes_on_where_it_was() {
    let worker = Worker::start().await;
    let spec = trial(&["ticks"]).on_pause(OnPause::Freeze(Limit::Never)).build().unwrap();
    let session = worker.run(spec).await;
    has_printed(&session, "tick").await;
    session.pause().await.unwrap();
    assert!(stands_still(session.id()));
    let lines = printed(&session).await.0.lines().count();
    session.resume().await.unwrap();
    until("it ticks again", async || printed(&session).await.0.lines().count() > lines + 3).await;
    assert_eq!(told(&session, "process_started").await.len(), 1);
    session.stop().await.unwrap().ended().await.unwrap();
    gone(session.id());
}

/// Also that which lay in the pipe when it was frozen: nobody reads it later where it is ended.
#[tokio::test]
async fn what_a_frozen_program_had_printed_is_recorded() {
    let worker = Worker::start().await;
    let folder = tempfile::tempdir().unwrap();
    let tally = folder.path().join("tally");
    let spec = trial(&["tally", tally.to_str().unwrap()]);
    let session = worker.run(spec.on_pause(OnPause::Freeze(Limit::Never)).build().unwrap()).await;
    has_printed(&session, "line 100").await;
    session.pause().await.unwrap();
    session.stop().await.unwrap().ended().await.unwrap();
    let said = fs::read_to_string(&tally).unwrap().lines().count();
    let lines = printed(&session).await.0.lines().count();
    assert!(lines >= said, "{lines} lines are recorded, and {said} were printed");
}

#[tokio::test]
async fn a_program_frozen_for_too_long_is_stopped_and_run_again() {
    let worker = Worker::start().await;
    let limit = Limit::After(Duration::from_millis(50));
    let spec = trial(&["ticks"]).on_pause(OnPause::Freeze(limit)).build().unwrap();
    let session = worker.run(spec).await;
    has_printed(&session, "tick").await;
    session.pause().await.unwrap();
    until("it is gone", async || alive(session.id()).is_none_or(|alive| alive.is_empty())).await;
    assert_eq!(session.status().await.unwrap().state(), State::Paused);
    session.resume().await.unwrap();
    until("it runs again", async || told(&session, "process_started").await.len() == 2).await;
    session.stop().await.unwrap().ended().await.unwrap();
    gone(session.id());
}

#[tokio::test]
async fn a_stopped_program_goes_on_with_its_resume_command() {
    let worker = Worker::start().await;
    let spec = trial(&["agent"])
        .stdin(Stdin::Open)
        .output(OutputFormat::JsonLines)
        .resume(["echo", "going on with {external_id} of {session_id}"])
        .unwrap();
    let session = worker.run(spec.build().unwrap()).await;
    session.send(ProcessInput::Text("a turn".to_owned())).await.unwrap();
    turn_done(&session, 1).await;
    session.pause().await.unwrap();
    gone(session.id());
    assert_eq!(state(&session).await.starts, 1);
    session.resume().await.unwrap();
    has_printed(&session, &format!("going on with agent-7 of {}", session.id())).await;
}

#[tokio::test]
async fn an_input_is_given_once_to_a_program_that_is_frozen_over_it() {
    let worker = Worker::start().await;
    let spec = trial(&["slow-agent"])
        .stdin(Stdin::Open)
        .output(OutputFormat::JsonLines)
        .on_pause(OnPause::Freeze(Limit::Never));
    let session = worker.run(spec.build().unwrap()).await;
    session.send(ProcessInput::Text("a turn".to_owned())).await.unwrap();
    until("it has begun", async || session.status().await.unwrap().record().external_id.is_some())
        .await;
    session.pause().await.unwrap();
    assert_eq!(session.status().await.unwrap().record().inbox.consumed, 0);
    session.resume().await.unwrap();
    turn_done(&session, 1).await;
    // A second answer would come now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let is_done = |fact: &Fact| matches!(fact, Fact::Work(Event::Completion { .. }));
    let events = super::kit::events(&session).await;
    assert_eq!(events.iter().filter(|event| is_done(&event.fact)).count(), 1);
    session.stop().await.unwrap().ended().await.unwrap();
    gone(session.id());
}

#[tokio::test]
async fn what_an_agent_is_called_is_durable_as_soon_as_it_is_known() {
    let worker = Worker::start().await;
    let spec = trial(&["slow-agent"]).stdin(Stdin::Open).output(OutputFormat::JsonLines);
    let session = worker.run(spec.build().unwrap()).await;
    session.send(ProcessInput::Text("a turn".to_owned())).await.unwrap();
    until("it is in the state", async || state(&session).await.external_id.is_some()).await;
    assert_eq!(session.status().await.unwrap().record().inbox.consumed, 0, "in mid-turn");
    session.kill().await.unwrap().ended().await.unwrap();
}

#[tokio::test]
async fn a_stop_ends_what_is_frozen() {
    let worker = Worker::start().await;
    let spec = trial(&["deaf-child"]).on_pause(OnPause::Freeze(Limit::Never)).build().unwrap();
    let session = worker.run(spec).await;
    has_printed(&session, "deaf").await;
    session.pause().await.unwrap();
    assert!(stands_still(session.id()));
    session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
    gone(session.id());
    let told = told(&session, "process_stopped").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["cause"], "stopped", "{told:?}");
    assert!(told[0]["killed"].as_u64() >= Some(1), "{told:?}");
    let record = session.status().await.unwrap();
    assert_eq!(audit_log(record.record(), &super::kit::events(&session).await), []);
}

#[tokio::test]
async fn starts_against_pauses() {
    let worker = Worker::start().await;
    for round in 0..100 {
        let session = worker.trial(&["wait"]).await;
        tokio::time::sleep(Duration::from_micros(round * 100)).await;
        session.pause().await.unwrap();
        gone(session.id());
        session.resume().await.unwrap();
        session.stop().await.unwrap().ended().await.unwrap();
        gone(session.id());
    }
}

/// A rollover ends the program of a session that is frozen, unless the successor is given the state that knows it.
#[tokio::test]
async fn a_rollover_passes_a_frozen_program_on_where_that_is_wanted() {
    let worker = Worker::start().await;
    let spec = trial(&["ticks"]).on_pause(OnPause::Freeze(Limit::Never)).build().unwrap();
    let session = worker.run(spec.clone()).await;
    has_printed(&session, "tick").await;
    session.pause().await.unwrap();
    let known = session.snapshot().await.unwrap().state;
    let next = session.rollover(Rollover::new(known)).await.unwrap().into_handle();
    has_printed(&next, "tick").await;
    assert_eq!(told(&next, "process_started").await.len(), 0, "it is the same program");
    assert!(stands(&next).await);
    next.pause().await.unwrap();

    let fresh = Rollover::new(ProcessState::from(spec));
    let last = next.rollover(fresh).await.unwrap().into_handle();
    until("another is started", async || told(&last, "process_started").await.len() == 1).await;
    has_printed(&last, "tick").await;
    gone(session.id());
    last.stop().await.unwrap().ended().await.unwrap();
    gone(last.id());
}

/// Whether a session is active.
async fn stands(session: &super::kit::Handle) -> bool {
    session.status().await.unwrap().state() == State::Active
}
