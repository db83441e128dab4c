//! Statistics: how many sessions there are, and what happened to them.

use std::time::Duration;

use chrono::TimeDelta;
use sessionkeeper::{
    Alert, Builder, Delete, EventType, Fork, Kind, Lifecycle, Rollover, Scope, SessionHandle,
    SessionRecord, Start, State, StateCounts, Statistics, StatisticsError, StatisticsOptions,
    Supervisor, Thresholds, Timestamp, Window,
    store::{Fault, LogItem, LogQuery, MemoryStore, Query, Store},
    testing::{Call, FaultyStore, Harness, Interference, WallClock},
};

use super::{MINUTE, SECOND, labels, soon};
use crate::support::{BUDGET, Do, Done, Scripted, Worker};

const USERS: [&str; 3] = ["ada", "bob", "eve"];

/// What a scan of all sessions finds.
async fn scanned(store: &impl Store, user: Option<&str>) -> StateCounts {
    let labels = user.map(|user| ("user".to_owned(), user.to_owned())).into_iter().collect();
    let query = Query { labels, limit: usize::MAX, ..Query::default() };
    let page = store.list(query).await.unwrap();
    page.records.iter().map(SessionRecord::state).collect()
}

/// The counters say what a scan does, once nothing moves between the two.
async fn agree(worker: &Worker) {
    soon(async {
        for user in USERS.map(Some).into_iter().chain([None]) {
            let scope = user.map_or(Scope::All, |user| Scope::label("user", user));
            loop {
                let before = scanned(&worker.store, user).await;
                let counts = worker.supervisor.counts(scope.clone()).await.unwrap();
                if before == scanned(&worker.store, user).await {
                    assert_eq!(counts, before, "{scope}");
                    break;
                }
            }
        }
    })
    .await;
}

/// Does one of many things to one of some sessions; most may be refused.
async fn do_anything(
    supervisor: &Supervisor,
    rng: &mut fastrand::Rng,
    session: &SessionHandle<Scripted>,
) {
    let worked = match rng.u32(0..15) {
        0 => session.pause().await.map(drop),
        1 => session.resume().await,
        2 => session.stop().await.map(drop),
        3 => session.complete().await,
        4 => session.fail("it was told to").await,
        5 => session.set_labels(labels(&[("user", USERS[rng.usize(0..3)])])).await,
        6 => session.delete(Delete::IfAtRest).await,
        7 => session.delete(Delete::StopFirst).await,
        8 => {
            let _ = session.rollover(Rollover::new(Done::default())).await;
            Ok(())
        }
        9 => {
            let fork = Fork::<Scripted>::new();
            let _ = supervisor.fork(session.id(), fork).await;
            Ok(())
        }
        10 => session.kill().await.map(drop),
        11 => {
            let _ = session.send(Do::FailForGood).await;
            Ok(())
        }
        12 | 13 => {
            let _ = session.send(Do::Silent(MINUTE * 90)).await;
            Ok(())
        }
        _ => {
            let _ = session.send(Do::Complete).await;
            Ok(())
        }
    };
    // What is refused changes nothing, and the counters show whether that is so.
    drop(worked);
}

#[tokio::test(start_paused = true)]
async fn counters_follow_whatever_is_done() {
    let mut expired = 0;
    for seed in 1..=6 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut worker = Worker::start_with(|builder| builder.max_active(5)).await;
        let mut sessions = Vec::new();
        for round in 0..120 {
            if sessions.len() < 4 || rng.u32(0..3) == 0 {
                let user = USERS[rng.usize(0..3)];
                let start = |start: Start<Scripted>| start.labels(labels(&[("user", user)]));
                sessions.push(worker.session_with(start).await);
            }
            let session = &sessions[rng.usize(0..sessions.len())];
            soon(async {
                tokio::select! {
                    () = do_anything(&worker.supervisor, &mut rng, session) => {}
                    // A resume may wait for a place for ever.
                    () = tokio::time::sleep(SECOND * 30) => {}
                }
            })
            .await;
            agree(&worker).await;
            if round % 40 == 39 {
                tokio::time::sleep(MINUTE * 40).await;
                agree(&worker).await;
                worker = worker.crash_and_restart_with(|builder| builder.max_active(5)).await;
                agree(&worker).await;
                for session in &mut sessions {
                    if let Ok(found) = worker.supervisor.session(session.id()).await {
                        *session = found.typed().unwrap();
                    }
                }
            }
        }
        let counts = worker.supervisor.counts(Scope::All).await.unwrap();
        assert!(counts.total() > 10, "{seed}: {counts}");
        expired += counts.of(State::Expired);
        worker.supervisor.shutdown(BUDGET).await;
    }
    assert!(expired > 0, "some were silent for too long");
}

#[tokio::test(start_paused = true)]
async fn counts_are_shown_by_state() {
    let worker = Worker::start_with(|builder| builder.max_active(2)).await;
    assert_eq!(worker.supervisor.counts(Scope::All).await.unwrap().to_string(), "none");
    let first = worker.session().await;
    for _ in 0..2 {
        worker.session().await;
    }
    let counts = worker.supervisor.counts(Scope::All).await.unwrap();
    assert_eq!(counts.to_string(), "pending 1, active 2");
    first.pause().await.unwrap();
    super::until(&first, |status| status.state() == State::Paused).await;
    let of_kind = Scope::Kind(super::kind("scripted"));
    let counts = worker.supervisor.counts(of_kind).await.unwrap();
    assert_eq!((counts.total(), counts.of(State::Paused)), (3, 1));
    let of_nobody = worker.supervisor.counts(Scope::label("user", "nobody")).await.unwrap();
    assert_eq!(of_nobody, StateCounts::default());
}

const HOUR: Window = Window::Last(Duration::from_secs(3600));

fn counted(builder: Builder) -> Builder {
    builder.statistics(StatisticsOptions::default().label("user"))
}

/// Statistics that nothing is missing from.
async fn caught_up(supervisor: &Supervisor, scope: Scope, window: Window) -> Statistics {
    soon(async {
        loop {
            let statistics = supervisor.statistics(scope.clone(), window).await.unwrap();
            if statistics.behind == 0 {
                return statistics;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// How many events the log has of each type, and how often a session came to each end.
async fn logged(store: &impl Store) -> ([usize; 8], [usize; 8]) {
    let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
    let page = store.log(query).await.unwrap();
    let (mut types, mut ends) = ([0; 8], [0; 8]);
    for item in page.items {
        let LogItem::Event(logged) = item else { panic!("a gap") };
        let of = EventType::of(&logged.event.fact);
        types[EventType::ALL.iter().position(|other| *other == of).unwrap()] += 1;
        if let sessionkeeper::Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) =
            &logged.event.fact
            && to.has_ended()
        {
            ends[State::ALL.iter().position(|state| state == to).unwrap()] += 1;
        }
    }
    (types, ends)
}

/// What was counted is what the log has.
async fn is_whole(harness: &Harness) {
    let statistics = caught_up(harness.supervisor(), Scope::All, Window::SinceTheBeginning).await;
    let types = EventType::ALL.map(|of| usize::try_from(statistics.events(of)).unwrap());
    let ends = State::ALL.map(|how| usize::try_from(statistics.ended(how)).unwrap());
    assert_eq!((types, ends), logged(harness.place()).await);
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted_once_through_crashes_and_shutdowns() {
    for seed in 1..=4 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let configure = |builder: Builder| counted(builder).workload(Scripted::default());
        let mut harness = Harness::start(configure).await;
        for round in 0..24 {
            let start = Scripted::start().labels(labels(&[("user", "ada")])).input(Do::Emit(3));
            let session = harness.supervisor().start(start).await.unwrap().into_handle();
            session.send(Do::Spend(10)).await.unwrap();
            let last = [Do::Complete, Do::FailForGood, Do::Add(1)];
            session.send(last[rng.usize(0..3)].clone()).await.unwrap();
            // Before it is kept, or after that.
            tokio::time::sleep(SECOND * rng.u32(0..15)).await;
            match round % 4 {
                1 => drop(harness.crash_and_reopen().await),
                3 => drop(harness.shutdown_and_reopen().await),
                _ => {}
            }
            is_whole(&harness).await;
        }
        let ada = Scope::label("user", "ada");
        let ada = caught_up(harness.supervisor(), ada, Window::SinceTheBeginning).await;
        let all = caught_up(harness.supervisor(), Scope::All, Window::SinceTheBeginning).await;
        let kind = Scope::Kind(Kind::new("scripted").unwrap());
        let kind = caught_up(harness.supervisor(), kind, Window::SinceTheBeginning).await;
        assert_eq!((&ada.tally, &kind.tally), (&all.tally, &all.tally));
        assert_eq!((all.started(), all.usage().input_tokens() > 0), (24, true), "{all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_ends_now_and_begins_when_it_says() {
    let worker = Worker::start_with(counted).await;
    let wall = MINUTE * 30;
    let first =
        worker.session_with(|start| start.input(Do::Busy { limit: wall, takes: MINUTE * 5 })).await;
    first.send(Do::Complete).await.unwrap();
    super::until(&first, |status| status.state() == State::Completed).await;
    let all = caught_up(&worker.supervisor, Scope::All, HOUR).await;
    assert_eq!((all.started(), all.ended(State::Completed), all.ended_in_all()), (1, 1, 1));
    let took = all.completed();
    assert_eq!(took.count(), 1);
    assert_eq!(all.states, [State::Completed].into_iter().collect());
    let text = all.to_string();
    assert!(text.contains("started   1, ended completed 1 failed 0"), "{text}");
    let nobody = caught_up(&worker.supervisor, Scope::label("user", "ada"), HOUR).await;
    assert_eq!(nobody.events_in_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn statistics_that_nobody_asked_for_are_refused_with_advice() {
    let worker = Worker::start().await;
    let refused = worker.supervisor.statistics(Scope::All, HOUR).await.unwrap_err();
    assert!(matches!(refused, StatisticsError::NotCounted), "{refused:?}");
    assert!(refused.to_string().contains("Builder::statistics"), "{refused}");
    let worker = Worker::start_with(counted).await;
    let refused = worker.supervisor.statistics(Scope::label("team", "red"), HOUR).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("team=red") && refused.contains("StatisticsOptions"), "{refused}");
}

/// Who asks for statistics late is told of what was before.
#[tokio::test(start_paused = true)]
async fn what_happened_before_it_was_asked_for_is_counted_too() {
    let worker = Worker::start().await;
    for _ in 0..30 {
        worker.session_with(|start| start.input(Do::Emit(9))).await;
    }
    tokio::time::sleep(MINUTE).await;
    let worker = worker.crash_and_restart_with(counted).await;
    let all = caught_up(&worker.supervisor, Scope::All, Window::SinceTheBeginning).await;
    assert_eq!(all.started(), 30);
    let of_all: usize = logged(&worker.store).await.0.iter().sum();
    assert_eq!(all.events_in_all(), of_all as u64);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_active_though_nothing_happens_are_told_of() {
    let clock = WallClock::starting_at(Timestamp::UNIX_EPOCH + TimeDelta::days(20_000));
    let worker = Worker::start_with(|builder| counted(builder).wall_clock(clock)).await;
    worker.session_with(|start| start.input(Do::Await(MINUTE * 500))).await;
    let alerts = async || {
        let all = caught_up(&worker.supervisor, Scope::All, HOUR).await;
        all.alerts(&worker.supervisor.health(), &Thresholds::default())
    };
    assert_eq!(alerts().await, [], "it has just begun");
    tokio::time::sleep(MINUTE * 62).await;
    let quiet = Alert::NoEvents { active: 1, quiet: MINUTE * 60 };
    assert_eq!(alerts().await, [quiet]);
    worker.session_with(|start| start.input(Do::Emit(1))).await;
    assert_eq!(alerts().await, []);
}

/// There are no statistics of a store that cannot be read, but that is to be heard of most of all.
#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_an_alert() {
    let store = FaultyStore::new(MemoryStore::new());
    let supervisor =
        counted(Supervisor::builder(store.clone()).workload(Scripted::default())).start().await;
    let supervisor = supervisor.unwrap();
    let thresholds = Thresholds::default();
    let alerts = || supervisor.alerts(Scope::All, HOUR, &thresholds);
    assert_eq!(alerts().await.unwrap(), []);
    for call in [Call::Log, Call::Count] {
        store.inject(
            move |made| {
                if made == call { Interference::Fail } else { Interference::None }
            },
        );
        let raised = alerts().await.unwrap();
        assert!(matches!(raised.as_slice(), [Alert::StoreFails { .. }]), "{call:?}: {raised:?}");
        store.mend();
    }
    assert_eq!(alerts().await.unwrap(), []);
    let of_team = supervisor.alerts(Scope::label("team", "red"), HOUR, &thresholds).await;
    assert!(matches!(of_team, Err(StatisticsError::LabelNotCounted { .. })), "{of_team:?}");
    supervisor.shutdown(BUDGET).await;
}

#[tokio::test(start_paused = true)]
async fn alerts_say_what_a_person_should_hear_of() {
    let store = MemoryStore::new();
    let worker = Worker::on(store.clone(), Scripted::default(), counted).await;
    let alerts = async |thresholds: Thresholds| {
        let all = caught_up(&worker.supervisor, Scope::All, HOUR).await;
        all.alerts(&worker.supervisor.health(), &thresholds)
    };
    worker.session_with(|start| start.input(Do::Silent(MINUTE * 500))).await;
    assert_eq!(alerts(Thresholds::default()).await, []);
    tokio::time::sleep(MINUTE * 31).await;
    let (expired, ended, allowed) = (1, 1, 0.1);
    let raised = alerts(Thresholds::default().least_ended(1)).await;
    assert_eq!(raised, [Alert::ExpirationRate { expired, ended, allowed }]);

    store.fail(Fault::NothingDone);
    let start = Start::<Scripted>::new(Done::default());
    let refused = soon(worker.supervisor.start(start)).await.map(drop);
    assert!(refused.is_err());
    let raised = alerts(Thresholds::default()).await;
    assert!(matches!(raised.as_slice(), [Alert::StoreFails { .. }]), "{raised:?}");
}
