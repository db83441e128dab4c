//! What cannot be: settings, ids, types and sizes that are refused, and that leave nothing behind.

use std::time::Duration;

use sessionkeeper::{
    Backoff, BuildError, Context, InputId, InvalidName, Kind, Labels, Limit, Name, Outcome, Policy,
    PolicyBuilder, RestartPolicy, RunEnd, SendError, Settled, StartKey, State, Supervisor,
    Workload, WorkloadError, store::MemoryStore,
};

use super::{MINUTE, SECOND, consistent, ends, idle, kind, policy, soon, state, status, until};
use crate::support::{Do, Scripted, Worker, drained};

const CENTURIES: Duration = Duration::from_secs(1 << 40);

/// Each setting with a value that it cannot have.
#[test]
fn a_policy_refuses_what_it_cannot_use_and_names_it() {
    let restart = |set: fn(&mut RestartPolicy)| {
        let mut restart = RestartPolicy::default();
        set(&mut restart);
        restart
    };
    let backoff = |set: fn(&mut Backoff)| {
        let mut backoff = Backoff::default();
        set(&mut backoff);
        RestartPolicy { backoff, ..RestartPolicy::default() }
    };
    let bad: Vec<(&str, PolicyBuilder)> = vec![
        ("heartbeat_timeout", Policy::builder().heartbeat_timeout(Duration::ZERO)),
        ("heartbeat_timeout", Policy::builder().heartbeat_timeout(CENTURIES)),
        ("idle_timeout", Policy::builder().idle_timeout(Duration::from_micros(999))),
        ("idle_timeout", Policy::builder().idle_timeout(Duration::MAX)),
        ("paused_timeout", Policy::builder().paused_timeout(Duration::ZERO)),
        ("pending_timeout", Policy::builder().pending_timeout(Duration::ZERO)),
        ("pause_grace", Policy::builder().pause_grace(CENTURIES)),
        ("stop_grace", Policy::builder().stop_grace(Duration::MAX)),
        ("cancel_grace", Policy::builder().cancel_grace(CENTURIES)),
        ("cancel_grace", Policy::builder().cancel_grace(Duration::from_millis(9))),
        ("max_inputs", Policy::builder().max_inputs(0_u32)),
        ("max_input_bytes", Policy::builder().max_input_bytes(0_u64)),
        ("max_snapshot_bytes", Policy::builder().max_snapshot_bytes(0_u64)),
        ("max_snapshot_bytes", Policy::builder().max_snapshot_bytes(u64::MAX)),
        ("restart.within", Policy::builder().restart(restart(|r| r.within = Duration::ZERO))),
        ("restart.backoff.max", Policy::builder().restart(backoff(|b| b.max = CENTURIES))),
        (
            "restart.backoff.initial",
            Policy::builder().restart(backoff(|b| b.initial = b.max + SECOND)),
        ),
        ("restart.backoff.factor", Policy::builder().restart(backoff(|b| b.factor = f64::NAN))),
        ("restart.backoff.factor", Policy::builder().restart(backoff(|b| b.factor = 0.5))),
        ("restart.backoff.jitter", Policy::builder().restart(backoff(|b| b.jitter = 1.5))),
    ];
    for (setting, builder) in bad {
        let error = builder.build().unwrap_err();
        assert_eq!(error.setting(), setting);
        assert!(error.to_string().contains(setting), "{error}");
    }
    let never = Policy::builder().heartbeat_timeout(Limit::Never).build();
    assert!(never.is_ok());
}

#[test]
fn a_duration_that_nobody_can_read_is_refused_with_what_it_should_look_like() {
    for bad in ["", "30", "x", "-5s", "30 parsecs", "99999999999999999999h"] {
        let json = serde_json::json!({ "idle_timeout": bad }).to_string();
        let error = serde_json::from_str::<Policy>(&json).unwrap_err().to_string();
        assert!(error.contains("invalid duration") && error.contains("30m"), "{error}");
    }
    let error = serde_json::from_str::<Policy>(r#"{"idle_time": "3s"}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field"), "{error}");
}

#[test]
fn a_name_is_not_empty_not_too_long_and_has_no_control_characters() {
    fn check<T: std::fmt::Debug>(max: usize, new: impl Fn(String) -> Result<T, InvalidName>) {
        for bad in ["", "a\nb", "\0", "x\u{7f}"] {
            assert!(new(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(new("x".repeat(max + 1)).is_err());
        assert!(new("x".repeat(max)).is_ok());
        assert!(new("ø 日本/:#".to_owned()).is_ok());
    }
    check(Kind::MAX_LEN, Kind::new);
    check(Name::MAX_LEN, Name::new);
    check(StartKey::MAX_LEN, StartKey::new);
    check(InputId::MAX_LEN, InputId::new);
    let nine: Vec<_> = (0..9).map(|n| (format!("k{n}"), "v")).collect();
    assert!(Labels::new(nine).is_err());
    assert!(Labels::new([("", "v")]).is_err());
    assert!(Labels::new([("k", "x".repeat(257))]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_is_not_built_with_what_it_cannot_use() {
    struct Nameless;
    impl Workload for Nameless {
        const KIND: &'static str = "";
        const STATE_VERSION: u32 = 1;
        type State = ();
        type Input = ();
        async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
            Ok(Outcome::Yielded)
        }
    }
    let builder = || Supervisor::builder(MemoryStore::new());
    let invalid = |error: BuildError, name: &str| {
        let BuildError::Invalid { setting, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(setting, name);
    };
    invalid(builder().max_active(0).start().await.unwrap_err(), "max_active");
    invalid(builder().resume_at_once(0).start().await.unwrap_err(), "resume_at_once");
    let twice = builder().workload(Scripted::default()).workload(Scripted::default());
    let twice = twice.start().await.unwrap_err();
    assert!(
        matches!(&twice, BuildError::DuplicateKind { kind: both } if *both == kind("scripted")),
        "{twice:?}"
    );
    let nameless = builder().workload(Nameless).start().await.unwrap_err();
    assert!(matches!(nameless, BuildError::Kind(_)), "{nameless:?}");
    let most = builder().max_active(usize::MAX).start().await;
    assert!(most.is_ok(), "no limit is a limit too");
}

/// What is at the edge of a setting works.
#[tokio::test(start_paused = true)]
async fn the_smallest_settings_work() {
    let policy = policy(|policy| {
        policy
            .pause_grace(Duration::ZERO)
            .stop_grace(Duration::ZERO)
            .cancel_grace(Duration::from_millis(10))
            .max_inputs(1_u32)
            .heartbeat_timeout(Duration::from_millis(1))
            .idle_timeout(Limit::Never)
    });
    let worker =
        Worker::start_with(|builder| builder.policy(policy).max_active(1).resume_at_once(1)).await;
    let session = worker.session().await;
    for _ in 0..3 {
        session.send(Do::Add(1)).await.unwrap();
        drained(&session).await;
    }
    soon(session.pause()).await.unwrap();
    session.send(Do::Add(1)).await.unwrap();
    let full = session.send(Do::Add(1)).await;
    assert!(matches!(full, Err(SendError::Full { inputs: 1, .. })));
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, 4);
    soon(session.stop().await.unwrap().ended()).await.unwrap();
    assert_eq!(state(&session).await, State::Stopped);
    consistent(&session).await;
}

/// An inbox takes as many bytes as it is said to, and not one more.
#[tokio::test(start_paused = true)]
async fn an_inbox_can_be_filled_to_its_last_byte() {
    let weight = |what: &Do| serde_json::to_vec(what).unwrap().len() as u64;
    let [one, two] = [Do::Add(1), Do::Add(22)];
    for (limit, fits) in [(weight(&one) + weight(&two), true), (2 * weight(&two) - 2, false)] {
        let worker = Worker::with_policy(policy(|p| p.max_input_bytes(limit))).await;
        let session = worker.session().await;
        session.pause().await.unwrap();
        session.send(one.clone()).await.unwrap();
        let second = session.send(two.clone()).await;
        assert_eq!(second.is_ok(), fits, "{second:?}");
        let last = session.send(one.clone()).await;
        assert_eq!(last.is_ok(), !fits, "{last:?}");
    }
    for (limit, fits) in [(weight(&two), true), (weight(&two) - 1, false)] {
        let worker = Worker::with_policy(policy(|p| p.max_input_bytes(limit))).await;
        let session = worker.session().await;
        let sent = session.send(two.clone()).await;
        match sent {
            Ok(_) => assert!(fits),
            Err(SendError::TooLarge { bytes, limit: told, .. }) => {
                assert!(!fits);
                assert_eq!((bytes, told), (weight(&two), limit));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// G4: a state that is too large is not kept, not even a part of what came with it.
#[tokio::test(start_paused = true)]
async fn a_state_that_grew_too_large_is_refused_and_nothing_is_half_done() {
    let small = policy(|policy| policy.max_snapshot_bytes(1000_u64));
    let worker = Worker::with_policy(small).await;
    let session = worker.session_with(|start| start.input(Do::Add(3))).await;
    drained(&session).await;
    session.send(Do::Grow(4000)).await.unwrap();
    session.send(Do::Add(4)).await.unwrap();
    let settled = soon(session.settled()).await.unwrap();
    assert!(matches!(settled, Settled::Quarantined(_)), "it is the same each time: {settled:?}");
    let after = session.snapshot().await.unwrap();
    assert_eq!((after.state.sum, after.state.seen), (3, vec![1]));
    assert_eq!(after.at.consumed, 1);
    let record = std::sync::Arc::clone(settled.status().record());
    assert_eq!((record.inbox.consumed, record.inbox.accepted), (1, 3));
    for end in ends(&session).await {
        let RunEnd::Failed { error } = end else { panic!("{end:?}") };
        assert!(error.contains("max_snapshot_bytes") && error.contains("1000"), "{error}");
    }
    consistent(&session).await;
}

/// An input that a new version of the workload cannot read is this session's trouble alone.
#[tokio::test(start_paused = true)]
async fn an_input_that_cannot_be_decoded_is_kept_and_harms_nobody_else() {
    #[derive(Clone, Default)]
    struct Stricter;
    impl Workload for Stricter {
        const KIND: &'static str = "scripted";
        const STATE_VERSION: u32 = 1;
        type State = serde_json::Value;
        type Input = u64;
        async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
            while cx.next_input().await?.is_some() {}
            Ok(Outcome::Yielded)
        }
    }
    let worker = Worker::start().await;
    let session = worker.session().await;
    let other = worker.session().await;
    for session in [&session, &other] {
        idle(session).await;
        session.pause().await.unwrap();
    }
    session.send(Do::Add(1)).await.unwrap();
    let (id, other) = (session.id(), other.id());
    let store = worker.store.clone();
    drop((worker, session));
    let supervisor = Supervisor::builder(store).workload(Stricter).start().await.unwrap();
    let session = supervisor.session(id).await.unwrap().typed::<Stricter>().unwrap();
    session.resume().await.unwrap();
    let settled = soon(session.settled()).await.unwrap();
    assert!(matches!(settled, Settled::Quarantined(_)), "{settled:?}");
    assert_eq!(settled.status().record().inbox.waiting(), 1, "it is kept");
    let RunEnd::Failed { error } = &settled.status().last_run().unwrap().end else {
        panic!("{settled:?}");
    };
    assert!(error.contains("input 1 cannot be decoded"), "{error}");
    let other = supervisor.session(other).await.unwrap().typed::<Stricter>().unwrap();
    other.resume().await.unwrap();
    other.send(5).await.unwrap();
    idle(&other).await;
    consistent(&session).await;
}

/// A state and an input that have no JSON are refused where they are given.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_encoded_is_refused() {
    use std::collections::BTreeMap;
    struct Odd;
    impl Workload for Odd {
        const KIND: &'static str = "odd";
        const STATE_VERSION: u32 = 1;
        type State = BTreeMap<(u8, u8), u8>;
        type Input = BTreeMap<(u8, u8), u8>;
        async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
            while let Some(input) = cx.next_input().await? {
                *cx.state_mut() = input.into_inner();
                // A key that is a pair has no JSON.
                cx.state_mut().insert((1, 1), 1);
            }
            Ok(Outcome::Yielded)
        }
    }
    let supervisor =
        Supervisor::builder(MemoryStore::new()).workload(Odd).seed(7).start().await.unwrap();
    let bad = || BTreeMap::from([((1, 2), 3)]);
    let refused = supervisor.start(sessionkeeper::Start::<Odd>::new(bad())).await.unwrap_err();
    assert!(matches!(refused, sessionkeeper::StartError::Invalid { .. }), "{refused:?}");
    let good = sessionkeeper::Start::<Odd>::new(BTreeMap::new());
    let refused = supervisor.start(good.input(bad())).await.unwrap_err();
    assert!(matches!(refused, sessionkeeper::StartError::Input(SendError::Invalid { .. })));
    let start = sessionkeeper::Start::<Odd>::new(BTreeMap::new());
    let session = supervisor.start(start).await.unwrap();
    let refused = session.send(bad()).await.unwrap_err();
    assert!(matches!(refused, SendError::Invalid { .. }));
    assert_eq!(status(&session).await.record().inbox.accepted, 0);
    session.send(BTreeMap::new()).await.unwrap();
    let settled = soon(session.settled()).await.unwrap();
    assert!(matches!(settled, Settled::Quarantined(_)), "{settled:?}");
    assert_eq!(session.snapshot().await.unwrap().state, BTreeMap::new());
}

/// Free JSON that could be stored and never be read again is refused, and what is just not too
/// deep is read by the next worker.
#[tokio::test]
async fn free_json_that_is_nested_too_deep_is_refused() {
    use sessionkeeper::{
        EmitError, Event, Fact, MAX_NESTING, Metadata, SessionError, Start, StartError,
        store::SledStore,
    };
    struct Deep;
    impl Workload for Deep {
        const KIND: &'static str = "deep";
        const STATE_VERSION: u32 = 1;
        type State = bool;
        type Input = ();
        async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
            while cx.next_input().await?.is_some() {
                cx.emit(Event::custom("deep", nested(MAX_NESTING))).await?;
                let refused = cx.emit(Event::custom("deeper", nested(MAX_NESTING + 1))).await;
                *cx.state_mut() = matches!(refused, Err(EmitError::TooDeep { .. }));
            }
            Ok(Outcome::Yielded)
        }
    }
    fn nested(levels: usize) -> serde_json::Value {
        (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]))
    }
    let metadata = |levels| Metadata::from_iter([("deep".to_owned(), nested(levels - 1))]);
    let (deep, deeper) = (metadata(MAX_NESTING), metadata(MAX_NESTING + 1));

    let folder = tempfile::TempDir::new().unwrap();
    let worker = async || {
        let store = SledStore::open(folder.path()).unwrap();
        Supervisor::builder(store).workload(Deep).start().await.unwrap()
    };
    let supervisor = worker().await;
    let start = Start::<Deep>::new(false);
    let refused = supervisor.start(start.metadata(deeper.clone())).await.unwrap_err();
    let StartError::Session(SessionError::MetadataTooDeep { .. }) = refused else {
        panic!("{refused:?}");
    };
    let session = supervisor.start(Start::<Deep>::new(false).input(())).await.unwrap();
    session.set_metadata(deep.clone()).await.unwrap();
    let refused = session.set_metadata(deeper).await.unwrap_err();
    assert!(matches!(refused, SessionError::MetadataTooDeep { .. }), "{refused:?}");
    let worked = until(&session, |status| status.record().inbox.waiting() == 0);
    tokio::time::timeout(MINUTE, worked).await.unwrap();
    let id = session.id();
    supervisor.shutdown(MINUTE).await;
    drop((session, supervisor));

    let supervisor = worker().await;
    let session = supervisor.session(id).await.unwrap().typed::<Deep>().unwrap();
    assert!(session.snapshot().await.unwrap().state, "the deeper event was refused");
    assert_eq!(status(&session).await.record().metadata, deep);
    let events = session.events(1..=u64::MAX, 100).await.unwrap();
    let kept =
        |fact: &Fact| matches!(fact, Fact::Work(Event::Custom { name, .. }) if name == "deep");
    assert_eq!(events.iter().filter(|event| kept(&event.fact)).count(), 1);
}

/// A handle is no use once its worker has ended, and says so at once.
#[tokio::test(start_paused = true)]
async fn a_handle_of_a_worker_that_ended_says_so() {
    use sessionkeeper::SessionError::ShuttingDown;
    for gone in ["shut down", "dropped"] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        idle(&session).await;
        if gone == "shut down" {
            worker.supervisor.shutdown(MINUTE).await;
            let start = sessionkeeper::Start::<Scripted>::new(crate::support::Done::default());
            let refused = soon(worker.supervisor.start(start)).await.unwrap_err();
            assert!(matches!(refused, sessionkeeper::StartError::Session(ShuttingDown { .. })));
            assert!(soon(worker.supervisor.slot()).await.is_err());
        }
        drop(worker);
        let sent = soon(session.send(Do::Add(1))).await.unwrap_err();
        assert!(matches!(sent, SendError::Session(ShuttingDown { .. })), "{gone}: {sent:?}");
        assert!(matches!(soon(session.pause()).await, Err(ShuttingDown { .. })));
        assert!(matches!(soon(session.resume()).await, Err(ShuttingDown { .. })));
        assert!(matches!(soon(session.stop()).await, Err(ShuttingDown { .. })));
        assert!(matches!(soon(session.complete()).await, Err(ShuttingDown { .. })));
        assert!(session.heartbeat().is_err());
        assert!(soon(session.status()).await.is_err(), "the store is not open");
    }
}

/// A wait that has no end in sight does not keep the worker from ending.
#[tokio::test(start_paused = true)]
async fn a_failing_session_of_bad_input_is_counted_once_for_each_run() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::FailTimes(2))).await;
    until(&session, |status| status.record().inbox.waiting() == 0).await;
    let record = std::sync::Arc::clone(status(&session).await.record());
    assert_eq!((record.runs.count, record.runs.restarts), (3, 2));
    assert_eq!(record.failures.in_a_row, 2);
    assert_eq!(record.failures.without_checkpoint, 0, "the checkpoint clears it");
    assert_eq!(ends(&session).await.len(), 2);
}
