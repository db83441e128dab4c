//! Sleeping: until an alarm of the wall clock rings, through restarts of the worker, or until an input comes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use sessionkeeper::{
    Activity, Alarm, Cause, Fork, Outcome, PauseCause, SessionHandle, Sleep, Start, State, Status,
    Timestamp, WhileAsleep,
    store::{BoxError, MemoryStore},
    testing::{Do, Harness, Scripted, crash_at_every_commit},
};

use super::{MINUTE, SECOND, consistent, idle, key, moves, policy, soon, state, status, until};
use crate::guarantees::kit::Custom;

const HOUR: Duration = Duration::from_secs(3600);
/// The input after which a sleeper sleeps, with nothing in hand.
const SLEEP: u64 = 0;
/// The same, after a minute of work.
const WORK_AND_SLEEP: u64 = 1;

/// So long after the clock of a harness has begun.
fn after(span: TimeDelta) -> Timestamp {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap() + span
}

fn in_an_hour() -> Alarm {
    Alarm::at(after(TimeDelta::hours(1)))
}

/// Collects its inputs, and sleeps until the alarm where one says so.
fn sleeper(alarm: Alarm) -> Custom {
    Custom::new(move |cx| {
        Box::pin(async move {
            while let Some(input) = cx.next_input().await? {
                let number = *input;
                cx.state_mut().push(number);
                if number > WORK_AND_SLEEP {
                    continue;
                }
                cx.checkpoint().await?;
                if number == WORK_AND_SLEEP {
                    tokio::time::sleep(MINUTE).await;
                }
                return Ok(Outcome::SleepUntil(alarm));
            }
            Ok(Outcome::Yielded)
        })
    })
}

async fn harness(alarm: Alarm) -> Harness {
    Harness::start(move |builder| {
        let policy = policy(|policy| policy.idle_timeout(sessionkeeper::Limit::Never));
        builder.workload(sleeper(alarm)).policy(policy)
    })
    .await
}

async fn started(harness: &Harness, inputs: &[u64]) -> SessionHandle<Custom> {
    let start = Start::<Custom>::new(Vec::new());
    let session = harness.supervisor().start(start).await.unwrap().into_handle();
    for input in inputs {
        session.send(*input).await.unwrap();
    }
    session
}

fn sleeps(status: &Status) -> Option<Sleep> {
    match status.pause_cause() {
        Some(PauseCause::Asleep(sleep)) => Some(sleep),
        _ => None,
    }
}

/// A session that sleeps, with nothing in hand.
async fn asleep(harness: &Harness) -> SessionHandle<Custom> {
    let session = started(harness, &[SLEEP]).await;
    until(&session, |status| sleeps(status).is_some()).await;
    session
}

async fn seen(session: &SessionHandle<Custom>) -> Vec<u64> {
    session.snapshot().await.unwrap().state
}

/// How a session was woken, each time.
async fn wakes(session: &SessionHandle<Custom>) -> Vec<Cause> {
    let all = moves(session).await.into_iter();
    all.filter(|(from, to, _)| (*from, *to) == (State::Paused, State::Active))
        .map(|(_, _, cause)| cause)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_alarm_wakes_a_session_that_sleeps_and_costs_no_actor() {
    let harness = harness(in_an_hour()).await;
    let first = asleep(&harness).await;
    let tasks = tokio::runtime::Handle::current().metrics();
    tokio::time::sleep(SECOND).await;
    let before = tasks.num_alive_tasks();
    let mut sessions = vec![first];
    for _ in 0..1000 {
        sessions.push(started(&harness, &[SLEEP]).await);
    }
    tokio::time::sleep(MINUTE).await;
    for session in &sessions {
        let status = status(session).await;
        let sleep = Sleep { until: in_an_hour().at, woken_after: None };
        assert_eq!(sleeps(&status), Some(sleep), "{status:?}");
        assert_eq!(status.activity().to_string(), "paused (asleep until 2023-11-14T23:13:20Z)");
    }
    assert_eq!(tasks.num_alive_tasks(), before, "a thousand sleepers more");
    tokio::time::sleep(HOUR - MINUTE * 2).await;
    for session in &sessions {
        assert_eq!(state(session).await, State::Paused, "it is not time yet");
    }
    tokio::time::sleep(MINUTE).await;
    for session in &sessions {
        assert_eq!(state(session).await, State::Active);
        assert_eq!(wakes(session).await, [Cause::AlarmRang]);
        consistent(session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_rings_an_alarm_soon_and_never_early() {
    let ten = TimeDelta::hours(10);
    // The jump; how long the session sleeps after it, at least and at most.
    for (jump, least, most) in [
        (TimeDelta::hours(11), Duration::ZERO, MINUTE),
        (TimeDelta::days(36_500), Duration::ZERO, MINUTE),
        (TimeDelta::hours(4), HOUR * 6 - MINUTE, HOUR * 6),
        (TimeDelta::hours(-4), HOUR * 14 - MINUTE, HOUR * 14),
    ] {
        let harness = harness(Alarm::at(after(ten))).await;
        let session = asleep(&harness).await;
        harness.clock().jump(jump);
        tokio::time::sleep(least).await;
        if !least.is_zero() {
            assert_eq!(state(&session).await, State::Paused, "{jump}: too early");
        }
        tokio::time::sleep(most - least + SECOND).await;
        assert_eq!(state(&session).await, State::Active, "{jump}: too late");
        assert!(harness.clock().now() >= after(ten), "{jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn inputs_wait_for_the_alarm_unless_they_may_wake_the_session() {
    for alarm in [in_an_hour(), in_an_hour().or_input()] {
        let harness = harness(alarm).await;
        let session = asleep(&harness).await;
        session.send(7).await.unwrap();
        tokio::time::sleep(MINUTE).await;
        let wakes_early = alarm != in_an_hour();
        assert_eq!(state(&session).await == State::Active, wakes_early, "{alarm:?}");
        tokio::time::sleep(HOUR).await;
        idle(&session).await;
        assert_eq!(seen(&session).await, [SLEEP, 7]);
        let cause = if wakes_early { Cause::InputArrived } else { Cause::AlarmRang };
        assert_eq!(wakes(&session).await, [cause]);
        consistent(&session).await;
    }
}

/// No wake-up is lost: what comes while a run is about to sleep, or waits already, wakes the session as
/// what comes later does.
#[tokio::test(start_paused = true)]
async fn an_input_that_the_run_did_not_see_wakes_the_session_at_once() {
    let harness = harness(in_an_hour().or_input()).await;
    let session = started(&harness, &[WORK_AND_SLEEP]).await;
    tokio::time::sleep(SECOND).await;
    session.send(7).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    idle(&session).await;
    assert_eq!(seen(&session).await, [WORK_AND_SLEEP, 7], "it came during the run");
    session.pause().await.unwrap();
    for input in [SLEEP, 8, SLEEP, 9] {
        session.send(input).await.unwrap();
    }
    session.resume().await.unwrap();
    idle(&session).await;
    assert_eq!(seen(&session).await, [WORK_AND_SLEEP, 7, SLEEP, 8, SLEEP, 9], "they waited");
    consistent(&session).await;
}

/// A turn that met a limit is begun again when the limit is gone; the inputs behind it are no reason to try
/// earlier, a new one is.
#[tokio::test(start_paused = true)]
async fn an_input_wakes_a_sleeper_once_and_only_if_it_is_news() {
    let scripted = Scripted::default();
    let workload = scripted.clone();
    let harness = Harness::start(move |builder| builder.workload(workload.clone())).await;
    let start = Scripted::start();
    let session = harness.supervisor().start(start).await.unwrap().into_handle();
    idle(&session).await;
    session.pause().await.unwrap();
    session.send(Do::SleepUntil(in_an_hour().or_input())).await.unwrap();
    session.send(Do::Add(10)).await.unwrap();
    session.resume().await.unwrap();
    // Time would stand still if it went round and round.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scripted.probe.runs(), 2);
    tokio::time::sleep(MINUTE).await;
    let status = until(&session, |status| sleeps(status).is_some()).await;
    assert_eq!(sleeps(&status).unwrap().woken_after, Some(2), "of two it knew");
    assert_eq!(scripted.probe.runs(), 2);
    session.send(Do::Add(100)).await.unwrap();
    assert_eq!(harness.drained(&session).await.sum, 111);
    assert_eq!(scripted.probe.runs(), 3);
    consistent(&session).await;
}

#[tokio::test(start_paused = true)]
async fn alarms_survive_restarts_and_ring_at_the_start_of_the_next_worker() {
    for shut_down in [true, false] {
        let mut harness =
            Harness::start(move |builder| builder.workload(sleeper(in_an_hour())).max_active(1))
                .await;
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(asleep(&harness).await);
        }
        if shut_down {
            harness.shutdown_and_reopen().await;
        } else {
            harness.crash_and_reopen().await;
        }
        tokio::time::sleep(MINUTE).await;
        for session in &mut sessions {
            *session = harness.again(session).await;
            assert_eq!(sleeps(&status(session).await).unwrap().until, in_an_hour().at);
        }
        harness.shutdown().await;
        harness.clock().jump(TimeDelta::days(2));
        harness.reopen().await;
        tokio::time::sleep(SECOND).await;
        // They have rung, whatever the clock shows now.
        harness.clock().jump(TimeDelta::days(-2));
        for left in (0..3).rev() {
            let mut awake = Vec::new();
            for session in &mut sessions {
                *session = harness.again(session).await;
                match status(session).await.activity() {
                    Activity::Paused { cause: PauseCause::AlarmRang } => {}
                    Activity::Paused { cause: PauseCause::Asked } => {}
                    Activity::Idle => awake.push(session.clone()),
                    other => panic!("{other:?}"),
                }
            }
            let [awake] = awake.as_slice() else { panic!("one place, {} awake", awake.len()) };
            assert_eq!(wakes(awake).await, [Cause::AlarmRang]);
            awake.pause().await.unwrap();
            consistent(awake).await;
            tokio::time::sleep(SECOND * left).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn verbs_act_on_a_session_that_sleeps_as_on_any_that_is_paused() {
    let limited = |builder: sessionkeeper::Builder| {
        let policy = policy(|policy| policy.paused_timeout(MINUTE * 10));
        builder.workload(sleeper(in_an_hour())).policy(policy)
    };
    let harness = Harness::start(limited).await;
    let (resumed, paused) = (asleep(&harness).await, asleep(&harness).await);
    let (stopped, completed) = (asleep(&harness).await, asleep(&harness).await);
    let (failed, left) = (asleep(&harness).await, asleep(&harness).await);
    tokio::time::sleep(MINUTE * 11).await;
    assert!(sleeps(&status(&paused).await).is_some(), "a sleep is no forgotten work");
    resumed.resume().await.unwrap();
    assert_eq!(state(&resumed).await, State::Active);
    assert_eq!(wakes(&resumed).await, [Cause::Asked]);
    paused.pause().await.unwrap();
    assert_eq!(status(&paused).await.pause_cause(), Some(PauseCause::Asked));
    let _ = stopped.stop().await.unwrap();
    completed.complete().await.unwrap();
    failed.fail("enough").await.unwrap();
    tokio::time::sleep(MINUTE * 9).await;
    assert_eq!(state(&paused).await, State::Paused);
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(state(&paused).await, State::Expired, "it waits since it was paused");
    tokio::time::sleep(HOUR).await;
    for (session, expected) in [
        (&stopped, State::Stopped),
        (&completed, State::Completed),
        (&failed, State::Failed),
        (&left, State::Active),
    ] {
        assert_eq!(state(session).await, expected);
        consistent(session).await;
    }
}

/// A person's pause wins over the sleep, what the supervisor does by itself does not.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_yield_may_sleep_unless_a_person_asked() {
    let yields = |alarm| {
        Custom::new(move |cx| {
            Box::pin(async move {
                while cx.next_input().await?.is_some() {}
                Ok(Outcome::SleepUntil(alarm))
            })
        })
    };
    let mut harness = Harness::start(move |builder| {
        let policy = policy(|policy| policy.idle_timeout(MINUTE));
        builder.workload(yields(in_an_hour())).policy(policy)
    })
    .await;
    let (asked, idle_one) = (started(&harness, &[]).await, started(&harness, &[]).await);
    asked.pause().await.unwrap();
    tokio::time::sleep(MINUTE * 2).await;
    assert!(sleeps(&status(&idle_one).await).is_some());
    let shut_down = started(&harness, &[]).await;
    idle(&shut_down).await;
    harness.shutdown_and_reopen().await;
    tokio::time::sleep(MINUTE * 5).await;
    for (session, expected) in [(asked, None), (idle_one, Some(())), (shut_down, Some(()))] {
        let session = harness.again(&session).await;
        let status = status(&session).await;
        assert_eq!(sleeps(&status).map(drop), expected, "{status:?}");
        consistent(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_has_passed_or_never_comes_is_no_trouble() {
    let past =
        Custom::new(|_| Box::pin(async { Ok(Outcome::sleep_until(after(TimeDelta::days(-1)))) }));
    let workload = past.clone();
    let harness = Harness::start(move |builder| builder.workload(workload.clone())).await;
    let session = started(&harness, &[]).await;
    tokio::time::sleep(MINUTE).await;
    let runs = past.ends().len();
    assert!((55..=61).contains(&runs), "{runs} runs in a minute");
    session.pause().await.unwrap();
    consistent(&session).await;

    for far in [after(TimeDelta::days(365_000 * 8)), Timestamp::MAX_UTC] {
        let mut harness = self::harness(Alarm::at(far)).await;
        let session = asleep(&harness).await;
        harness.crash_and_reopen().await;
        tokio::time::sleep(HOUR).await;
        let session = harness.again(&session).await;
        assert!(sleeps(&status(&session).await).is_some());
        session.resume().await.unwrap();
        idle(&session).await;
    }
}

#[test]
fn a_crash_at_any_commit_loses_no_alarm() {
    let alarm = in_an_hour();
    let commits = crash_at_every_commit(
        |builder| builder.workload(Scripted::default()),
        async |harness: &mut Harness<MemoryStore>, _: &mut ()| worked_off(harness, alarm).await,
        async |harness, ()| worked_off(harness, alarm).await,
    );
    assert!(commits > 5, "{commits}");
}

/// What a good caller does, again and again: in the end the session has slept and its input is done.
async fn worked_off(harness: &Harness<MemoryStore>, alarm: Alarm) -> Result<(), BoxError> {
    let start = Scripted::start().key(key("one"));
    let session = harness.supervisor().start(start).await?.into_handle();
    session.send_with_id("sleep".parse()?, Do::SleepUntil(alarm)).await?;
    let done = soon(harness.drained(&session)).await;
    assert_eq!((done.sum, done.seen), (1, vec![1]));
    assert!(harness.clock().now() >= alarm.at || slept_not(&session).await);
    consistent(&session).await;
    Ok(())
}

/// A crash between the attempt and its end is the first attempt: then there is no sleep.
async fn slept_not(session: &SessionHandle<Scripted>) -> bool {
    let moves = moves(session).await;
    moves.iter().all(|(_, _, cause)| *cause != Cause::FellAsleep)
}

#[tokio::test(start_paused = true)]
async fn a_fork_sleeps_as_its_parent_does_only_where_that_is_asked_for() {
    for (alarm, with_input) in [in_an_hour(), in_an_hour().or_input()]
        .into_iter()
        .flat_map(|alarm| [(alarm, false), (alarm, true)])
    {
        let about = format!("{alarm:?}, with an input: {with_input}");
        let mut harness = harness(alarm).await;
        let parent = asleep(&harness).await;
        let awake = parent.fork(Fork::new()).await.unwrap().into_handle();
        until(&awake, |status| status.state() == State::Active).await;

        let fork = Fork::new().copy_alarm().copy_inputs();
        let fork = if with_input { fork.input(7) } else { fork };
        let fork = parent.fork(fork).await.unwrap().into_handle();
        let wakes_at_once = with_input && alarm.inputs == WhileAsleep::Wake;
        if !wakes_at_once {
            let status = status(&fork).await;
            assert_eq!(sleeps(&status).map(|sleep| sleep.until), Some(alarm.at), "{about}");
            assert_eq!(status.record().runs.count, 0, "{about}");
            harness.crash_and_reopen().await;
            let fork = harness.again(&fork).await;
            tokio::time::sleep(MINUTE * 58).await;
            assert_eq!(state(&fork).await, State::Paused, "{about}");
        }
        let fork = harness.again(&fork).await;
        tokio::time::sleep(MINUTE * 3).await;
        let cause = if wakes_at_once { Cause::InputArrived } else { Cause::AlarmRang };
        assert_eq!(wakes(&fork).await, [cause], "{about}");
        assert_eq!(seen(&fork).await, if with_input { vec![SLEEP, 7] } else { vec![SLEEP] });
        consistent(&fork).await;
    }
}

/// One that does not sleep has no alarm to give.
#[tokio::test(start_paused = true)]
async fn a_fork_of_a_session_that_is_awake_begins_at_once() {
    let harness = harness(in_an_hour()).await;
    let parent = started(&harness, &[]).await;
    idle(&parent).await;
    let fork = parent.fork(Fork::new().copy_alarm()).await.unwrap().into_handle();
    until(&fork, |status| status.state() == State::Active).await;
}
