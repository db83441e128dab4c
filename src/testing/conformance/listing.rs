//! Listings and lanes.

use crate::{
    Deleted, Footprint, ForkedFrom, Labels, Lane, LaneTime, Links, PauseCause, Phase, Removal,
    Scope, SessionRecord, Sleep, State, StateBytes, StateCounts, Timestamp, Turn,
    store::{Query, Related, Store},
};

use super::{listed, number, numbers};
use crate::testing::{
    Place,
    fixture::{
        active, at, batch, kind, next, noise, only, opened, paused, pending, put, record, reopened,
        session, supervised, with_inputs, with_snapshot,
    },
};

/// Clause 9, indexes follow records: pages neither overlap nor leave out.
pub async fn a_listing_is_newest_first_and_pages_meet<P: Place>() {
    let (_place, store) = opened::<P>().await;
    for number in [4, 1, 7, 3, 6, 2, 5] {
        put(&store, only(record(number))).await;
    }
    // Created at the same moment as 7: the id decides.
    put(&store, only(SessionRecord { created_at: at(7), ..record(8) })).await;
    put(&store, only(SessionRecord { created_at: at(-9), ..record(9) })).await;

    assert_eq!(listed(&store, Query { limit: 0, ..Query::default() }).await, [8]);
    assert_eq!(listed(&store, Query::default()).await, [8, 7, 6, 5, 4, 3, 2, 1, 9]);
    let mut query = Query { limit: 4, ..Query::default() };
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let page = store.list(query.clone()).await.expect("a page");
        sizes.push(page.records.len());
        seen.extend(numbers(&page));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert_eq!(seen, [8, 7, 6, 5, 4, 3, 2, 1, 9]);
    assert_eq!(sizes, [4, 4, 1]);
}

/// Clause 9, indexes follow records: all conditions hold.
pub async fn a_listing_filters_by_state_kind_and_labels<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).expect("labels");
    let write = async |number, phase, of_kind, pairs: &[(&str, &str)]| {
        let record =
            SessionRecord { phase, kind: kind(of_kind), labels: labels(pairs), ..record(number) };
        put(&store, only(record)).await;
    };
    write(1, active(1), "coder", &[("team", "red"), ("tier", "1")]).await;
    write(2, Phase::Stopped, "coder", &[("team", "red")]).await;
    write(3, active(1), "coder2", &[("team", "blue"), ("tier", "1")]).await;
    write(4, Phase::Failed, "coder", &[("team", "redder")]).await;
    write(5, active(1), "writer", &[]).await;

    let check =
        async |states: &[State], of_kind: Option<&str>, pairs: &[(&str, &str)], is: &[u128]| {
            let query = Query {
                states: states.to_vec(),
                kind: of_kind.map(kind),
                labels: pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
                limit: 9,
                ..Query::default()
            };
            assert_eq!(listed(&store, query.clone()).await, is, "{query:?}");
        };
    check(&[], None, &[], &[5, 4, 3, 2, 1]).await;
    check(&[State::Active], None, &[], &[5, 3, 1]).await;
    check(&[State::Failed, State::Active, State::Active], None, &[], &[5, 4, 3, 1]).await;
    check(&[State::Expired], None, &[], &[]).await;
    check(&[], Some("coder"), &[], &[4, 2, 1]).await;
    check(&[], None, &[("team", "red")], &[2, 1]).await;
    check(&[], None, &[("tier", "1"), ("team", "red")], &[1]).await;
    check(&[State::Active], Some("coder2"), &[("tier", "1")], &[3]).await;
    check(&[State::Stopped], Some("writer"), &[], &[]).await;
}

/// Clause 9, indexes follow records: who comes from a session is found, by what they are to it.
pub async fn a_listing_finds_who_comes_from_a_session<P: Place>() {
    let (place, store) = opened::<P>().await;
    let write = async |number, phase, set: &dyn Fn(&mut Links)| {
        let mut links = Links::default();
        set(&mut links);
        let lineage = Some(Box::new(links));
        put(&store, only(SessionRecord { phase, lineage, ..record(number) })).await
    };
    let fork_of = |number| {
        move |links: &mut Links| {
            links.forked_from = Some(ForkedFrom { session: session(number), snapshot: 2 });
        }
    };
    put(&store, only(record(1))).await;
    write(2, active(1), &fork_of(1)).await;
    write(3, Phase::Failed, &fork_of(1)).await;
    write(4, active(1), &fork_of(2)).await;
    write(5, active(1), &|links| links.parent = Some(session(1))).await;
    let last = write(6, active(1), &|links| {
        links.transitioned_from = Some(session(1));
        links.parent = Some(session(1));
    })
    .await;
    // The session that it names need not exist.
    write(7, active(1), &fork_of(99)).await;

    let check = async |store: &P::Store, related: Related, states: &[State], is: &[u128]| {
        let query =
            Query { related: Some(related), states: states.to_vec(), limit: 9, ..Query::default() };
        assert_eq!(listed(store, query.clone()).await, is, "{query:?}");
    };
    check(&store, Related::forks_of(session(1)), &[], &[3, 2]).await;
    check(&store, Related::forks_of(session(1)), &[State::Failed], &[3]).await;
    check(&store, Related::forks_of(session(2)), &[], &[4]).await;
    check(&store, Related::forks_of(session(3)), &[], &[]).await;
    check(&store, Related::forks_of(session(99)), &[], &[7]).await;
    check(&store, Related::children_of(session(1)), &[], &[6, 5]).await;
    check(&store, Related::successor_of(session(1)), &[], &[6]).await;
    check(&store, Related::all_of(session(1)), &[], &[6, 5, 3, 2]).await;
    let page = Query { related: Some(Related::all_of(session(1))), limit: 3, ..Query::default() };
    let first = store.list(page.clone()).await.expect("a page");
    assert_eq!(numbers(&first), [6, 5, 3]);
    assert_eq!(listed(&store, Query { after: first.next, ..page }).await, [2]);

    // It follows its record, also after a restart.
    put(&store, only(next(&last, |record| record.lineage = None))).await;
    let store = reopened(&place, store, 2).await;
    check(&store, Related::all_of(session(1)), &[], &[5, 3, 2]).await;
}

/// Clause 9, indexes follow records: filters see the record as it is.
pub async fn a_listing_follows_its_records<P: Place>() {
    let (place, store) = opened::<P>().await;
    let first = put(&store, only(record(1))).await;
    let moved = next(&first, |record| {
        record.phase = Phase::Stopped;
        record.labels = Labels::new([("team", "red")]).expect("labels");
    });
    put(&store, only(moved)).await;
    let store = reopened(&place, store, 2).await;
    let of = |states: &[State], labels: &[(&str, &str)]| Query {
        states: states.to_vec(),
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..Query::default()
    };
    assert_eq!(listed(&store, of(&[State::Active], &[])).await, []);
    assert_eq!(listed(&store, of(&[State::Stopped], &[])).await, [1]);
    assert_eq!(listed(&store, of(&[], &[("team", "red")])).await, [1]);
}

/// Clause 9, indexes follow records: a lane is in the order of its due times.
pub async fn lanes_give_what_is_due_earliest_first<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let phases = [
        pending(300, Some(1_000)),
        pending(100, None),
        paused(PauseCause::Idle, 50, Some(500)),
        paused(PauseCause::Asked, 10, Some(70_000)),
        active(1),
        paused(asleep(2_000), 40, None),
        paused(asleep(400), 60, None),
        paused(asleep(LATE), 10, None),
        paused(PauseCause::AlarmRang, 200, None),
    ];
    for (number, phase) in (1..).zip(phases) {
        put(&store, only(SessionRecord { phase, ..record(number) })).await;
    }
    let due = async |lane, until, limit| {
        let due = store.due(lane, LaneTime::from_millis(until), limit).await.expect("due");
        let due = due.iter().map(|due| (due.at.as_millis(), number(due.session)));
        due.collect::<Vec<_>>()
    };
    assert_eq!(due(Lane::Ready, 1_000, 9).await, [(100, 2), (200, 9), (300, 1)]);
    assert_eq!(due(Lane::Ready, 199, 9).await, [(100, 2)]);
    assert_eq!(due(Lane::Ready, 1_000, 1).await, [(100, 2)]);
    assert_eq!(due(Lane::Timeout, 1_000, 9).await, [(500, 3), (1_000, 1)]);
    assert_eq!(due(Lane::Timeout, u64::MAX, 9).await, [(500, 3), (1_000, 1), (70_000, 4)]);
    assert_eq!(due(Lane::Timeout, 0, 9).await, []);
    assert_eq!(due(Lane::Alarm, 399, 9).await, []);
    assert_eq!(due(Lane::Alarm, 1_999, 9).await, [(400, 7)]);
    let late = u64::try_from(LATE).expect("after 1970");
    assert_eq!(due(Lane::Alarm, u64::MAX, 9).await, [(400, 7), (2_000, 6), (late, 8)]);
}

/// Clause 9, indexes follow records: what has moved on is not due.
pub async fn lanes_follow_their_records<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let idle = SessionRecord { phase: paused(PauseCause::Idle, 50, Some(500)), ..record(1) };
    let idle = put(&store, only(idle)).await;
    let ready =
        async || store.due(Lane::Ready, supervised(999).into(), 9).await.expect("due").len();
    let timeout =
        async || store.due(Lane::Timeout, supervised(999).into(), 9).await.expect("due").len();
    let alarm =
        async || store.due(Lane::Alarm, LaneTime::from_millis(999), 9).await.expect("due").len();
    assert_eq!((ready().await, timeout().await), (0, 1));
    let woken = put(&store, with_inputs(next(&idle, |_| ()), &[(None, b"wake")])).await;
    assert_eq!((ready().await, timeout().await), (1, 1));
    put(&store, only(next(&woken, |record| record.phase = active(1)))).await;
    assert_eq!((ready().await, timeout().await), (0, 0));
    let asleep = SessionRecord { phase: paused(asleep(500), 50, None), ..record(2) };
    let asleep = put(&store, only(asleep)).await;
    assert_eq!((alarm().await, ready().await), (1, 0));
    let rang = |record: &mut SessionRecord| record.phase = paused(PauseCause::AlarmRang, 60, None);
    put(&store, only(next(&asleep, rang))).await;
    assert_eq!((alarm().await, ready().await), (0, 1));
}

/// Far, but a date that can be written down: the last millisecond of the year 9999.
const LATE: i64 = 253_402_300_799_999;

/// A sleep until then, in milliseconds of the wall clock since 1970.
fn asleep(until: i64) -> PauseCause {
    let until = Timestamp::from_timestamp_millis(until).expect("a date");
    PauseCause::Asleep(Sleep { until, woken_after: None })
}

/// Clause 9, indexes follow records: what the sessions in each state hold is the sum of what their records say, also after a crash.
pub async fn what_sessions_hold_follows_their_records<P: Place>() {
    let (place, store) = opened::<P>().await;
    let held = async |store: &P::Store| store.held().await.expect("an answer");
    assert_eq!(held(&store).await, StateBytes::default());
    let counted = |record: &mut SessionRecord, events| {
        let steps = vec![(Turn { input: 1, interlude: 0 }, 7)];
        record.footprint = Some(Box::new(Footprint { events, steps, ..Footprint::default() }));
    };
    let mut first = record(1);
    counted(&mut first, 1_000);
    let first = put(&store, with_snapshot(first, 0, &noise(1, 300))).await;
    let second = put(&store, with_inputs(record(2), &[(None, b"one"), (None, b"three")])).await;
    let check = async |store: &P::Store, active: u64, paused: u64| {
        let held = held(store).await;
        let both = (held.of(State::Active), held.of(State::Paused));
        assert_eq!((both, held.total()), ((active, paused), active + paused));
    };
    check(&store, 1_307 + 8, 0).await;
    let store = reopened(&place, store, 1).await;
    check(&store, 1_307 + 8, 0).await;

    // In one batch: one moves and holds less, one is refused, and one is repeated.
    let moved = only(next(&second, |record| {
        record.phase = paused(PauseCause::Idle, 10, None);
        record.inbox.waiting_bytes = 5;
    }));
    let refused = only(next(&next(&first, |_| ()), |record| counted(record, 9_999)));
    let less = only(next(&first, |record| counted(record, 400)));
    let batch = batch(1, [moved.clone(), refused]);
    let answers = store.commit(batch.clone()).await.expect("a batch");
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1, "{answers:?}");
    store.commit(batch).await.expect("a batch");
    let first = put(&store, less).await;
    check(&store, 707, 5).await;
    let store = reopened(&place, store, 1).await;
    check(&store, 707, 5).await;

    // What was deleted holds nothing.
    let gone = next(&first, |record| {
        record.deleted = Some(Deleted { at: supervised(9), by: Removal::Asked, purged: false });
    });
    put(&store, only(gone)).await;
    check(&store, 0, 5).await;
    let store = reopened(&place, store, 1).await;
    check(&store, 0, 5).await;
}

/// Clause 9, indexes follow records: counters say how many sessions are in each state, also after a crash.
pub async fn counters_follow_their_records<P: Place>() {
    let (place, store) = opened::<P>().await;
    let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).expect("labels");
    let of_ada = [("user", "ada"), ("team", "red")];
    let write = async |number, phase, of_kind, pairs: &[(&str, &str)]| {
        let record =
            SessionRecord { phase, kind: kind(of_kind), labels: labels(pairs), ..record(number) };
        put(&store, only(record)).await
    };
    let first = write(1, active(1), "coder", &of_ada).await;
    let second = write(2, active(1), "coder2", &of_ada[..1]).await;
    let third = write(3, Phase::Stopped, "coder", &[]).await;
    let check = async |store: &P::Store, scope: Scope, states: &[State]| {
        let counts = store.count(scope.clone()).await.expect("counts");
        assert_eq!(counts, states.iter().copied().collect::<StateCounts>(), "{scope}");
        assert_eq!(counts.total(), states.len() as u64, "{scope}");
    };
    let coder = || Scope::Kind(kind("coder"));
    check(&store, Scope::All, &[State::Active, State::Active, State::Stopped]).await;
    check(&store, coder(), &[State::Active, State::Stopped]).await;
    check(&store, Scope::label("user", "ada"), &[State::Active, State::Active]).await;
    check(&store, Scope::label("team", "red"), &[State::Active]).await;
    check(&store, Scope::label("team", "re"), &[]).await;
    check(&store, Scope::Kind(kind("code")), &[]).await;

    // Within one batch, some refused, one repeated.
    let moved = only(next(&first, |record| record.phase = paused(PauseCause::Idle, 10, None)));
    let unmoved = with_inputs(next(&second, |_| ()), &[(None, b"one")]);
    let refused = only(next(&next(&third, |_| ()), |record| record.phase = active(1)));
    let done = store.commit(batch(1, [moved.clone(), unmoved, refused])).await.expect("a batch");
    assert_eq!(done.iter().filter(|answer| answer.is_ok()).count(), 2, "{done:?}");
    assert_eq!(store.commit(batch(1, [moved.clone()])).await.expect("a batch"), [Ok(())]);
    check(&store, Scope::All, &[State::Active, State::Paused, State::Stopped]).await;
    check(&store, coder(), &[State::Paused, State::Stopped]).await;
    check(&store, Scope::label("user", "ada"), &[State::Active, State::Paused]).await;

    let relabelled = next(&moved.record, |record| record.labels = labels(&[("team", "blue")]));
    put(&store, only(relabelled)).await;
    let gone = next(&third, |record| {
        record.deleted = Some(Deleted { at: supervised(9), by: Removal::Asked, purged: false });
    });
    put(&store, only(gone)).await;
    let store = reopened(&place, store, 2).await;
    check(&store, Scope::All, &[State::Active, State::Paused]).await;
    check(&store, coder(), &[State::Paused]).await;
    check(&store, Scope::label("user", "ada"), &[State::Active]).await;
    check(&store, Scope::label("team", "red"), &[]).await;
    check(&store, Scope::label("team", "blue"), &[State::Paused]).await;
}
