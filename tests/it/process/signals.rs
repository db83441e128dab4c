//! A worker that is told to end by a signal.

use std::{os::unix::process::ExitStatusExt, path::Path, process::ExitStatus, time::Duration};

use rustix::process::Signal;
use sessionkeeper::{Name, Start, State, Supervisor, store::SledStore};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    child::Mode,
    line::{Line, Phase, reached, say},
    parent::Child,
};
use crate::{
    guarantees::kit::{millis, secs},
    support::{Do, Done, Scripted},
};

/// It counts on its inputs, it waits, and it hears nothing.
const NAMES: [&str; 3] = ["counting", "idle", "deaf"];

fn spawn(folder: &TempDir, budget: Duration) -> Child {
    let mode = Mode::Serve { folder: folder.path().join("store"), budget };
    Child::spawn(&mode, &folder.path().join("stderr"))
}

/// Waits for an end that must not take the whole budget of a shutdown.
async fn ends_at_once(child: &mut Child) -> ExitStatus {
    timeout(secs(30), child.ended()).await.expect("a child that ends at once")
}

#[tokio::test]
async fn g10_a_signal_ends_a_worker_within_its_budget_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = spawn(&folder, secs(1));
        assert!(child.until_reached(Phase::Recovered).await);
        child.signal(signal);
        let ended = child.ended().await;
        assert!(ended.success(), "{signal:?}: {ended}, it came to {:?}", child.phase());
        let Some(Line::Report { lines, took }) = child.lines.last() else {
            panic!("{signal:?}: there is no report in {:?}", child.lines);
        };
        assert_eq!(*lines, NAMES.len(), "{signal:?}: one line for each session");
        // The budget, and some time to be put on a busy processor.
        assert!(*took < secs(5), "{signal:?}: it took {took:?}");
    }
    goes_on(&folder, 2).await;
}

#[tokio::test]
async fn g2_a_second_signal_ends_a_worker_at_once_and_the_next_one_goes_on() {
    for signal in [Signal::TERM, Signal::INT] {
        // It equals a crash, and after a second one the deaf session would be a suspect.
        let folder = tempfile::tempdir().unwrap();
        let mut child = spawn(&folder, secs(600));
        assert!(child.until_reached(Phase::Recovered).await);
        child.signal(Signal::TERM);
        assert!(child.until_reached(Phase::ShuttingDown).await);
        child.signal(signal);
        let ended = ends_at_once(&mut child).await;
        assert_eq!((ended.code(), ended.signal()), (Some(130), None), "{signal:?}");
        goes_on(&folder, 1).await;
    }
}

/// Another worker takes up what so many workers left.
async fn goes_on(folder: &TempDir, workers: i64) {
    let store = SledStore::open(folder.path().join("store")).unwrap();
    let supervisor =
        Supervisor::builder(store).workload(Scripted::default()).start().await.unwrap();
    let report = supervisor.recovered().await.unwrap();
    assert_eq!(report.resumed.len(), NAMES.len(), "{report:?}");
    for name in NAMES {
        let name = Name::new(name).unwrap();
        let found = supervisor.find(sessionkeeper::store::Key::Name(name.clone())).await.unwrap();
        let session = found.unwrap().typed::<Scripted>().unwrap();
        assert_eq!(session.status().await.unwrap().state(), State::Active, "{name}");
        if name.as_str() == "counting" {
            assert_eq!(crate::support::drained(&session).await.sum, workers);
        }
    }
}

/// The child: serves until it is told to end.
pub(crate) async fn serve(folder: &Path, budget: Duration) {
    let store = SledStore::open(folder).unwrap();
    let supervisor =
        Supervisor::builder(store).workload(Scripted::default()).start().await.unwrap();
    supervisor.recovered().await.unwrap();
    for name in NAMES {
        let key = sessionkeeper::store::Key::Name(Name::new(name).unwrap());
        let session = match supervisor.find(key).await.unwrap() {
            Some(session) => session.typed::<Scripted>().unwrap(),
            None => {
                let start = Start::<Scripted>::new(Done::default()).name(Name::new(name).unwrap());
                supervisor.start(start).await.unwrap().into_handle()
            }
        };
        match name {
            "counting" => drop(session.send(Do::Add(1)).await.unwrap()),
            "deaf" => drop(session.send(Do::Deaf(secs(3600))).await.unwrap()),
            _ => {}
        }
    }
    let ending = supervisor.run_until_signal(budget);
    let mut ending = std::pin::pin!(ending);
    // It listens from its first poll on.
    let early = timeout(millis(1), &mut ending).await;
    assert!(early.is_err(), "it waits for a signal");
    let watched = supervisor.clone();
    tokio::spawn(async move {
        while watched.slot().await.is_ok() {
            tokio::time::sleep(millis(1)).await;
        }
        reached(Phase::ShuttingDown);
    });
    reached(Phase::Recovered);
    let report = ending.await.unwrap();
    say(&Line::Report { lines: report.lines.len(), took: report.took });
}
