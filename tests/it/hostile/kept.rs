//! What outlives a run, or belongs to all of them: held resources of paused sessions, and the
//! workload itself.

use std::sync::{Arc, Condvar, Mutex};

use sessionkeeper::{
    Context, Outcome, Resource, RunEnd, Start, State, Supervisor, Workload, WorkloadError,
    store::MemoryStore,
};
use tokio::time::Instant;

use super::real_wait;
use crate::guarantees::kit::{Custom, OwnRuntime, custom, millis, secs, start_on};

/// Blocks threads while it is shut.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, u32)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        drop(self.changed.wait_while(state, |(open, _)| !*open).unwrap());
    }

    fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    fn came(&self) -> u32 {
        self.state.lock().unwrap().1
    }
}

#[derive(Clone)]
enum Bad {
    BlocksInClose(Arc<Gate>),
    BlocksInDrop(Arc<Gate>),
    PanicsInClose,
    PanicsInDrop,
    HangsInClose,
}

struct Thing(Bad);

impl Resource for Thing {
    async fn close(&self, _: &RunEnd) {
        match &self.0 {
            Bad::BlocksInClose(gate) => gate.pass(),
            Bad::PanicsInClose => panic!("told to panic"),
            Bad::HangsInClose => std::future::pending().await,
            Bad::BlocksInDrop(_) | Bad::PanicsInDrop => {}
        }
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        match &self.0 {
            Bad::BlocksInDrop(gate) => gate.pass(),
            Bad::PanicsInDrop => panic!("told to panic"),
            Bad::BlocksInClose(_) | Bad::PanicsInClose | Bad::HangsInClose => {}
        }
    }
}

/// Its first run leaves something bad behind when its session is paused.
fn leaving(bad: &Bad) -> Custom {
    let bad = Mutex::new(Some(bad.clone()));
    Custom::new(move |cx| {
        if let Some(bad) = bad.lock().unwrap().take() {
            cx.hold_while_paused(Thing(bad), secs(100_000));
        }
        Box::pin(crate::guarantees::kit::collect(cx))
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_paused_session_holds_hinders_nobody() {
    for verb in ["stop", "shutdown", "crash"] {
        let gate = Arc::new(Gate::default());
        let all = [
            Bad::BlocksInClose(Arc::clone(&gate)),
            Bad::BlocksInDrop(Arc::clone(&gate)),
            Bad::PanicsInClose,
            Bad::PanicsInDrop,
            Bad::HangsInClose,
        ];
        for (number, bad) in all.iter().enumerate() {
            let blocks = matches!(bad, Bad::BlocksInClose(_) | Bad::BlocksInDrop(_));
            let own = blocks.then(OwnRuntime::new);
            let store = MemoryStore::new();
            let supervisor = start_on(store.clone(), leaving(bad), |b| match &own {
                Some(own) => b.workload_runtime(own.handle()),
                None => b,
            })
            .await;
            let session = custom(&supervisor).await;
            session.pause().await.unwrap();
            let other = custom(&supervisor).await;
            let began = Instant::now();
            match verb {
                "stop" => {
                    let stop = session.stop().await.unwrap();
                    other.send(5).await.unwrap();
                    let ended = tokio::time::timeout(secs(60), stop.ended()).await;
                    ended.unwrap_or_else(|_| panic!("{number}: the stop hangs")).unwrap();
                    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
                    while other.snapshot().await.unwrap().state != [5] {
                        tokio::task::yield_now().await;
                    }
                }
                "shutdown" => {
                    let shutdown = supervisor.shutdown(secs(20));
                    let report = tokio::time::timeout(secs(60), shutdown).await.unwrap();
                    assert!(report.took <= secs(20), "{number}: {:?}", report.took);
                    assert_eq!(report.lines.len(), 1, "{number}: {report}");
                }
                _ => drop(supervisor.clone()),
            }
            assert!(began.elapsed() <= secs(21), "{number}, {verb}: {:?}", began.elapsed());
            drop((session, other, supervisor));
            if blocks && matches!((verb, bad), ("crash", Bad::BlocksInDrop(_)) | ("stop", _)) {
                real_wait("it blocks", secs(60), || gate.came() > 0).await;
            }
            // The store is free for the next one.
            let next = start_on(store, leaving(bad), |b| b).await;
            next.recovered().await.unwrap();
            gate.open();
        }
    }
}

/// A workload that blocks, or panics, when it is dropped itself.
struct Final {
    gate: Option<Arc<Gate>>,
}

impl Drop for Final {
    fn drop(&mut self) {
        match &self.gate {
            Some(gate) => gate.pass(),
            None => assert!(std::thread::panicking(), "told to panic"),
        }
    }
}

impl Workload for Final {
    const KIND: &'static str = "final";
    const STATE_VERSION: u32 = 1;
    type State = u32;
    type Input = u32;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            *cx.state_mut() += *number;
        }
        Ok(Outcome::Yielded)
    }
}

#[tokio::test]
async fn a_workload_that_blocks_or_panics_when_it_is_dropped_keeps_no_store() {
    for blocks in [true, false] {
        let gate = Arc::new(Gate::default());
        let (store, of_gate) = (MemoryStore::new(), blocks.then(|| Arc::clone(&gate)));
        let build = Supervisor::builder(store.clone()).workload(Final { gate: of_gate });
        let supervisor = build.start().await.unwrap();
        let session = supervisor.start(Start::<Final>::new(1)).await.unwrap().into_handle();
        session.pause().await.unwrap();
        let id = session.id();
        let report = supervisor.shutdown(secs(5)).await;
        assert!(report.took < secs(5), "{:?}", report.took);
        // Whoever drops the last of it drops the workload.
        let dropping = std::thread::spawn(move || drop((session, supervisor)));
        if blocks {
            real_wait("it blocks", secs(60), || gate.came() == 1).await;
        }
        let next = Supervisor::builder(store).workload(Final { gate: Some(Arc::clone(&gate)) });
        let next = next.start().await.unwrap();
        let again = next.session(id).await.unwrap().typed::<Final>().unwrap();
        again.send(1).await.unwrap();
        again.resume().await.unwrap();
        while again.snapshot().await.unwrap().state != 2 {
            tokio::time::sleep(millis(1)).await;
        }
        gate.open();
        assert_eq!(dropping.join().is_ok(), blocks, "the panic is its owner's");
    }
}
