//! Programs whose worker is killed: nothing of them lives on unnoticed.

use std::{collections::BTreeSet, path::Path};

use sessionkeeper::{
    SessionId, Supervisor,
    process::{Launcher, ProcessState},
    store::SledStore,
};

use super::kit::{
    Handle, Worker, alive, gone, has_printed, marked, once, programs, started, state, told, trial,
    until,
};
use crate::process::{
    child::Mode,
    line::{Line, say},
    parent::Child,
};

/// What is left of each of them is something else: of the first a process of its group, of the second one
/// that has left it.
const TRIALS: [&str; 2] = ["deaf-child", "with-daemon"];

async fn worker(folder: &Path) -> Worker {
    let store = SledStore::open(folder).unwrap();
    let builder = Supervisor::builder(store).workload(programs()).policy(once());
    Worker { supervisor: builder.start().await.unwrap() }
}

/// The child.
pub(crate) async fn run_programs(folder: &Path) {
    let worker = worker(folder).await;
    let mut sessions = Vec::new();
    for what in TRIALS {
        let session = worker.trial(&[what]).await;
        has_printed(&session, "deaf").await;
        sessions.push(session.id());
    }
    say(&Line::Programs(sessions));
    std::future::pending().await
}

/// Which launches the living processes of a session belong to. `None` where the system does not tell.
fn launches(session: SessionId) -> Option<BTreeSet<String>> {
    let variables = marked(session)?.into_iter().flat_map(|(_, environment)| environment);
    Some(variables.filter(|one| one.starts_with("SESSIONKEEPER_LAUNCH=")).collect())
}

#[tokio::test]
async fn what_a_killed_worker_leaves_is_ended_before_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mode = Mode::RunPrograms { folder: store.clone() };
    let mut child = Child::spawn(&mode, &folder.path().join("stderr"));
    let is_running = |line: &Line| matches!(line, Line::Programs(_));
    assert!(child.until(is_running).await, "{:?}", child.lines);
    let Some(Line::Programs(sessions)) = child.lines.last().cloned() else { unreachable!() };
    let before: Vec<_> = sessions.iter().map(|session| launches(*session)).collect();
    child.kill().await;

    let worker = worker(&store).await;
    worker.supervisor.recovered().await.unwrap();
    for (id, before) in sessions.into_iter().zip(before) {
        let session: Handle = worker.supervisor.session(id).await.unwrap().typed().unwrap();
        until("it runs again", async || told(&session, "process_started").await.len() == 2).await;
        if let (Some(before), Some(now)) = (before, launches(id)) {
            assert_eq!(before.len(), 1, "{before:?}");
            // None, while the new program has only begun to be what it is to be.
            assert!(now.len() <= 1 && now.is_disjoint(&before), "{before:?} {now:?}");
        }
        assert_eq!(state(&session).await.starts, 2);
        session.stop().await.unwrap().ended().await.unwrap();
        gone(id);
    }
}

/// When a process began, as `/proc` says it.
#[cfg(target_os = "linux")]
fn began(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_that_got_a_number_anew_is_never_touched() {
    let worker = Worker::start().await;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let numbers = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let realm = format!("{} {}", boot.trim(), numbers.display());
    for (later, realm, is_touched) in
        [(1, &*realm, false), (0, "another", false), (0, &*realm, true)]
    {
        let mut other = tokio::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = other.id().unwrap();
        let spec = trial(&["say", "done"]).build().unwrap();
        let mut record = serde_json::to_value(ProcessState::from(spec)).unwrap();
        record["launch"] = serde_json::json!({
            "id": "an earlier one", "realm": realm, "process": { "pid": pid, "began": began(pid) + later }
        });
        let session = started(&worker, serde_json::from_value(record).unwrap()).await;
        super::kit::settled(&session).await;
        assert_eq!(other.try_wait().unwrap().is_some(), is_touched, "{later} {realm}");
        let _ = other.kill().await;
    }
}

/// Also those of sessions that do not go on: a worker that begins ends what others have left.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_launcher_ends_what_lost_workers_have_left() {
    let folder = tempfile::tempdir().unwrap();
    let mode = Mode::RunPrograms { folder: folder.path().join("store") };
    let mut child = Child::spawn(&mode, &folder.path().join("stderr"));
    assert!(child.until(|line| matches!(line, Line::Programs(_))).await, "{:?}", child.lines);
    let Some(Line::Programs(sessions)) = child.lines.last().cloned() else { unreachable!() };
    drop(Launcher::new().unwrap());
    for session in &sessions {
        assert_ne!(alive(*session), Some(Vec::new()), "what a living worker runs is not touched");
    }
    child.kill().await;
    drop(Launcher::new().unwrap());
    for session in sessions {
        until("they are dead", async || alive(session) == Some(Vec::new())).await;
    }
}
