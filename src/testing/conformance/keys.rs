//! Names, start keys, external ids and input ids: what is unique, and for how long.

use crate::{
    PauseCause, Phase, SessionRecord, StartRequest,
    store::{AcceptedInput, Key, Refusal, Store},
};

use crate::testing::{
    Place,
    fixture::{
        active, answer, input_id, next, only, opened, paused, pending, put, record, reopened,
        session, with_inputs, with_snapshot,
    },
};

/// Clause 8, unique: a name has one holder that has not ended.
pub async fn a_name_is_held_by_one_session_until_it_ends<P: Place>() {
    let (place, store) = opened::<P>().await;
    let named =
        |number| SessionRecord { name: Some("nightly".parse().expect("a name")), ..record(number) };
    let mut holder = put(&store, only(named(1))).await;
    let phases = [pending(0, None), paused(PauseCause::Asked, 0, None), Phase::Stopped, active(1)];
    for phase in phases {
        holder = put(&store, only(next(&holder, |record| record.phase = phase))).await;
        let refusal = Refusal::NameTaken { holder: session(1) };
        assert_eq!(answer(&store, only(named(2))).await, Err(refusal));
    }
    let store = reopened(&place, store, 1).await;
    put(&store, only(next(&holder, |record| record.phase = Phase::Failed))).await;
    put(&store, only(named(2))).await;
}

/// Clause 9, indexes follow records: a name is found at its holder, else at the newest that had it.
pub async fn a_name_is_found_at_its_holder_before_older_ones<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let name = || Some("nightly".parse().expect("a name"));
    let ended = |number| SessionRecord { name: name(), phase: Phase::Completed, ..record(number) };
    put(&store, only(ended(2))).await;
    put(&store, only(ended(3))).await;
    let found = async || {
        let key = Key::Name("nightly".parse().expect("a name"));
        store.find(key).await.expect("find")
    };
    assert_eq!(found().await, Some(session(3)));
    put(&store, only(SessionRecord { name: name(), ..record(1) })).await;
    assert_eq!(found().await, Some(session(1)));
    // A name is found as a whole, never by its beginning.
    let key = Key::Name("night".parse().expect("a name"));
    assert_eq!(store.find(key).await.expect("find"), None);
}

/// Clauses 8 and 9: a name goes with the record that bears it.
pub async fn a_name_that_is_given_up_is_free<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let name = || "nightly".parse().expect("a name");
    let holder = put(&store, only(SessionRecord { name: Some(name()), ..record(1) })).await;
    put(&store, only(next(&holder, |record| record.name = None))).await;
    assert_eq!(store.find(Key::Name(name())).await.expect("find"), None);
    put(&store, only(SessionRecord { name: Some(name()), ..record(2) })).await;
}

/// Clause 8, unique: a start key belongs to one session, also after that ended.
pub async fn a_start_key_is_taken_for_ever<P: Place>() {
    let (place, store) = opened::<P>().await;
    let key = || "order-17".parse().expect("a key");
    let start = |digest| Some(StartRequest { key: key(), digest });
    let first = put(&store, only(SessionRecord { start_key: start(77), ..record(1) })).await;
    put(&store, only(next(&first, |record| record.phase = Phase::Completed))).await;
    let store = reopened(&place, store, 1).await;
    let again = only(SessionRecord { start_key: start(78), ..record(2) });
    let refusal = Refusal::StartKeyTaken { holder: session(1), digest: 77 };
    assert_eq!(answer(&store, again).await, Err(refusal));
    assert_eq!(store.find(Key::Start(key())).await.expect("find"), Some(session(1)));
}

/// Clause 9, indexes follow records: of several with an external id, the newest is found.
pub async fn an_external_id_finds_the_newest<P: Place>() {
    let (_place, store) = opened::<P>().await;
    for number in [2, 3, 1] {
        let external_id = Some("agent-7".parse().expect("an id"));
        put(&store, only(SessionRecord { external_id, ..record(number) })).await;
    }
    let key = Key::ExternalId("agent-7".parse().expect("an id"));
    assert_eq!(store.find(key).await.expect("find"), Some(session(3)));
}

/// Clause 9, indexes follow records: what the record does not bear any more finds nothing.
pub async fn an_external_id_follows_its_record<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let id = |text: &str| text.parse().expect("an id");
    let first = SessionRecord { external_id: Some(id("old")), ..record(1) };
    let first = put(&store, only(first)).await;
    put(&store, only(next(&first, |record| record.external_id = Some(id("new"))))).await;
    assert_eq!(store.find(Key::ExternalId(id("old"))).await.expect("find"), None);
    let found = store.find(Key::ExternalId(id("new"))).await.expect("find");
    assert_eq!(found, Some(session(1)));
}

/// Clauses 7 and 8: an input id is known as long as its session.
pub async fn an_input_id_is_taken_also_after_the_input_is_gone<P: Place>() {
    let (place, store) = opened::<P>().await;
    let first = put(&store, with_inputs(record(1), &[(Some("a"), b"payload")])).await;
    let taken = Refusal::InputTaken {
        id: input_id("a"),
        sequence: 1,
        checksum: crc32fast::hash(b"payload"),
    };
    let again = with_inputs(next(&first, |_| ()), &[(Some("b"), b"x"), (Some("a"), b"y")]);
    assert_eq!(answer(&store, again).await, Err(taken.clone()));
    let covered = put(&store, with_snapshot(next(&first, |_| ()), 1, b"state")).await;
    assert_eq!(store.inputs(session(1), 0, 9).await.expect("inputs"), []);

    let store = reopened(&place, store, 1).await;
    let known = store.accepted(session(1), input_id("a")).await.expect("accepted");
    let checksum = crc32fast::hash(b"payload");
    assert_eq!(known, Some(AcceptedInput { sequence: 1, checksum }));
    assert_eq!(store.accepted(session(1), input_id("z")).await.expect("accepted"), None);
    assert_eq!(store.accepted(session(2), input_id("a")).await.expect("accepted"), None);
    let again = with_inputs(next(&covered, |_| ()), &[(Some("a"), b"payload")]);
    assert_eq!(answer(&store, again).await, Err(taken));
    let twins = with_inputs(next(&covered, |_| ()), &[(Some("c"), b"1"), (Some("c"), b"2")]);
    let twin =
        Refusal::InputTaken { id: input_id("c"), sequence: 2, checksum: crc32fast::hash(b"1") };
    assert_eq!(answer(&store, twins).await, Err(twin));
}

/// Clause 8, unique: sessions do not share input ids.
pub async fn an_input_id_is_unique_within_its_session_only<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, with_inputs(record(1), &[(Some("a"), b"x")])).await;
    put(&store, with_inputs(record(2), &[(Some("a"), b"x"), (Some("ab"), b"y")])).await;
}
