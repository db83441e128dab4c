//! What readers of the log had come to survives an archive and a repair, though all events have other positions then.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sessionkeeper::{
    Delete, Labels, Scope, SessionId, StatisticsOptions, Supervisor, Window,
    hooks::{Hook, HookCall, SessionHooks},
    sink::{self, SinkBatch, SinkItem},
    store::{BoxError, SledStore, export, import, repair},
};

use super::{fixture::Place, sled::Folder};
use crate::support::{BUDGET, Scripted};

type Hooked = (SessionId, Hook, u64);

/// What was told outside.
#[derive(Clone, Default)]
struct Outside {
    called: Arc<Mutex<Vec<Hooked>>>,
    labels: Arc<Mutex<Vec<Labels>>>,
    taken: Arc<Mutex<Vec<(SessionId, u64)>>>,
    works: Arc<AtomicBool>,
}

impl Outside {
    async fn call(&self, call: HookCall) -> Result<(), BoxError> {
        if call.hook == Hook::SessionEnd {
            if !self.works.load(Ordering::Relaxed) {
                return Err("it is down".into());
            }
            let record = call.record.ok_or("it has no record")?;
            self.labels.lock().unwrap().push(record.labels.clone());
        }
        self.called.lock().unwrap().push((call.session, call.hook, call.event.sequence));
        Ok(())
    }
}

impl SessionHooks for Outside {
    async fn on_session_start(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }

    async fn on_session_end(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }

    async fn after_run(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }

    async fn on_state_changed(&self, call: HookCall) -> Result<(), BoxError> {
        self.call(call).await
    }
}

/// A worker that is told everything, or nothing.
async fn worker(path: &Path, outside: Option<&Outside>) -> Supervisor {
    let store = SledStore::open(path).expect("open");
    let builder = Supervisor::builder(store).workload(Scripted::default());
    let builder = match outside.cloned() {
        None => builder,
        Some(outside) => {
            let taken = Arc::clone(&outside.taken);
            let sink = sink::from_fn(move |batch: SinkBatch| {
                let events = batch.items().iter().filter_map(|item| match item {
                    SinkItem::Event { session, event, .. } => Some((*session, event.sequence)),
                    _ => None,
                });
                taken.lock().unwrap().extend(events);
                async { Ok::<(), io::Error>(()) }
            });
            let statistics = StatisticsOptions::default();
            builder.hooks(outside).sink("outside", sink).statistics(statistics)
        }
    };
    builder.start().await.expect("it starts")
}

/// A session that is stopped.
async fn stopped(supervisor: &Supervisor, label: &str) -> SessionId {
    let labels = Labels::new([("job", label)]).expect("labels");
    let start = Scripted::start().labels(labels);
    let session = supervisor.start(start).await.expect("started").into_handle();
    session.stop().await.expect("stopped").ended().await.expect("ended");
    session.id()
}

#[tokio::test]
async fn whoever_reads_the_log_goes_on_in_a_store_that_was_put_together_anew() {
    for repaired in [false, true] {
        let place = Folder::new();
        let outside = Outside::default();
        let supervisor = worker(place.path(), Some(&outside)).await;
        let there = stopped(&supervisor, "there").await;
        let gone = stopped(&supervisor, "gone").await;
        supervisor
            .session(gone)
            .await
            .expect("there")
            .delete(Delete::IfAtRest)
            .await
            .expect("gone");
        supervisor.shutdown(BUDGET).await;
        let before = outside.taken.lock().unwrap().len();
        // Of this one nobody was told anything.
        let supervisor = worker(place.path(), None).await;
        let unread = stopped(&supervisor, "unread").await;
        supervisor.shutdown(BUDGET).await;

        let copy = Folder::new();
        let path = if repaired {
            repair(place.path()).expect("repair");
            place.path()
        } else {
            let mut archive = Vec::new();
            export(place.path(), &mut archive).expect("export");
            import(copy.path(), archive.as_slice()).expect("import");
            let mut again = Vec::new();
            export(copy.path(), &mut again).expect("export");
            // The snapshots of a session may change places.
            let lines = |archive: Vec<u8>| {
                let text = String::from_utf8(archive).expect("text");
                text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
            };
            assert_eq!(lines(archive), lines(again), "an archive of an archive is the same");
            copy.path()
        };
        // Somebody may look at it before those come who read the log.
        worker(path, None).await.shutdown(BUDGET).await;
        outside.works.store(true, Ordering::Relaxed);
        let supervisor = worker(path, Some(&outside)).await;
        let began = tokio::time::Instant::now();
        let ends = || {
            let called = outside.called.lock().unwrap();
            called.iter().filter(|(_, hook, _)| *hook == Hook::SessionEnd).count()
        };
        while ends() < 3 {
            assert!(began.elapsed().as_secs() < 60, "hooks are owed and not called");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let counted = loop {
            let counted = supervisor.statistics(Scope::All, Window::SinceTheBeginning).await;
            let counted = counted.expect("counted");
            if counted.behind == 0 {
                break counted;
            }
            assert!(began.elapsed().as_secs() < 60, "it is not counted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        supervisor.shutdown(BUDGET).await;

        let mut called = outside.called.lock().unwrap().clone();
        let all = called.len();
        called.sort_unstable();
        called.dedup();
        assert_eq!(called.len(), all, "none is called again");
        for (session, hooks) in [(there, 6), (gone, 6), (unread, 6)] {
            let of = called.iter().filter(|(whose, ..)| *whose == session);
            assert_eq!(of.count(), hooks, "of {session}: {called:?}");
        }
        let mut labels = outside.labels.lock().unwrap().clone();
        labels.sort_unstable_by_key(|labels| labels.get("job").map(str::to_owned));
        let labels = labels.iter().map(|labels| labels.get("job").expect("one").to_owned());
        assert_eq!(labels.collect::<Vec<_>>(), ["gone", "there", "unread"]);

        let taken = outside.taken.lock().unwrap().clone();
        let of = |session| taken.iter().filter(move |(whose, _)| *whose == session).count();
        assert_eq!(of(unread), 5, "{taken:?}");
        assert_eq!(taken.len(), before + of(unread), "what the sink had it is not given again");
        assert_eq!(counted.started(), 3);
        assert_eq!(counted.events_in_all(), taken.len() as u64);
    }
}
