//! An input that kills the process: the workers that follow find out which session has it, leave
//! it alone, and run the others.

use std::path::{Path, PathBuf};

use sessionkeeper::{
    Context, Outcome, PauseCause, SessionId, Start, Supervisor, Workload, WorkloadError,
    store::SledStore,
};
use uuid::Uuid;

use super::{child, is_child};
use crate::guarantees::kit::{millis, secs};

const FOLDER: &str = "SESSIONKEEPER_TEST_FOLDER";
/// The number of the session whose input is poison.
const POISONED: u128 = 3;
const SESSIONS: u128 = 6;
const POISON: u64 = 666;

/// Adds its inputs; one of them it does not survive.
struct Eater;

impl Workload for Eater {
    const KIND: &'static str = "eater";
    const STATE_VERSION: u32 = 1;
    type State = u64;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            if *number == POISON {
                std::process::abort();
            }
            *cx.state_mut() += *number;
        }
        Ok(Outcome::Yielded)
    }
}

fn id(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

async fn worker(folder: &Path) -> Supervisor {
    let store = SledStore::open(folder.join("store")).unwrap();
    Supervisor::builder(store).workload(Eater).start().await.unwrap()
}

/// One worker. The first makes the sessions; all of them wait for the poison, or for its
/// quarantine.
#[tokio::test]
#[ignore = "executed by an_input_that_kills_its_worker_is_quarantined, in a process of its own"]
async fn child_that_is_a_worker() {
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) if is_child() => PathBuf::from(folder),
        _ => return,
    };
    let supervisor = worker(&folder).await;
    supervisor.recovered().await.unwrap();
    if supervisor.session(id(1)).await.is_err() {
        for number in 1..=SESSIONS {
            let start = Start::<Eater>::new(0).id(id(number)).input(1);
            supervisor.start(start).await.unwrap();
        }
        supervisor.session(id(POISONED)).await.unwrap().send_json(&POISON.into()).await.unwrap();
    }
    for _ in 0..3_000 {
        let status = supervisor.status(id(POISONED)).await.unwrap();
        if status.pause_cause() == Some(PauseCause::Quarantined) {
            supervisor.shutdown(secs(10)).await;
            return;
        }
        tokio::time::sleep(millis(10)).await;
    }
    panic!("neither killed nor quarantined");
}

#[tokio::test]
async fn an_input_that_kills_its_worker_is_quarantined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut killed = 0;
    loop {
        let worker = child("hostile::poison::child_that_is_a_worker", &[(FOLDER, path)]);
        let output = worker.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            assert!(said.contains("1 passed"), "{said}");
            break;
        }
        assert!(!said.contains("FAILED"), "{said}");
        killed += 1;
        assert!(killed < 10, "the session is never found out");
    }
    // The worker that first had it, and the three that took it up again.
    assert_eq!(killed, 4, "workers that it took with it");

    let supervisor = worker(folder.path()).await;
    supervisor.recovered().await.unwrap();
    for number in 1..=SESSIONS {
        let session = supervisor.session(id(number)).await.unwrap().typed::<Eater>().unwrap();
        if number == POISONED {
            let cause = session.status().await.unwrap().pause_cause();
            assert_eq!(cause, Some(PauseCause::Quarantined));
            continue;
        }
        session.send(10).await.unwrap();
        while session.status().await.unwrap().record().inbox.waiting() > 0 {
            tokio::time::sleep(millis(1)).await;
        }
        assert_eq!(session.snapshot().await.unwrap().state, 11, "session {number}");
    }
    supervisor.shutdown(secs(10)).await;
}
