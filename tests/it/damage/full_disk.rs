//! A disk that is really full: callers are told, sessions keep what they hold and catch up, and
//! everything that was acknowledged is found afterwards.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sessionkeeper::{
    InputId, SendError, SessionError, SessionHandle, Start, State, Supervisor,
    store::{SledStore, StoreError},
};
use tokio::time::{Instant, sleep};

use super::place::{Mounted, skipped};
use crate::support::{Do, Done, Scripted};

const DISK: u64 = 64 << 20;
const SESSIONS: usize = 6;
const INPUTS: u64 = 60;

/// Fills a file system to the last byte.
fn fill(disk: &Path) {
    let number = fs::read_dir(disk).expect("a folder").count();
    let mut ballast = File::create(disk.join(format!("ballast-{number}"))).expect("a file");
    let mut block = vec![7; 1 << 20];
    while !block.is_empty() {
        if ballast.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

fn make_room(disk: &Path) {
    for entry in fs::read_dir(disk).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::remove_file(path).expect("removed");
        }
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Fills the disk until the store does not heal any more, its reserve included.
async fn fill_for_good(disk: &Path, supervisor: &Supervisor) {
    let mut degraded = 0;
    until("the store gives up", async || {
        fill(disk);
        let is_degraded = supervisor.health().store_error().is_some();
        degraded = if is_degraded { degraded + 1 } else { 0 };
        sleep(Duration::from_millis(20)).await;
        degraded > 40
    })
    .await;
}

async fn start(disk: &Path) -> Supervisor {
    let mut store = SledStore::open(disk.join("data"));
    until("the worker before has let go", async || {
        if let Err(StoreError::InUse { .. }) = store {
            store = SledStore::open(disk.join("data"));
        }
        !matches!(store, Err(StoreError::InUse { .. }))
    })
    .await;
    let store = store.expect("open");
    let builder = Supervisor::builder(store).workload(Scripted::default()).seed(7);
    let supervisor = builder.start().await.expect("a worker");
    let report = supervisor.recovered().await.expect("recovered");
    assert!(report.damaged.is_empty() && report.failed.is_empty(), "{report:?}");
    supervisor
}

/// Sessions with states that fill a disk.
async fn sessions(supervisor: &Supervisor) -> Vec<SessionHandle<Scripted>> {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let start = Start::<Scripted>::new(Done { sum: 0, seen: vec![7; 20_000] });
        sessions.push(supervisor.start(start).await.expect("started").into_handle());
    }
    sessions
}

/// Sends an input again and again until it is accepted. Gives how often the store refused it.
async fn insist(session: &SessionHandle<Scripted>, number: u64) -> u64 {
    let id = InputId::new(format!("input {number}")).expect("an id");
    let mut refused = 0;
    loop {
        match session.send_with_id(id.clone(), Do::Add(1)).await {
            Ok(receipt) => {
                assert_eq!(receipt.sequence, number);
                return refused;
            }
            Err(SendError::Session(SessionError::Store { source, .. })) => {
                assert!(matches!(*source, StoreError::Unavailable { .. }), "{source:?}");
                refused += 1;
            }
            // The session has not kept up, on a disk that is full.
            Err(SendError::Full { .. }) => {}
            Err(error) => panic!("not an error of the store: {error:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_on_a_disk_that_is_really_full_sessions_wait_and_catch_up() {
    const NAME: &str = "g2_on_a_disk_that_is_really_full_sessions_wait_and_catch_up";
    let disk = match Mounted::small(DISK) {
        Ok(disk) => disk,
        Err(why) => return skipped(NAME, &why),
    };
    let supervisor = start(disk.path()).await;
    let sessions = sessions(&supervisor).await;
    let accepted = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (session, accepted) = (session.clone(), Arc::clone(&accepted));
            tokio::spawn(async move {
                let mut refused = 0;
                for number in 1..=INPUTS {
                    refused += insist(&session, number).await;
                    accepted.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(20)).await;
                }
                refused
            })
        })
        .collect();
    until("all are at work", async || accepted.load(Ordering::SeqCst) > 30).await;
    fill_for_good(disk.path(), &supervisor).await;
    let health = supervisor.health();
    let error = health.store_error().expect("it was degraded for a second");
    assert!(error.to_string().contains("No space left"), "{error}");
    for session in &sessions {
        let status = session.status().await.expect("it is live");
        assert_eq!(status.state(), State::Active);
    }
    make_room(disk.path());
    until("it is well", async || supervisor.health().store_error().is_none()).await;
    let mut refused = 0;
    for caller in callers {
        refused += caller.await.expect("no panic");
    }
    assert!(refused > 0, "no caller noticed");
    for session in &sessions {
        until("all is worked off", async || {
            session.status().await.expect("live").record().inbox.waiting() == 0
        })
        .await;
        let status = session.status().await.expect("live");
        assert_eq!(status.record().runs.count, 1, "the disk's failure is not the session's");
    }
    supervisor.shutdown(Duration::from_secs(10)).await;

    let supervisor = start(disk.path()).await;
    for session in &sessions {
        let session = supervisor.session(session.id()).await.expect("there");
        let session: SessionHandle<Scripted> = session.typed().expect("of its kind");
        let done = session.snapshot().await.expect("a state").state;
        assert_eq!(done.sum, i64::try_from(INPUTS).expect("few"));
    }
    supervisor.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_a_worker_that_ends_on_a_full_disk_leaves_all_it_acknowledged() {
    const NAME: &str = "g2_a_worker_that_ends_on_a_full_disk_leaves_all_it_acknowledged";
    let disk = match Mounted::small(DISK) {
        Ok(disk) => disk,
        Err(why) => return skipped(NAME, &why),
    };
    for crashes in [true, false] {
        let supervisor = start(disk.path()).await;
        let sessions = sessions(&supervisor).await;
        for session in &sessions {
            for number in 1..=10 {
                insist(session, number).await;
            }
        }
        let filling = fill_for_good(disk.path(), &supervisor);
        let busy = async {
            for number in 11.. {
                insist(&sessions[0], number).await;
            }
        };
        // It notices that the disk is full only where it writes.
        tokio::select! {
            () = filling => {}
            () = busy => unreachable!("it has no end"),
        }
        let accepted = sessions[0].status().await.expect("live").record().inbox.accepted;
        if crashes {
            drop(supervisor);
        } else {
            supervisor.shutdown(Duration::from_secs(3)).await;
            drop(supervisor);
        }
        make_room(disk.path());
        let supervisor = start(disk.path()).await;
        for (place, session) in sessions.iter().enumerate() {
            let session = supervisor.session(session.id()).await.expect("there");
            let session: SessionHandle<Scripted> = session.typed().expect("of its kind");
            let least = if place == 0 { accepted } else { 10 };
            let found = session.status().await.expect("there").record().inbox.accepted;
            // What was under way may have arrived.
            assert!(found >= least && found <= least + 1, "{found} of {least}");
            until("all is worked off", async || {
                session.status().await.expect("live").record().inbox.waiting() == 0
            })
            .await;
            let done = session.snapshot().await.expect("a state").state;
            assert_eq!(done.sum, i64::try_from(found).expect("few"));
        }
        supervisor.shutdown(Duration::from_secs(10)).await;
    }
}

#[test]
fn a_reserve_does_not_take_the_last_room() {
    const NAME: &str = "a_reserve_does_not_take_the_last_room";
    // More than the reserve takes, and less than twice as much.
    let disk = match Mounted::small(9 << 20) {
        Ok(disk) => disk,
        Err(why) => return skipped(NAME, &why),
    };
    let store = SledStore::open(disk.path()).expect("there is room for a store");
    assert!(!disk.path().join("RESERVE").exists(), "there is no room for a reserve");
    drop(store);
}

#[tokio::test]
async fn a_full_disk_refuses_a_new_store_with_advice_and_harms_no_old_one() {
    const NAME: &str = "a_full_disk_refuses_a_new_store_with_advice_and_harms_no_old_one";
    let disk = match Mounted::small(DISK) {
        Ok(disk) => disk,
        Err(why) => return skipped(NAME, &why),
    };
    let supervisor = start(disk.path()).await;
    let session = sessions(&supervisor).await.remove(0);
    insist(&session, 1).await;
    supervisor.shutdown(Duration::from_secs(10)).await;
    drop(supervisor);
    fill(disk.path());
    let new = disk.path().join("new");
    let error = SledStore::open(&new).expect_err("there is no room");
    let text = error.to_string();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(text.contains(&new.display().to_string()), "{text}");
    assert!(text.contains("make room on the disk"), "{text}");
    match SledStore::open(disk.path().join("data")) {
        Ok(store) => drop(store),
        Err(error) => assert!(matches!(error, StoreError::Open { .. }), "{error:?}"),
    }
    make_room(disk.path());
    drop(SledStore::open(&new).expect("there is room"));
    let supervisor = start(disk.path()).await;
    assert!(supervisor.session(session.id()).await.is_ok());
    supervisor.shutdown(Duration::from_secs(10)).await;
}
