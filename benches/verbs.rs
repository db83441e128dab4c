//! What the small things cost, each beside the floor that it stands on: `cargo bench --bench verbs`.
//!
//! What it costs to do them to many sessions, and while others are at work, is measured by
//! `scale`. Here there is one session, in memory unless it is said.

use std::{
    fs::File,
    hint::black_box,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use criterion::{Criterion, criterion_group};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use sessionkeeper::{
    Context, Event, Labels, Outcome, Run, SendError, SessionHandle, Start, Supervisor, Workload,
    WorkloadError,
    store::{MemoryStore, SledStore, Store},
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
    time::Instant,
};

/// Adds numbers, and makes checkpoints when it is told to.
struct Adder {
    /// Where it says what it did.
    said: mpsc::UnboundedSender<Said>,
}

enum Said {
    /// It runs, and this is the run.
    Begun(Run),
    /// So long did the checkpoints take that it was told to make.
    Checkpoints(Duration),
}

#[derive(serde::Serialize, serde::Deserialize)]
enum Input {
    Add(i64),
    Checkpoints(u64),
}

impl Workload for Adder {
    const KIND: &'static str = "adder";
    const STATE_VERSION: u32 = 1;
    type State = i64;
    type Input = Input;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let _ = self.said.send(Said::Begun(cx.run().clone()));
        while let Some(input) = cx.next_input().await? {
            match *input {
                Input::Add(number) => *cx.state_mut() += number,
                Input::Checkpoints(count) => {
                    let began = Instant::now();
                    for _ in 0..count {
                        *cx.state_mut() += 1;
                        cx.checkpoint().await?;
                    }
                    let _ = self.said.send(Said::Checkpoints(began.elapsed()));
                }
            }
        }
        Ok(Outcome::Yielded)
    }
}

/// A session that runs, and what belongs to it.
struct Scene {
    supervisor: Supervisor,
    session: SessionHandle<Adder>,
    run: Run,
    said: mpsc::UnboundedReceiver<Said>,
}

async fn scene(store: impl Store) -> Scene {
    let (say, mut said) = mpsc::unbounded_channel();
    let workload = Adder { said: say };
    let supervisor =
        Supervisor::builder(store).workload(workload).start().await.expect("a supervisor");
    let session = supervisor.start(Start::<Adder>::new(0)).await.expect("a session").into_handle();
    let Some(Said::Begun(run)) = said.recv().await else {
        panic!("the run begins");
    };
    Scene { supervisor, session, run, said }
}

/// Measures where callers are in a worker: in a task, on a thread of the runtime.
fn in_a_task(runtime: &Runtime, task: impl Future<Output = Duration> + Send + 'static) -> Duration {
    runtime.block_on(async { tokio::spawn(task).await.expect("nothing panics") })
}

/// A heartbeat, beside a clock read and an atomic store.
fn heartbeat(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let Scene { run, session, supervisor, .. } = runtime.block_on(scene(MemoryStore::new()));
    let mut group = bench.benchmark_group("heartbeat");
    group.bench_function("from inside", |bench| bench.iter(|| black_box(&run).heartbeat()));
    group.bench_function("by handle", |bench| bench.iter(|| black_box(&session).heartbeat()));
    let beat = AtomicU64::new(0);
    let origin = Instant::now();
    group.bench_function("floor", |bench| {
        bench.iter(|| {
            beat.store(black_box(origin).elapsed().as_millis() as u64, Ordering::Relaxed);
        });
    });
    group.finish();
    drop(supervisor);
}

/// The status of a live session, beside a lookup in a map.
fn status(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let Scene { session, supervisor, .. } = runtime.block_on(scene(MemoryStore::new()));
    let mut group = bench.benchmark_group("status");
    let id = session.id();
    group.bench_function("by id", |bench| {
        bench.iter_custom(|count| {
            let supervisor = supervisor.clone();
            in_a_task(&runtime, async move {
                let began = Instant::now();
                for _ in 0..count {
                    black_box(supervisor.status(black_box(id)).await.expect("a status"));
                }
                began.elapsed()
            })
        });
    });
    group.bench_function("by handle", |bench| {
        bench.iter_custom(|count| {
            let session = session.clone();
            in_a_task(&runtime, async move {
                let began = Instant::now();
                for _ in 0..count {
                    black_box(session.status().await.expect("a status"));
                }
                began.elapsed()
            })
        });
    });
    let map = papaya::HashMap::new();
    map.pin().insert(id, Arc::new(0));
    group.bench_function("floor", |bench| {
        bench.iter(|| map.pin().get(black_box(&id)).map(Arc::clone));
    });
    group.finish();
}

/// A call that goes through the mailbox of the session and commits nothing, beside a call of an
/// actor.
fn control(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let Scene { session, supervisor, .. } = runtime.block_on(scene(MemoryStore::new()));
    let mut group = bench.benchmark_group("control");
    group.bench_function("resume of what runs", |bench| {
        bench.iter_custom(|count| {
            let session = session.clone();
            in_a_task(&runtime, async move {
                let began = Instant::now();
                for _ in 0..count {
                    session.resume().await.expect("it runs");
                }
                began.elapsed()
            })
        });
    });
    let actor = runtime.block_on(async { Answers::spawn(None, Answers, ()).await });
    let (actor, _) = actor.expect("an actor");
    group.bench_function("floor", |bench| bench.iter_custom(|count| ask(&runtime, &actor, count)));
    group.finish();
    drop(supervisor);
}

/// An actor that answers.
struct Answers;

impl Actor for Answers {
    type Msg = oneshot::Sender<()>;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        reply: Self::Msg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // Whoever asks waits.
        let _ = reply.send(());
        Ok(())
    }
}

fn ask(runtime: &Runtime, actor: &ActorRef<oneshot::Sender<()>>, count: u64) -> Duration {
    let actor = actor.clone();
    in_a_task(runtime, async move {
        let began = Instant::now();
        for _ in 0..count {
            let (reply, answer) = oneshot::channel();
            actor.send_message(reply).expect("it lives");
            answer.await.expect("it answers");
        }
        began.elapsed()
    })
}

/// A durable input: in memory, where only our own path costs, and on disk, beside a file that is
/// written and synced.
fn send(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = bench.benchmark_group("send");
    let in_memory = runtime.block_on(scene(MemoryStore::new()));
    group.bench_function("in memory", |bench| {
        bench.iter_custom(|count| send_some(&runtime, &in_memory.session, count));
    });
    let store = SledStore::open(folder.path().join("store")).expect("a store");
    let on_disk = runtime.block_on(scene(store));
    group.bench_function("sled, synced", |bench| {
        bench.iter_custom(|count| send_some(&runtime, &on_disk.session, count));
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

fn send_some(runtime: &Runtime, session: &SessionHandle<Adder>, count: u64) -> Duration {
    let session = session.clone();
    in_a_task(runtime, async move {
        let began = Instant::now();
        for _ in 0..count {
            // As soon as there is room: the benchmark may be faster than the session.
            while let Err(error) = session.send(Input::Add(1)).await {
                assert!(matches!(error, SendError::Full { .. }), "{error}");
                tokio::task::yield_now().await;
            }
        }
        began.elapsed()
    })
}

/// An event of a run, beside its JSON in a buffer. Its commit is not measured.
fn emit(bench: &mut Criterion) {
    /// As many as the buffer of a run takes.
    const AT_ONCE: u64 = 1_000;
    let runtime = Runtime::new().expect("a runtime");
    let event = Event::terminal("cargo test", "all is well", 0);
    let mut group = bench.benchmark_group("emit");
    group.bench_function("ours", |bench| {
        bench.iter_custom(|count| {
            let event = event.clone();
            in_a_task(&runtime, async move {
                // A store of its own each time, so that memory does not fill with events.
                let Scene { run, session, supervisor, .. } = scene(MemoryStore::new()).await;
                let (mut took, mut left) = (Duration::ZERO, count);
                while left > 0 {
                    let some = left.min(AT_ONCE);
                    let began = Instant::now();
                    for _ in 0..some {
                        run.try_emit(black_box(&event)).expect("there is room");
                    }
                    took += began.elapsed();
                    left -= some;
                    // What is committed takes all events along.
                    let labels = Labels::new([("left", left.to_string())]).expect("a label");
                    session.set_labels(labels).await.expect("a commit");
                }
                drop(supervisor);
                took
            })
        });
    });
    let mut buffer = Vec::with_capacity(1 << 20);
    group.bench_function("floor", |bench| {
        bench.iter(|| {
            if buffer.len() > 1 << 19 {
                buffer.clear();
            }
            serde_json::to_writer(&mut buffer, black_box(&event)).expect("JSON");
        });
    });
    group.finish();
}

/// A checkpoint in memory, where only our own path costs.
fn checkpoint(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut in_memory = runtime.block_on(scene(MemoryStore::new()));
    bench.bench_function("checkpoint, in memory", |bench| {
        bench.iter_custom(|count| {
            runtime.block_on(async {
                in_memory.session.send(Input::Checkpoints(count)).await.expect("an input");
                match in_memory.said.recv().await {
                    Some(Said::Checkpoints(took)) => took,
                    Some(Said::Begun(_)) | None => panic!("the run lives on"),
                }
            })
        });
    });
}

criterion_group!(benches, heartbeat, status, control, send, emit, checkpoint);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
