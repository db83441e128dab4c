//! Programs that come and go leave nothing in their worker.

use std::fs;

use super::kit::{Worker, settled};
use crate::process::{
    child::Mode,
    left_over::{held, is_within},
    line::{Line, say},
    parent::Child,
};

#[tokio::test]
async fn a_thousand_programs_leave_no_thread_no_file_and_no_zombie() {
    if !std::path::Path::new("/proc/self/fd").exists() {
        return eprintln!("skipped: programs::cycles: this system does not tell what is open");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Child::spawn(&Mode::Cycle { programs: 1000 }, &folder.path().join("stderr"));
    assert!(child.ended().await.success(), "{:?}", child.lines);
    let Some(Line::LeftOver { first, last }) = child.lines.last() else {
        panic!("it did not come to its end: {:?}", child.lines);
    };
    assert!(is_within(*last, *first), "threads and open files: {first:?}, in the end {last:?}");
}

/// The child.
pub(crate) async fn cycle(programs: usize) {
    let worker = Worker::start().await;
    let mut first = None;
    for number in 0..=programs {
        let what: &[&str] = if number % 10 == 0 { &["wait"] } else { &["say", "hello"] };
        let session = worker.trial(what).await;
        if number % 10 == 0 {
            session.stop().await.unwrap().ended().await.unwrap();
        } else {
            settled(&session).await;
        }
        if number == 20 {
            first = Some(at_rest().await);
        }
        // On a busy machine all of them take minutes, and whoever waits wants to know that it goes on.
        if let (Some(first), 0) = (first, number % 100) {
            say(&Line::LeftOver { first, last: held() });
        }
    }
    assert_eq!(zombies(), 0);
    say(&Line::LeftOver { first: first.unwrap(), last: at_rest().await });
}

/// What this process holds when threads that are not needed any more are gone.
async fn at_rest() -> (usize, usize) {
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    held()
}

/// The children of this process that are dead and not reaped.
fn zombies() -> usize {
    let own = std::process::id().to_string();
    let is_zombie = |stat: &String| {
        let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        words.next() == Some("Z") && words.next() == Some(&own)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(is_zombie).count()
}
