//! Stories of alarms that are not true.

use sessionkeeper::PauseCause;

use super::*;

/// A session that sleeps and is woken by its alarm; with all that happened.
async fn slept() -> (MemoryStore, Ledger, SessionId, Vec<(SessionId, EventRecord)>) {
    let second = SecondLife::resumed().await;
    second.sends(SLEEPS).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let id = second.id();
    let (store, ledger) = second.ends().await;
    let history = history(&store).await.unwrap();
    (store, ledger, id, history)
}

/// Looks at the clocks while a session slept: so many seconds after its alarm was due, with so many troubles by then.
fn looked(ledger: &mut Ledger, found: &Found, at: &[(u64, u64)]) {
    let asleep = found.history.iter().zip(1..).find_map(|((_, event), number)| match &event.fact {
        Fact::Lifecycle(Lifecycle::FellAsleep(sleep)) => Some((number, sleep.until)),
        _ => None,
    });
    let (events, until) = asleep.unwrap();
    for (seconds, troubles) in at {
        let up = Duration::from_secs(*seconds);
        let moment = Moment { up, wall: until + up, events, troubles: *troubles };
        ledger.0.push(Entry::Moment(moment));
    }
}

type SpoilSleep = fn(&mut Found, &mut Ledger, SessionId);

#[rustfmt::skip]
const SPOILT: &[(&str, SpoilSleep, &str)] = &[
    ("an alarm that rings early", |found, _, id| {
        let log = &mut found.get_mut(&id).unwrap().log;
        let rang = log.iter_mut().find(|event| matches!(
            event.fact, Fact::Lifecycle(Lifecycle::StateChanged { cause: Cause::AlarmRang, .. })
        )).unwrap();
        rang.at -= TimeDelta::milliseconds(1);
    }, "it was to sleep until"),
    ("an alarm that rings late", |found, ledger, _| {
        looked(ledger, found, &[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
    }, "and slept at"),
    ("an alarm that never rings", |found, ledger, id| {
        let moves = |event: &EventRecord| matches!(
            event.fact, Fact::Lifecycle(Lifecycle::StateChanged { cause: Cause::AlarmRang, .. })
        );
        found.history.retain(|(of, event)| *of != id || !moves(event));
        looked(ledger, found, &[(7, 0), (8, 0), (9, 0), (10, 0), (11, 0), (12, 0)]);
    }, "and slept at"),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_of_a_sleep_is_found() {
    let (store, ledger, id, history) = slept().await;
    let (wrong, found) = judge_beside(&store, &ledger, history.clone()).await;
    assert_eq!(wrong, Vec::<String>::new());
    for (what, spoil, expected) in SPOILT {
        let (mut found, mut ledger) = (find(&store).await.unwrap(), ledger.clone());
        found.remember(history.clone());
        spoil(&mut found, &mut ledger, id);
        let wrong = compare(&found, &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
    }
    // Something delayed it, the process stood still, it was early enough, or the worker was lost.
    let excused: [&[(u64, u64)]; 3] = [
        &[(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 1)],
        &[(0, 0), (1, 0), (2, 0), (9, 0), (10, 0)],
        &[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)],
    ];
    for looks in excused {
        let mut ledger = ledger.clone();
        looked(&mut ledger, &found, looks);
        assert_eq!(compare(&found, &ledger), Vec::<String>::new(), "{looks:?}");
    }
    let mut two_workers = ledger.clone();
    looked(&mut two_workers, &found, &[(0, 0), (1, 0), (2, 0)]);
    two_workers.0.push(Entry::Lost);
    looked(&mut two_workers, &found, &[(3, 0), (4, 0), (5, 0)]);
    assert_eq!(compare(&found, &two_workers), Vec::<String>::new());
}

/// The wall clock jumps past the time at which an alarm is due, and somebody looks for so many seconds after that, while it sleeps on.
fn looked_after_jump(ledger: &mut Ledger, found: &Found, seconds: u64) {
    looked(ledger, found, &[(0, 0)]);
    let Some(Entry::Moment(first)) = ledger.0.last_mut() else { unreachable!() };
    first.wall -= TimeDelta::days(1);
    let after: Vec<_> = (1..=seconds + 1).map(|second| (second, 0)).collect();
    looked(ledger, found, &after);
}

/// The event with which the alarm of a session wakes it.
fn rings(found: &mut Found, id: SessionId) -> (usize, &mut EventRecord) {
    let log = &mut found.get_mut(&id).unwrap().log;
    let rang = log.iter_mut().enumerate().find(|(_, event)| {
        matches!(
            event.fact,
            Fact::Lifecycle(Lifecycle::StateChanged { cause: Cause::AlarmRang, .. })
        )
    });
    rang.unwrap()
}

/// Nobody tells a worker that the clock has jumped: it looks at that now and then, and no more rarely.
#[tokio::test(start_paused = true)]
async fn an_alarm_that_a_jump_of_the_clock_keeps_from_ringing_is_a_finding() {
    let (store, ledger, id, history) = slept().await;
    let judged = async |spoil: &dyn Fn(&mut Found, &mut Ledger)| {
        let (mut found, mut ledger) = (find(&store).await.unwrap(), ledger.clone());
        found.remember(history.clone());
        spoil(&mut found, &mut ledger);
        compare(&found, &ledger).iter().filter(|wrong| wrong.contains("it was to sleep")).count()
    };
    let late =
        async |seconds| judged(&|found, ledger| looked_after_jump(ledger, found, seconds)).await;
    assert_eq!(late(34).await, 0, "it may not have looked");
    assert_eq!(late(35).await, 1, "it has slept on");

    // Set back before the alarm rings, the clock says that it is early: then it is not to ring.
    let set_back = |found: &mut Found| rings(found, id).1.at -= TimeDelta::days(1);
    assert_eq!(judged(&|found, _| set_back(found)).await, 1, "it rang early");
    // Who waits for a place has rung before that, and is woken whatever the clock says since.
    let waited = |found: &mut Found| {
        let (place, rang) = rings(found, id);
        let to = PauseCause::AlarmRang;
        let what = Lifecycle::PauseCauseChanged { from: PauseCause::Idle, to };
        let event = EventRecord { fact: Fact::Lifecycle(what), ..rang.clone() };
        found.get_mut(&id).unwrap().log.insert(place, event);
    };
    let rings_again = |found: &mut Found, _: &mut Ledger| {
        waited(found);
        set_back(found);
    };
    assert_eq!(judged(&rings_again).await, 0, "it rang in time");
    // But not if the clock was set back before it rang.
    let rings_early = |found: &mut Found, _: &mut Ledger| {
        set_back(found);
        waited(found);
    };
    assert_eq!(judged(&rings_early).await, 1, "it rang early, and waited");
}
