//! What a worker leaves in its process when it is gone: nothing.

use std::{fs, path::Path};

use sessionkeeper::{Name, Start, Supervisor, store::SledStore};
use tokio::time::Instant;

use super::{
    child::Mode,
    line::{Line, say},
    parent::Child,
};
use crate::{
    guarantees::kit::{millis, secs},
    support::{BUDGET, Do, Done, Scripted, drained},
};

/// How many workers come and go. What only the first of them needs, such as the threads that a
/// runtime or sled keeps for the next one, is there from then on.
const WORKERS: usize = 8;

#[tokio::test]
async fn workers_that_come_and_go_leave_no_thread_and_no_file_open() {
    if !Path::new("/proc/self/fd").exists() {
        return eprintln!("skipped: process::left_over: this system does not tell what is open");
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = Mode::ComeAndGo { folder: folder.path().join("store") };
    let mut child = Child::spawn(&mode, &folder.path().join("stderr"));
    assert!(child.ended().await.success(), "{:?}", child.lines);
    let Some(Line::LeftOver { first, last }) = child.lines.last() else {
        panic!("it did not come to its end: {:?}", child.lines);
    };
    assert!(is_within(*last, *first), "threads and open files: {first:?}, in the end {last:?}");
}

/// Threads and open files of this process.
pub(crate) fn held() -> (usize, usize) {
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

pub(crate) fn is_within(held: (usize, usize), limit: (usize, usize)) -> bool {
    held.0 <= limit.0 && held.1 <= limit.1
}

/// The child: workers one after the other, which are shut down or dropped.
pub(crate) async fn come_and_go(folder: &Path) {
    let mut first = None;
    for number in 0..=WORKERS {
        let store = SledStore::open(folder).unwrap();
        let builder = Supervisor::builder(store).workload(Scripted::default());
        let supervisor = builder.start().await.unwrap();
        for name in 0..3 {
            let name = Name::new(format!("{number}-{name}")).unwrap();
            let start = Start::<Scripted>::new(Done::default()).name(name).input(Do::Emit(2));
            let session = supervisor.start(start).await.unwrap().into_handle();
            drained(&session).await;
        }
        if number % 2 == 0 {
            supervisor.shutdown(BUDGET).await;
        }
        drop(supervisor);
        // Threads need a moment to be gone.
        let began = Instant::now();
        while first.is_some_and(|first| !is_within(held(), first)) && began.elapsed() < secs(20) {
            tokio::time::sleep(millis(10)).await;
        }
        if number == 1 {
            // One was shut down and one was dropped: from here on nothing is new.
            tokio::time::sleep(secs(1)).await;
            first = Some(held());
        } else if let Some(first) = first.filter(|_| number == WORKERS) {
            say(&Line::LeftOver { first, last: held() });
        }
    }
}
