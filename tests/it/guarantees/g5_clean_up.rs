//! G5: however a run ends, it is cleaned up once, and what it holds is closed.

use std::sync::{Arc, Mutex};

use sessionkeeper::{
    Event, Outcome, Policy, Resource, RunEnd, State, Usage, WorkloadError, store::MemoryStore,
};

use super::kit::{
    Custom, OwnRuntime, custom_with, log, millis, restarting, secs, start_on, tireless, until,
};

type Book = Arc<Mutex<Vec<String>>>;

/// Something a run holds; it writes down when it is closed.
struct Thing {
    name: &'static str,
    book: Book,
    /// What its closing does.
    closing: Closing,
}

#[derive(Clone, Copy)]
enum Closing {
    Well,
    Slow,
    Never,
    Panic,
}

impl Resource for Thing {
    async fn close(&self, end: &RunEnd) {
        match self.closing {
            Closing::Well => {}
            Closing::Slow => tokio::time::sleep(secs(1)).await,
            Closing::Never => std::future::pending().await,
            Closing::Panic => panic!("told to panic"),
        }
        let end = end.to_string();
        let end = end.split(':').next().unwrap_or_default();
        self.book.lock().unwrap().push(format!("{} {end}", self.name));
    }
}

fn holding(book: &Book, closings: [Closing; 3]) -> Custom {
    let book = Arc::clone(book);
    let of_closing = Arc::clone(&book);
    Custom::new(move |cx| {
        let book = Arc::clone(&book);
        Box::pin(async move {
            for (name, closing) in ["a", "b", "c"].into_iter().zip(closings) {
                cx.hold(Thing { name, book: Arc::clone(&book), closing });
            }
            while let Some(input) = cx.next_input().await? {
                match *input {
                    0 => {}
                    1 => return Ok(Outcome::Completed),
                    2 => return Err("told to fail".into()),
                    3 => panic!("told to panic"),
                    4 => return Err(WorkloadError::permanent("told to fail for good")),
                    5 => tokio::time::sleep(secs(100_000)).await,
                    6 => return Ok(Outcome::Yielded),
                    _ => {}
                }
            }
            Ok(Outcome::Yielded)
        })
    })
    .closing(move |run, _| {
        let book = Arc::clone(&of_closing);
        Box::pin(async move {
            book.lock().unwrap().push("hook".to_owned());
            run.record_usage(Usage::tokens(1, 0));
            let _ = run.try_emit(&Event::custom("closed", 1));
        })
    })
}

/// How a run is ended, and how it then ended.
const WAYS: &[(&str, u64, &str)] = &[
    ("completed", 1, "completed"),
    ("error", 2, "failed"),
    ("panic", 3, "panicked"),
    ("permanent", 4, "failed"),
    ("silence", 5, "cancelled"),
    ("yield", 6, "yielded"),
    ("pause", 0, "yielded"),
    ("stop", 0, "yielded"),
    ("kill", 5, "cancelled"),
    ("complete", 0, "cancelled"),
    ("fail", 5, "cancelled"),
    ("shutdown", 0, "yielded"),
    ("crash", 5, "cancelled"),
];

#[tokio::test(start_paused = true)]
async fn g5_every_run_is_cleaned_up_once_however_it_ends() {
    for (name, input, how) in WAYS {
        let book = Book::default();
        let workload = holding(&book, [Closing::Well, Closing::Slow, Closing::Well]);
        let policy = Policy::builder().restart(tireless()).heartbeat_timeout(secs(60));
        let policy = policy.build().unwrap();
        let supervisor = start_on(MemoryStore::new(), workload.clone(), |b| b.policy(policy)).await;
        let session = custom_with(&supervisor, *input).await;
        // Restarts at once would go on for ever.
        tokio::time::sleep(millis(1)).await;
        match *name {
            "pause" => drop(session.pause().await.unwrap()),
            "stop" => drop(session.stop().await.unwrap().ended().await.unwrap()),
            "kill" => drop(session.kill().await.unwrap().ended().await.unwrap()),
            "complete" => session.complete().await.unwrap(),
            "fail" => session.fail("why").await.unwrap(),
            "shutdown" => drop(supervisor.shutdown(secs(20)).await),
            "crash" => drop(supervisor.clone()),
            _ => {}
        }
        if *name == "crash" {
            drop(supervisor);
            tokio::time::sleep(secs(10)).await;
        } else {
            until_booked(&book, 4).await;
            tokio::time::sleep(millis(1)).await;
        }
        let booked: Vec<String> = book.lock().unwrap().iter().take(4).cloned().collect();
        let expected = ["hook", &format!("c {how}"), &format!("b {how}"), &format!("a {how}")];
        assert_eq!(booked, expected, "{name}: the hook, and what is held, the last first");
        if matches!(*name, "completed" | "pause" | "stop" | "kill" | "complete" | "fail") {
            tokio::time::sleep(secs(10)).await;
            assert_eq!(book.lock().unwrap().len(), 4, "{name}: once");
            let status = session.status().await.unwrap();
            assert_eq!(status.record().usage.input_tokens(), 1, "{name}: the hook's usage");
            assert!(log(&session).await.len() as u64 >= status.record().last_event);
        }
    }
}

async fn until_booked(book: &Book, lines: usize) {
    for _ in 0..20_000 {
        if book.lock().unwrap().len() >= lines {
            return;
        }
        tokio::time::sleep(millis(10)).await;
    }
    panic!("not closed: {:?}", book.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn g5_a_session_is_not_at_rest_before_everything_is_closed() {
    let book = Book::default();
    let workload = holding(&book, [Closing::Slow; 3]);
    let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom_with(&supervisor, 0).await;
    tokio::time::sleep(secs(1)).await;
    session.pause().await.unwrap();
    assert_eq!(book.lock().unwrap().len(), 4, "paused");
    session.resume().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let stop = session.stop().await.unwrap();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(session.status().await.unwrap().state(), State::Stopping);
    stop.ended().await.unwrap();
    assert_eq!(book.lock().unwrap().len(), 8, "stopped");
}

#[tokio::test(start_paused = true)]
async fn g5_a_clean_up_that_fails_does_not_keep_the_others_from_theirs() {
    for bad in [Closing::Panic, Closing::Never] {
        let book = Book::default();
        let workload = holding(&book, [Closing::Well, bad, Closing::Well]);
        let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
        let session = custom_with(&supervisor, 0).await;
        tokio::time::sleep(secs(1)).await;
        tokio::time::timeout(secs(10), session.pause()).await.expect("it hangs").unwrap();
        let booked = book.lock().unwrap().clone();
        assert_eq!(booked, ["hook", "c yielded", "a yielded"]);
    }
    // The hook itself.
    let book = Book::default();
    let hung = holding(&book, [Closing::Well; 3])
        .closing(|_, _| Box::pin(async { std::future::pending().await }));
    let supervisor = start_on(MemoryStore::new(), hung, |b| b).await;
    let session = custom_with(&supervisor, 0).await;
    tokio::time::sleep(secs(1)).await;
    tokio::time::timeout(secs(10), session.pause()).await.expect("it hangs").unwrap();
    assert_eq!(*book.lock().unwrap(), ["c yielded", "b yielded", "a yielded"]);
}

#[tokio::test(start_paused = true)]
async fn g5_a_run_that_was_abandoned_is_cleaned_up_when_it_comes_back() {
    let own = OwnRuntime::new();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(Some(gate)));
    let blocks = Arc::new(Mutex::new(false));
    let blocked = Arc::clone(&blocks);
    let book = Book::default();
    let held = Arc::clone(&book);
    let workload = Custom::new(move |cx| {
        let (gate, blocks, book) = (Arc::clone(&gate), Arc::clone(&blocks), Arc::clone(&held));
        Box::pin(async move {
            cx.hold(Thing { name: "a", book, closing: Closing::Well });
            let gate = gate.lock().unwrap().take();
            if let Some(gate) = gate {
                *blocks.lock().unwrap() = true;
                let _ = gate.recv();
            }
            super::kit::collect(cx).await
        })
    });
    let supervisor =
        start_on(MemoryStore::new(), workload.clone(), |b| b.workload_runtime(own.handle())).await;
    let session = custom_with(&supervisor, 0).await;
    until("it blocks", || *blocked.lock().unwrap()).await;
    let report = session.kill().await.unwrap().ended().await.unwrap();
    assert_eq!(report.end, Some(RunEnd::Abandoned));
    assert!(workload.ends().is_empty());
    drop(open);
    until("it is closed", || book.lock().unwrap().len() == 1).await;
    assert_eq!(workload.ends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g5_tasks_of_a_run_end_with_it() {
    struct Gone(Book);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("gone".to_owned());
        }
    }
    for (name, input) in [("complete", 1), ("error", 2), ("panic", 3), ("kill", 0), ("crash", 0)] {
        let book = Book::default();
        let shared = Arc::clone(&book);
        let workload = Custom::new(move |cx| {
            let gone = Gone(Arc::clone(&shared));
            Box::pin(async move {
                cx.spawn(async move {
                    let _gone = gone;
                    std::future::pending::<()>().await;
                });
                // The task has begun.
                tokio::time::sleep(millis(1)).await;
                match cx.next_input().await?.map(|input| *input) {
                    Some(1) => Ok(Outcome::Completed),
                    Some(2) => Err("told to fail".into()),
                    Some(3) => panic!("told to panic"),
                    _ => {
                        tokio::time::sleep(secs(100_000)).await;
                        Ok(Outcome::Yielded)
                    }
                }
            })
        });
        let mut policy = tireless();
        policy.restart = sessionkeeper::Restart::Never;
        let policy = restarting(policy);
        let supervisor = start_on(MemoryStore::new(), workload, |b| b.policy(policy)).await;
        let session = custom_with(&supervisor, input).await;
        tokio::time::sleep(secs(1)).await;
        match name {
            "kill" => drop(session.kill().await.unwrap().ended().await.unwrap()),
            "crash" => drop(supervisor),
            _ => {}
        }
        tokio::time::sleep(secs(10)).await;
        assert_eq!(*book.lock().unwrap(), ["gone"], "{name}");
    }
}
