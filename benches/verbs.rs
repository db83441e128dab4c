//! What the small things cost, each beside the floor that it stands on: `cargo bench`.

use std::{
    fs::File,
    hint::black_box,
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use criterion::{Criterion, criterion_group};
use sessionkeeper::{
    Context, Outcome, SendError, SessionHandle, Start, Supervisor, Workload, WorkloadError,
    store::{MemoryStore, SledStore, Store},
};
use tokio::{runtime::Runtime, time::Instant};

struct Adder;

impl Workload for Adder {
    const KIND: &'static str = "adder";
    const STATE_VERSION: u32 = 1;
    type State = i64;
    type Input = i64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            *cx.state_mut() += *number;
        }
        Ok(Outcome::Yielded)
    }
}

async fn session(store: impl Store) -> (Supervisor, SessionHandle<Adder>) {
    let supervisor =
        Supervisor::builder(store).workload(Adder).start().await.expect("a supervisor");
    let session = supervisor.start(Start::<Adder>::new(0)).await.expect("a session");
    (supervisor, session.into_handle())
}

/// A heartbeat, beside a clock read and an atomic store.
fn heartbeat(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (_supervisor, session) = runtime.block_on(session(MemoryStore::new()));
    let mut group = bench.benchmark_group("heartbeat");
    group.bench_function("ours", |bench| bench.iter(|| session.heartbeat()));
    let beat = AtomicU64::new(0);
    let origin = Instant::now();
    group.bench_function("floor", |bench| {
        bench.iter(|| {
            beat.store(black_box(origin).elapsed().as_millis() as u64, Ordering::Relaxed);
        });
    });
    group.finish();
}

/// The status of a live session, by its handle.
fn status(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (_supervisor, session) = runtime.block_on(session(MemoryStore::new()));
    bench.bench_function("status", |bench| {
        bench.to_async(&runtime).iter(|| async { session.status().await.expect("a status") });
    });
}

/// A durable input: in memory, where only our own path costs, and on disk, beside a file that is
/// written and synced.
fn send(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = bench.benchmark_group("send");
    let (_in_memory, session_in_memory) = runtime.block_on(session(MemoryStore::new()));
    group.bench_function("memory", |bench| {
        bench.to_async(&runtime).iter(|| send_one(&session_in_memory));
    });
    let store = SledStore::open(folder.path().join("store")).expect("a store");
    let (_on_disk, session_on_disk) = runtime.block_on(session(store));
    group.bench_function("sled, synced", |bench| {
        bench.to_async(&runtime).iter(|| send_one(&session_on_disk));
    });
    let mut file = File::create(folder.path().join("floor")).expect("a file");
    group.bench_function("floor", |bench| {
        bench.iter(|| {
            file.write_all(&[7; 1024]).expect("a write");
            file.sync_data().expect("a sync");
        });
    });
    group.finish();
}

/// Sends as soon as there is room: the benchmark may be faster than the session.
async fn send_one(session: &SessionHandle<Adder>) {
    while let Err(error) = session.send(1).await {
        assert!(matches!(error, SendError::Full { .. }), "{error}");
        tokio::task::yield_now().await;
    }
}

criterion_group!(benches, heartbeat, status, send);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
