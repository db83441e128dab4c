//! A process that is stopped for longer than any limit, and goes on.

use std::{path::Path, time::Duration};

use rustix::process::Signal;
use sessionkeeper::{
    Limit, Name, Policy, SessionHandle, Start, State, Supervisor, store::SledStore,
};
use tokio::time::{sleep, timeout};

use super::{
    child::Mode,
    line::{Line, Phase, reached, say},
    parent::Child,
};
use crate::{
    guarantees::kit::{millis, secs},
    support::{Do, Done, Scripted, number},
};

/// For how many heartbeat timeouts the process is stopped.
const STOPPED: &str = "SESSIONKEEPER_STOPPED";

/// A gap counts for two seconds at the most; with less than that no session would outlive one.
const TIMEOUT: Duration = secs(5);

#[tokio::test]
async fn g6_a_process_that_was_stopped_expires_only_what_is_silent_when_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mode = Mode::Watch { folder: folder.path().join("store") };
    let mut child = Child::spawn(&mode, &folder.path().join("stderr"));
    assert!(child.until_reached(Phase::Recovered).await);
    child.signal(Signal::STOP);
    let stopped = TIMEOUT * u32::try_from(number(STOPPED).unwrap_or(1)).unwrap() + secs(1);
    sleep(stopped).await;
    // What it had said before it was stopped.
    while timeout(millis(100), child.next()).await.is_ok() {}
    child.signal(Signal::CONT);
    // It may have been stopped in the middle of a line; it looks every 100 ms.
    for _ in 0..3 {
        child.next().await;
    }

    let mut standing = Vec::new();
    let silent_has_expired = |line: &Line| match line {
        Line::Standing(now) => {
            standing.push(now.clone());
            state(now, "silent") == State::Expired
        }
        _ => false,
    };
    assert!(child.until(silent_has_expired).await, "{standing:?}");
    let expected = [
        ("beating", State::Active),
        ("busy", State::Active),
        ("idle", State::Active),
        ("paused", State::Paused),
    ];
    let (first, last) = (&standing[0], standing.last().unwrap());
    assert_eq!(state(first, "silent"), State::Active, "most of its silence was not its own");
    for (name, expected) in expected {
        assert_eq!(state(first, name), expected, "{name}, after {stopped:?}");
    }
    assert_eq!(state(last, "beating"), State::Active);
    // What nobody answers for expires in its time; this much of it has passed twice by now.
    let rest_has_expired = |line: &Line| match line {
        Line::Standing(now) => {
            assert_eq!(state(now, "beating"), State::Active);
            state(now, "paused") == State::Expired
        }
        _ => false,
    };
    assert!(child.until(rest_has_expired).await);
    child.kill().await;
}

fn state(standing: &[(String, State)], name: &str) -> State {
    standing.iter().find(|(of, _)| of == name).expect("every session is told about").1
}

/// The child: one session of each kind.
pub(crate) async fn watch(folder: &Path) {
    let policy = Policy::builder()
        .heartbeat_timeout(TIMEOUT)
        .paused_timeout(TIMEOUT)
        .idle_timeout(Limit::Never)
        .build()
        .unwrap();
    let store = SledStore::open(folder).unwrap();
    let builder = Supervisor::builder(store).workload(Scripted::default()).policy(policy);
    let supervisor = builder.start().await.unwrap();
    let long = secs(24 * 3600);
    let inputs = [
        ("beating", Some(Do::Beat { every: millis(100), times: u32::MAX })),
        ("busy", Some(Do::Busy { limit: TIMEOUT * 2, takes: long })),
        ("idle", None),
        ("paused", None),
        ("silent", Some(Do::Silent(long))),
    ];
    let mut sessions: Vec<(String, SessionHandle<Scripted>)> = Vec::new();
    for (name, input) in inputs {
        let start = Start::<Scripted>::new(Done::default()).name(Name::new(name).unwrap());
        let start = input.into_iter().fold(start, Start::input);
        let session = supervisor.start(start).await.unwrap().into_handle();
        if name == "paused" {
            session.pause().await.unwrap();
        }
        sessions.push((name.to_owned(), session));
    }
    reached(Phase::Recovered);
    loop {
        let mut standing = Vec::new();
        for (name, session) in &sessions {
            standing.push((name.clone(), session.status().await.unwrap().state()));
        }
        say(&Line::Standing(standing));
        sleep(millis(100)).await;
    }
}
