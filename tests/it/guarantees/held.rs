//! What may stay while a session is paused stays, is handed to the next run, and is closed on
//! every other way.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use sessionkeeper::{
    Context, Event, Fact, Lifecycle, Outcome, Policy, Resource, Rollover, RunEnd, SessionHandle,
    Start, State, Supervisor, Workload, WorkloadError,
    store::{MemoryStore, Store},
    testing::{Call, Interference, audit_log},
};

use super::kit::{Custom, collect, custom, millis, next, secs, start_on, tap};
use crate::support::BUDGET;

const LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// Something slow to make, that a run would rather find warm.
struct Tool {
    log: Log,
    closes_in: Duration,
}

impl Resource for Tool {
    async fn close(&self, _: &RunEnd) {
        tokio::time::sleep(self.closes_in).await;
        self.log.note("closed");
    }

    fn last_words(&self) -> Vec<Event> {
        let too_large = Event::error("x".repeat(1 << 20));
        vec![Event::custom("tool_closed", json!({})), too_large]
    }
}

struct Warm {
    log: Log,
    closes_in: Duration,
}

impl Workload for Warm {
    const KIND: &'static str = "warm";
    const STATE_VERSION: u32 = 1;
    type State = u64;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        match cx.take_held::<Tool>() {
            Some(_) => self.log.note("warm"),
            None => {
                let tool = Tool { log: self.log.clone(), closes_in: self.closes_in };
                cx.hold_while_paused(tool, LIMIT);
                self.log.note("cold");
            }
        }
        while let Some(number) = cx.next_input().await? {
            assert!(*number != 13 || number.attempt() > 1, "told to panic");
            *cx.state_mut() += *number;
        }
        Ok(Outcome::Yielded)
    }
}

struct House {
    supervisor: Supervisor,
    session: SessionHandle<Warm>,
    log: Log,
}

async fn house(closes_in: Duration) -> House {
    house_on(MemoryStore::new(), closes_in).await
}

async fn house_on(store: impl Store, closes_in: Duration) -> House {
    let log = Log::default();
    let warm = Warm { log: log.clone(), closes_in };
    let policy = Policy::builder().idle_timeout(secs(3600)).build().unwrap();
    let supervisor = start_on(store, warm, |builder| builder.policy(policy)).await;
    let session = supervisor.start(Start::<Warm>::new(0)).await.unwrap().into_handle();
    tokio::time::sleep(secs(1)).await;
    House { supervisor, session, log }
}

async fn moves(session: &SessionHandle<Warm>) -> Vec<(State, State)> {
    let events = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
    let moves = events.into_iter().filter_map(|event| match event.fact {
        Fact::Lifecycle(Lifecycle::StateChanged { from, to, .. }) => Some((from, to)),
        _ => None,
    });
    moves.collect()
}

#[tokio::test(start_paused = true)]
async fn what_may_stay_is_handed_from_run_to_run() {
    let House { supervisor: _alive, session, log } = house(secs(0)).await;
    for _ in 0..3 {
        session.pause().await.unwrap();
        // Taken and left again, its limit counts anew.
        tokio::time::sleep(LIMIT - secs(60)).await;
        session.resume().await.unwrap();
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(log.all(), ["cold", "warm", "warm", "warm"]);
    tokio::time::sleep(secs(3700)).await;
    assert_eq!(session.status().await.unwrap().activity().to_string(), "paused (idle)");
    session.send(1).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(log.all().last(), Some(&"warm"), "also where an input wakes it: {:?}", log.all());
}

#[tokio::test(start_paused = true)]
async fn what_stays_too_long_is_closed_and_the_next_start_is_cold() {
    let House { supervisor: _alive, session, log } = house(secs(0)).await;
    session.pause().await.unwrap();
    tokio::time::sleep(LIMIT + secs(2)).await;
    assert_eq!(log.all(), ["cold", "closed"]);
    session.resume().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(log.all(), ["cold", "closed", "cold"]);
}

/// The worker's time stands still when it is over: a wait in it would never end.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_limit_of_a_worker_that_is_over() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let House { supervisor, session, log } = house(secs(0)).await;
    session.pause().await.unwrap();
    drop(supervisor);
    tokio::time::sleep(2 * LIMIT).await;
    let after = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(after, before);
    assert_eq!(log.all(), ["cold"], "a crash closes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_a_paused_session_waits_for_what_it_holds() {
    let House { supervisor: _alive, session, log } = house(secs(3)).await;
    session.pause().await.unwrap();
    let stop = session.stop().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopping);
    assert_eq!(log.all(), ["cold"], "not closed yet");
    stop.ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
    assert_eq!(log.all(), ["cold", "closed"]);
    let way = [(State::Paused, State::Stopping), (State::Stopping, State::Stopped)];
    assert!(moves(&session).await.ends_with(&way));
    let events = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
    let [.., words, last] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (words.run, &words.fact),
        (None, &Fact::Work(Event::custom("tool_closed", json!({}))))
    );
    assert!(matches!(last.fact, Fact::Lifecycle(Lifecycle::StateChanged { .. })), "{last:?}");
    assert_eq!(audit_log(session.status().await.unwrap().record(), &events), []);
    session.resume().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(log.all().last(), Some(&"cold"));
}

/// A pause that is taken back leaves what is held to a run that cannot begin while the store fails.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_held_between_two_runs() {
    let tap = tap();
    let House { supervisor: _alive, session, log } = house_on(tap.clone(), secs(3)).await;
    next(&tap, 1, Call::Snapshot, Interference::Fail);
    let (paused, resumed) = tokio::join!(session.pause(), session.resume());
    drop(paused);
    resumed.unwrap();
    tokio::time::sleep(millis(100)).await;
    assert_eq!(session.status().await.unwrap().activity().to_string(), "restarting (attempt 0)");
    let stop = session.stop().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopping);
    assert_eq!(log.all(), ["cold"], "not closed yet");
    stop.ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
    assert_eq!(log.all(), ["cold", "closed"]);
}

/// The run has come to rest and left what may stay, and a stop is asked for before the pause is durable.
#[tokio::test(start_paused = true)]
async fn a_stop_that_overtakes_a_pause_waits_for_what_was_left() {
    for late in 0..30 {
        let tap = tap();
        let House { supervisor: _alive, session, log } = house_on(tap.clone(), secs(3)).await;
        let slow = Interference::Delay { before: millis(10), after: millis(10) };
        next(&tap, 2, Call::Commit, slow);
        let stop = async {
            tokio::time::sleep(millis(late)).await;
            session.stop().await.unwrap().ended().await.unwrap();
            log.note("stopped");
        };
        let (_, ()) = tokio::join!(session.pause(), stop);
        assert_eq!(log.all(), ["cold", "closed", "stopped"], "{late} ms late");
        assert_eq!(session.status().await.unwrap().state(), State::Stopped);
        let events = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
        assert_eq!(audit_log(session.status().await.unwrap().record(), &events), []);
        session.resume().await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!(log.all().last(), Some(&"cold"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_also_for_what_is_being_closed_since_its_limit_is_over() {
    let House { supervisor: _alive, session, log } = house(secs(3)).await;
    session.pause().await.unwrap();
    tokio::time::sleep(LIMIT + secs(1)).await;
    assert_eq!(log.all(), ["cold"], "not closed yet");
    session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
    assert_eq!(log.all(), ["cold", "closed"]);
}

/// A stop that was asked for before the shutdown may be decided upon after that has begun to close what all hold.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_also_for_what_is_being_closed_by_a_shutdown() {
    let tap = tap();
    let House { supervisor, session, log } = house_on(tap.clone(), secs(3)).await;
    session.pause().await.unwrap();
    let slow = Interference::Delay { before: secs(1), after: Duration::ZERO };
    next(&tap, 1, Call::Load, slow);
    let stop = async {
        session.stop().await.unwrap().ended().await.unwrap();
        assert_eq!(log.all(), ["cold", "closed"]);
    };
    let shutdown = async {
        tokio::time::sleep(millis(500)).await;
        supervisor.shutdown(secs(20)).await
    };
    tokio::join!(stop, shutdown);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_when_it_is_closed_holds_up_no_stop_for_ever() {
    let House { supervisor: _alive, session, log: _ } = house(secs(1_000_000)).await;
    session.pause().await.unwrap();
    let stop = session.stop().await.unwrap();
    tokio::time::timeout(secs(6), stop.ended()).await.expect("in its grace").unwrap();
}

#[tokio::test(start_paused = true)]
async fn however_else_a_session_ends_what_it_holds_is_closed_once() {
    for way in ["stop", "complete", "complete paused", "fail paused", "shutdown", "shutdown paused"]
    {
        let House { supervisor, session, log } = house(secs(0)).await;
        if way.ends_with("paused") {
            session.pause().await.unwrap();
        }
        match way {
            "stop" => drop(session.stop().await.unwrap().ended().await.unwrap()),
            "complete" | "complete paused" => session.complete().await.unwrap(),
            "fail paused" => session.fail("enough").await.unwrap(),
            _ => drop(supervisor.shutdown(BUDGET).await),
        }
        tokio::time::sleep(secs(1)).await;
        assert_eq!(log.all(), ["cold", "closed"], "{way}");
        tokio::time::sleep(LIMIT * 2).await;
        assert_eq!(log.all(), ["cold", "closed"], "{way}: once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_leaves_nothing() {
    let House { supervisor: _alive, session, log } = house(secs(0)).await;
    session.send(13).await.unwrap();
    tokio::time::sleep(secs(10)).await;
    assert_eq!(log.all(), ["cold", "closed", "cold"]);
}

/// What may stay for half of the time that a tool may.
struct Brief(Log);

impl Resource for Brief {
    async fn close(&self, _: &RunEnd) {
        self.0.note("brief");
    }
}

/// Each thing stays for as long as it may, whatever else is held.
#[tokio::test(start_paused = true)]
async fn what_may_stay_longer_stays_longer() {
    let log = Log::default();
    let of_runs = log.clone();
    let holds = Custom::new(move |cx| {
        let log = of_runs.clone();
        Box::pin(async move {
            if cx.take_held::<Tool>().is_some() {
                log.note(if cx.take_held::<Brief>().is_some() { "both" } else { "tool" });
            } else {
                cx.hold_while_paused(Brief(log.clone()), LIMIT / 2);
                cx.hold_while_paused(Tool { log, closes_in: Duration::ZERO }, LIMIT);
            }
            collect(cx).await
        })
    });
    for (paused_for, expected) in
        [(LIMIT / 3, vec!["both"]), (LIMIT * 2 / 3, vec!["brief", "tool"])]
    {
        let supervisor = start_on(MemoryStore::new(), holds.clone(), |b| b).await;
        let session = custom(&supervisor).await;
        tokio::time::sleep(secs(1)).await;
        session.pause().await.unwrap();
        tokio::time::sleep(paused_for).await;
        session.resume().await.unwrap();
        tokio::time::sleep(secs(1)).await;
        let so_far = std::mem::take(&mut *log.0.lock().unwrap());
        assert_eq!(so_far, expected, "after {paused_for:?}");
        supervisor.shutdown(BUDGET).await;
        log.0.lock().unwrap().clear();
    }
}

/// A successor begins warm, also where the session before it was paused; its limit counts on from there.
#[tokio::test(start_paused = true)]
async fn what_is_held_while_paused_passes_to_the_successor() {
    for paused in [false, true] {
        let House { supervisor: _alive, session, log } = house(secs(0)).await;
        if paused {
            session.pause().await.unwrap();
            tokio::time::sleep(LIMIT - secs(60)).await;
        }
        let mut last = session.clone();
        for _ in 0..3 {
            last = last.rollover(Rollover::new(0)).await.unwrap().into_handle();
            tokio::time::sleep(secs(1)).await;
        }
        assert_eq!(log.all(), ["cold", "warm", "warm", "warm"], "paused: {paused}");
        last.stop().await.unwrap().ended().await.unwrap();
        assert_eq!(log.all().last(), Some(&"closed"));
        assert_eq!(log.all().len(), 5, "it was closed once");
    }
}

/// A successor that has never run holds what it inherited: that is closed when its limit is over, and before it is stopped.
#[tokio::test(start_paused = true)]
async fn a_successor_that_waits_for_its_place_holds_what_it_inherited() {
    for ending in ["limit", "stop", "complete", "shutdown", "rollover"] {
        let log = Log::default();
        let warm = Warm { log: log.clone(), closes_in: secs(2) };
        let start = |builder: sessionkeeper::Builder| builder.max_active(1);
        let supervisor = start_on(MemoryStore::new(), warm, start).await;
        let session = supervisor.start(Start::<Warm>::new(0)).await.unwrap().into_handle();
        tokio::time::sleep(secs(1)).await;
        session.pause().await.unwrap();
        let slot = supervisor.slot().await.unwrap();
        let next = session.rollover(Rollover::new(0)).await.unwrap().into_handle();
        tokio::time::sleep(secs(60)).await;
        assert_eq!(next.status().await.unwrap().state(), State::Pending);
        assert_eq!(log.all(), ["cold"], "it is held");
        match ending {
            "limit" => tokio::time::sleep(LIMIT).await,
            "stop" => {
                let asked = next.stop().await.unwrap();
                asked.ended().await.unwrap();
                assert_eq!(log.all(), ["cold", "closed"], "closed before it is stopped");
                let events = next.events(1..=u64::MAX, usize::MAX).await.unwrap();
                let said = events.iter().filter(|event| matches!(event.fact, Fact::Work(_)));
                assert_eq!(said.count(), 1, "its last words are recorded");
                let record = next.status().await.unwrap().record().clone();
                assert_eq!(audit_log(&record, &events), []);
            }
            "complete" => {
                next.complete().await.unwrap();
                tokio::time::sleep(secs(10)).await;
            }
            "rollover" => {
                let last = next.rollover(Rollover::new(0)).await.unwrap().into_handle();
                drop(slot);
                tokio::time::sleep(secs(1)).await;
                assert_eq!(last.status().await.unwrap().state(), State::Active);
                assert_eq!(log.all(), ["cold", "warm"]);
                continue;
            }
            _ => drop(supervisor.shutdown(BUDGET).await),
        }
        assert_eq!(log.all(), ["cold", "closed"], "{ending}");
        drop(slot);
    }
}
