//! Starting sessions: ids, keys, names, kinds, and what is refused.

use serde_json::json;
use sessionkeeper::{
    Context, Json, Origin, Outcome, SendError, SessionError, SessionId, Start, StartError, State,
    Workload, WorkloadError,
    store::{Key, MemoryStore},
};

use super::{consistent, idle, input_id, key, kind, name, policy, soon, state, status};
use crate::support::{Do, Done, Scripted, Worker, drained};

/// A workload with types of its own: it joins words.
struct Joiner {
    with: &'static str,
}

impl Workload for Joiner {
    const KIND: &'static str = "joiner";
    const STATE_VERSION: u32 = 1;
    type State = String;
    type Input = String;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(word) = cx.next_input().await? {
            let with = self.with;
            cx.state_mut().push_str(&format!("{with}{}", *word));
        }
        Ok(Outcome::Yielded)
    }
}

fn an_id(number: u128) -> SessionId {
    format!("{number:032x}").parse().unwrap()
}

async fn start(worker: &Worker, start: Start<Scripted>) -> Result<(SessionId, Origin), StartError> {
    let started = soon(worker.supervisor.start(start)).await?;
    Ok((started.id(), started.origin()))
}

fn new() -> Start<Scripted> {
    Start::new(Done::default())
}

#[tokio::test(start_paused = true)]
async fn a_session_has_the_id_that_its_caller_chose() {
    let worker = Worker::start().await;
    let started = start(&worker, new().id(an_id(7))).await.unwrap();
    assert_eq!(started, (an_id(7), Origin::New));
    let session = worker.supervisor.session(an_id(7)).await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Active);
}

/// An id is refused whatever the session that has it is doing.
#[tokio::test(start_paused = true)]
async fn an_id_that_exists_is_refused_in_every_state() {
    for then in ["active", "paused", "stopped", "completed", "backoff"] {
        let worker = Worker::start().await;
        let session = worker.session_with(|start| start.id(an_id(7))).await;
        idle(&session).await;
        match then {
            "paused" => drop(session.pause().await.unwrap()),
            "stopped" => drop(session.stop().await.unwrap().ended().await.unwrap()),
            "completed" => session.complete().await.unwrap(),
            "backoff" => {
                session.send(Do::FailTimes(1)).await.unwrap();
                super::until(&session, |status| status.last_run().is_some()).await;
            }
            _ => {}
        }
        let refused = start(&worker, new().id(an_id(7))).await.unwrap_err();
        assert!(
            matches!(refused, StartError::Exists { session } if session == an_id(7)),
            "{then}: {refused:?}"
        );
        consistent(&session).await;
    }
}

/// A repeated start gives the session that it made, also to the next worker.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_repeated_with_its_key_gives_the_same_session() {
    let own_ids = [None, Some(an_id(9))];
    for own in own_ids {
        let request = || {
            let request = new().key(key("job-1")).input(Do::Add(5));
            match own {
                Some(id) => request.id(id),
                None => request,
            }
        };
        let worker = Worker::start().await;
        let (first, origin) = start(&worker, request()).await.unwrap();
        assert_eq!(origin, Origin::New);
        let repeated = start(&worker, request()).await.unwrap();
        assert_eq!(repeated, (first, Origin::Repeated), "own id: {own:?}");
        let worker = worker.crash_and_restart().await;
        let repeated = start(&worker, request()).await.unwrap();
        assert_eq!(repeated, (first, Origin::Repeated), "own id: {own:?}");
        let session = worker.supervisor.session(first).await.unwrap();
        let session = session.typed::<Scripted>().unwrap();
        assert_eq!(drained(&session).await.sum, 5, "its input counts once");
        session.complete().await.unwrap();
        let repeated = start(&worker, request()).await.unwrap();
        assert_eq!(repeated, (first, Origin::Repeated), "also when it has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_with_another_request_is_refused() {
    let other_policy = policy(|policy| policy.max_inputs(3_u32));
    type Change = Box<dyn Fn(Start<Scripted>) -> Start<Scripted>>;
    let changes: Vec<(&str, Change)> = vec![
        ("an input", Box::new(|start| start.input(Do::Add(1)))),
        ("an id", Box::new(|start| start.id(an_id(8)))),
        ("a name", Box::new(|start| start.name(name("other")))),
        ("an external id", Box::new(|start| start.external_id(super::external("x")))),
        ("labels", Box::new(|start| start.labels(super::labels(&[("a", "b")])))),
        ("a policy", Box::new(move |start| start.policy(other_policy.clone()))),
    ];
    for restarted in [false, true] {
        let mut worker = Worker::start().await;
        let (holder, _) = start(&worker, new().key(key("job"))).await.unwrap();
        if restarted {
            worker = worker.crash_and_restart().await;
        }
        for (what, change) in &changes {
            let refused = start(&worker, change(new().key(key("job")))).await;
            let refused = refused.unwrap_err();
            assert!(
                matches!(&refused, StartError::KeyReused { session, key: used }
                    if *session == holder && *used == key("job")),
                "{what}: {refused:?}"
            );
        }
        let state = Done { sum: 1, ..Done::default() };
        let refused = start(&worker, Start::new(state).key(key("job"))).await;
        assert!(matches!(refused, Err(StartError::KeyReused { .. })));
    }
}

/// One key, many callers at once: one session.
#[tokio::test(start_paused = true)]
async fn of_twenty_starts_with_one_key_one_makes_the_session() {
    let worker = Worker::start().await;
    let starts = (0..20).map(|_| start(&worker, new().key(key("job")).input(Do::Add(1))));
    let started = futures::future::join_all(starts).await;
    let started: Vec<_> = started.into_iter().map(Result::unwrap).collect();
    let new = started.iter().filter(|(_, origin)| *origin == Origin::New);
    assert_eq!(new.count(), 1);
    assert!(started.iter().all(|(id, _)| *id == started[0].0));
    let session = worker.supervisor.session(started[0].0).await.unwrap();
    assert_eq!(drained(&session.typed().unwrap()).await.sum, 1);
}

/// A repeat whose first answer was lost with the worker finds what the first one did.
#[tokio::test(start_paused = true)]
async fn an_id_with_another_key_is_refused() {
    let worker = Worker::start().await;
    let first = new().id(an_id(1)).key(key("a"));
    start(&worker, first).await.unwrap();
    for other in [new().id(an_id(1)), new().id(an_id(1)).key(key("b"))] {
        let refused = start(&worker, other).await;
        assert!(matches!(refused, Err(StartError::Exists { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_its_session_has_ended() {
    let worker = Worker::start().await;
    let named = || new().name(name("main"));
    let (holder, _) = start(&worker, named()).await.unwrap();
    let first = worker.supervisor.session(holder).await.unwrap();
    let taken = |refused: Result<_, StartError>| match refused {
        Err(StartError::NameTaken { name: taken, holder: by, .. }) => {
            assert_eq!((taken, by), (name("main"), holder));
        }
        other => panic!("{other:?}"),
    };
    taken(start(&worker, named()).await);
    first.pause().await.unwrap();
    taken(start(&worker, named()).await);
    first.stop().await.unwrap().ended().await.unwrap();
    taken(start(&worker, named()).await);
    first.complete().await.unwrap();
    let (second, _) = start(&worker, named()).await.unwrap();
    let found = worker.supervisor.find(Key::Name(name("main"))).await;
    assert_eq!(found.unwrap().unwrap().id(), second);
}

/// Nothing of a refused start is there.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_leaves_nothing() {
    let small = policy(|policy| policy.max_snapshot_bytes(100_u64).max_input_bytes(20_u64));
    let large = Done { sum: 0, seen: vec![1_000_000; 50] };
    let worker = Worker::start().await;
    start(&worker, new().name(name("taken"))).await.unwrap();
    let refused = [
        start(&worker, Start::new(large).id(an_id(1)).policy(small.clone())).await,
        start(&worker, new().id(an_id(2)).name(name("taken"))).await,
        start(&worker, new().id(an_id(3)).policy(small).input(Do::Spend(10_000_000_000))).await,
        start(&worker, new().id(an_id(4)).kind(kind("nobody"))).await,
    ];
    let refused: Vec<_> = refused.into_iter().map(Result::unwrap_err).collect();
    assert!(
        matches!(
            refused[0],
            StartError::SnapshotTooLarge { session, bytes, limit: 100 }
                if session == an_id(1) && bytes > 100
        ),
        "{refused:?}"
    );
    assert!(matches!(refused[1], StartError::NameTaken { .. }));
    assert!(matches!(refused[2], StartError::Input(SendError::TooLarge { limit: 20, .. })));
    assert!(
        matches!(&refused[3], StartError::NoWorkload { kind: none } if *none == kind("nobody"))
    );
    for number in 1..=4 {
        let missing = worker.supervisor.session(an_id(number)).await;
        assert!(matches!(missing, Err(SessionError::NotFound { .. })));
        let retried = start(&worker, new().id(an_id(number))).await;
        assert!(retried.is_ok(), "the id is still free");
    }
}

/// G1, G2: no crash can come between a session and its first input.
#[tokio::test(start_paused = true)]
async fn the_first_input_is_committed_with_the_start() {
    let worker = Worker::start().await;
    let request = new().id(an_id(1)).input(Do::Add(3)).input_id(input_id("first"));
    start(&worker, request).await.unwrap();
    let record = worker.supervisor.session(an_id(1)).await.unwrap();
    assert_eq!(record.status().await.unwrap().record().inbox.accepted, 1);
    let worker = worker.crash_and_restart().await;
    let session = worker.supervisor.session(an_id(1)).await.unwrap();
    let session = session.typed::<Scripted>().unwrap();
    let receipt = session.send_with_id(input_id("first"), Do::Add(3)).await;
    assert!(receipt.unwrap().repeated);
    assert_eq!(drained(&session).await.sum, 3);
}

#[tokio::test(start_paused = true)]
async fn several_kinds_with_their_own_types_live_in_one_worker() {
    let worker = Worker::start_with(|builder| {
        builder.workload(Joiner { with: "-" }).workload_as(kind("plus"), Joiner { with: "+" })
    })
    .await;
    let numbers = worker.session_with(|start| start.input(Do::Add(1))).await;
    let of = |name: Option<&str>| {
        let start = Start::<Joiner>::new("a".to_owned()).input("b".to_owned());
        match name {
            Some(name) => start.kind(kind(name)),
            None => start,
        }
    };
    let minus = worker.supervisor.start(of(None)).await.unwrap();
    let plus = worker.supervisor.start(of(Some("plus"))).await.unwrap();
    assert_eq!(idle(&minus).await.kind(), &kind("joiner"));
    assert_eq!(idle(&plus).await.kind(), &kind("plus"));
    assert_eq!(minus.snapshot().await.unwrap().state, "a-b");
    assert_eq!(plus.snapshot().await.unwrap().state, "a+b");
    assert_eq!(drained(&numbers).await.sum, 1);
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_another_type_is_refused() {
    let worker = Worker::start_with(|builder| builder.workload(Joiner { with: "-" })).await;
    let refused = start(&worker, new().kind(kind("joiner"))).await;
    assert!(
        matches!(refused, Err(StartError::WrongKind { kind: found }) if found == kind("joiner"))
    );
    let session = worker.session().await;
    let untyped = worker.supervisor.session(session.id()).await.unwrap();
    let refused = untyped.typed::<Joiner>().unwrap_err();
    assert!(matches!(refused, SessionError::WrongKind { session: id, found }
        if id == session.id() && found == kind("scripted")));
}

/// A kind that no workload serves any more: its sessions can be looked at and ended, not run.
#[tokio::test(start_paused = true)]
async fn a_session_of_an_unknown_kind_can_be_ended_and_not_run() {
    let store = MemoryStore::new();
    let set = |builder: sessionkeeper::Builder| builder.workload(Joiner { with: "-" });
    let worker = Worker::on(store.clone(), Scripted::default(), set).await;
    let session = worker.supervisor.start(Start::<Joiner>::new(String::new())).await;
    let id = session.unwrap().id();
    drop(worker);
    let worker = Worker::on(store, Scripted::default(), |builder| builder).await;
    let report = worker.supervisor.recovered().await.unwrap();
    assert_eq!(report.unregistered, [(id, kind("joiner"))]);
    let session = worker.supervisor.session(id).await.unwrap();
    let refused = session.send_json(&json!("word")).await.unwrap_err();
    assert!(matches!(refused, SendError::Session(SessionError::NoWorkload { .. })));
    session.pause().await.unwrap();
    let refused = session.resume().await.unwrap_err();
    assert!(matches!(refused, SessionError::NoWorkload { .. }), "{refused:?}");
    session.complete().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Completed);
}

#[tokio::test(start_paused = true)]
async fn json_starts_a_session_as_types_do() {
    let worker = Worker::start().await;
    let start = Start::<Json>::json(kind("scripted"), &json!({"sum": 40, "seen": []}))
        .key(key("json"))
        .input_json(&json!({"Add": 2}));
    let (session, origin) = worker.supervisor.start_json(start).await.unwrap();
    assert_eq!(origin, Origin::New);
    let typed = session.clone().typed::<Scripted>().unwrap();
    assert_eq!(drained(&typed).await.sum, 42);
    session.send_json(&json!({"Add": 1})).await.unwrap();
    drained(&typed).await;
    let state = session.snapshot_json().await.unwrap().state;
    assert_eq!(state, json!({"sum": 43, "seen": [1, 2]}));
    assert_eq!(status(&typed).await.record().inbox.accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn json_of_another_shape_is_refused_and_leaves_nothing() {
    let worker = Worker::start().await;
    let good = json!({"sum": 0, "seen": []});
    for bad in [json!(null), json!(3), json!([]), json!({"sum": "x", "seen": []})] {
        let start = Start::<Json>::json(kind("scripted"), &bad).id(an_id(1));
        let refused = soon(worker.supervisor.start_json(start)).await.unwrap_err();
        assert!(
            matches!(refused, StartError::Invalid { session, .. } if session == an_id(1)),
            "{bad}: {refused:?}"
        );
    }
    for bad in [json!(null), json!("Explode"), json!({"Add": "x"}), json!({})] {
        let start = Start::<Json>::json(kind("scripted"), &good).id(an_id(1));
        let refused = worker.supervisor.start_json(start.input_json(&bad)).await;
        assert!(matches!(refused, Err(StartError::Input(SendError::Invalid { .. }))), "{bad}");
    }
    let unknown = Start::<Json>::json(kind("nobody"), &good);
    let refused = worker.supervisor.start_json(unknown).await;
    assert!(matches!(refused, Err(StartError::NoWorkload { .. })));
    let missing = worker.supervisor.session(an_id(1)).await;
    assert!(matches!(missing, Err(SessionError::NotFound { .. })));

    let session = worker.session().await;
    for bad in [json!(null), json!("Explode"), json!({"Add": "x"})] {
        let refused = session.send_json(&bad).await.unwrap_err();
        assert!(matches!(refused, SendError::Invalid { .. }), "{bad}");
    }
    assert_eq!(status(&session).await.record().inbox.accepted, 0);
    assert_eq!(state(&session).await, State::Active);
}
