//! A thread that a workload blocks is named within two seconds, by somebody who needs none of the
//! threads of a runtime.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "how a process speaks to its test")]

use std::{
    io::{BufRead, BufReader},
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sessionkeeper::{
    Activity, BlockedThread, Context, Outcome, Policy, Resource, Run, RunEnd, SessionId, Start,
    Supervisor, UserCode, Workload, WorkloadError, store::MemoryStore,
};

use super::{child, is_child, real_wait};
use crate::{guarantees::kit::secs, traces::traced};

/// Blocks threads until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    blocked: AtomicU32,
}

impl Gate {
    fn block(&self) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Blocks its thread in one place, once.
#[derive(Clone)]
struct Blocker {
    gate: Arc<Gate>,
}

/// Where a session is to block, and whether it has.
#[derive(Clone, Default)]
struct Place {
    code: String,
    gate: Option<Arc<Gate>>,
}

impl Place {
    fn block_in(&self, code: UserCode) {
        if self.code == code.to_string()
            && let Some(gate) = &self.gate
        {
            gate.block();
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.block_in(UserCode::Encode);
        self.code.serialize(to)
    }
}

thread_local! {
    /// For what is decoded here: it cannot know the gate.
    static GATE: std::cell::RefCell<Option<Arc<Gate>>> = const { std::cell::RefCell::new(None) };
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let code = String::deserialize(from)?;
        if let Some(gate) = GATE.with_borrow(Clone::clone)
            && code == UserCode::Decode.to_string()
        {
            gate.block();
        }
        Ok(Self { code, gate: None })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.block_in(UserCode::Drop);
    }
}

impl Resource for Place {
    async fn close(&self, _: &RunEnd) {
        self.block_in(UserCode::CloseResource);
    }
}

impl Workload for Blocker {
    const KIND: &'static str = "blocker";
    const STATE_VERSION: u32 = 1;
    type State = Place;
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let here = Place { code: cx.state().code.clone(), gate: Some(Arc::clone(&self.gate)) };
        here.block_in(UserCode::Run);
        cx.state_mut().gate.clone_from(&here.gate);
        cx.hold(here.clone());
        let task = here.clone();
        let task = cx.spawn(async move {
            task.block_in(UserCode::Task);
            std::mem::forget(task);
        });
        task.await?;
        // It is the state whose drop blocks.
        std::mem::forget(here);
        Ok(Outcome::Completed)
    }

    async fn close(&self, run: &Run, _: &RunEnd) {
        if CLOSING.lock().unwrap().contains(&run.session()) {
            self.gate.block();
        }
    }
}

/// The sessions that are to block in their clean-up.
static CLOSING: Mutex<Vec<SessionId>> = Mutex::new(Vec::new());

const CODES: [UserCode; 7] = [
    UserCode::Run,
    UserCode::Close,
    UserCode::CloseResource,
    UserCode::Task,
    UserCode::Encode,
    UserCode::Decode,
    UserCode::Drop,
];

#[tokio::test(start_paused = true)]
async fn a_blocked_thread_is_named_within_two_seconds_whatever_code_blocks_it() {
    let (lines, _tracing) = traced();
    let gate = Arc::new(Gate::default());
    let for_threads = Arc::clone(&gate);
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CODES.len())
        .thread_name("workloads")
        .on_thread_start(move || GATE.with(|gate| *gate.borrow_mut() = Some(for_threads.clone())))
        .enable_all()
        .build()
        .unwrap();
    let supervisor = Supervisor::builder(MemoryStore::new())
        .workload(Blocker { gate: Arc::clone(&gate) })
        .workload_runtime(own.handle().clone())
        .start()
        .await
        .unwrap();
    let mut sessions = Vec::new();
    for code in CODES {
        let id = SessionId::from_uuid(uuid(code));
        if code == UserCode::Close {
            CLOSING.lock().unwrap().push(id);
        }
        let start = Start::<Blocker>::new(Place { code: code.to_string(), gate: None }).id(id);
        sessions.push(supervisor.start(start).await.unwrap().into_handle());
    }
    let all = CODES.len();
    let blocked = || gate.blocked.load(Ordering::SeqCst) as usize;
    real_wait("all are blocked", secs(60), || blocked() == all).await;
    let health = || supervisor.health();
    let named = || health().blocked_threads().len() == all;
    real_wait("all are named", secs(2), named).await;

    let health = health();
    assert!(!health.is_good());
    assert_eq!(health.runtime_stalled_for(), None, "control has a thread of its own");
    for (session, code) in sessions.iter().zip(CODES) {
        let of = |blocked: &&BlockedThread| blocked.session == session.id();
        let found = health.blocked_threads().iter().find(of).unwrap();
        let status = session.status().await.unwrap();
        assert_eq!((found.code, found.run), (code, status.run()), "{code}");
        assert!(found.thread.starts_with("workloads ThreadId("), "{}", found.thread);
        assert_eq!(found.kind.as_str(), "blocker");
        assert!(found.lasted >= secs(1) && found.lasted < secs(60), "{:?}", found.lasted);
        let blocks = matches!(status.activity(), Activity::Blocked { .. });
        // A task of a run blocks its thread, not the run.
        assert_eq!(blocks, code != UserCode::Task, "{code}: {:?}", status.activity());
        let line = |what: &str| {
            let id = format!("session={}", session.id());
            lines.all().into_iter().find(|line| line.contains(what) && line.contains(&id))
        };
        let expected = [format!("code={code}"), format!("thread=\"{}\"", found.thread)];
        let warning = real_line(|| line("a thread is blocked by a workload")).await;
        assert!(warning.contains("WARN"), "{warning}");
        for part in expected.iter().chain([&format!("run={}", status.run().unwrap())]) {
            assert!(warning.contains(part), "{part}: {warning}");
        }
    }

    gate.open();
    real_wait("all are free", secs(60), || supervisor.health().is_good()).await;
    let warnings = lines.all().iter().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, all, "each once: {:#?}", lines.all());
    let freed = || lines.all().iter().filter(|line| line.contains("free again")).count() == all;
    real_wait("that is told", secs(60), freed).await;
    own.shutdown_background();
}

fn uuid(code: UserCode) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x1234_5678 + code as u128)
}

async fn real_line(find: impl Fn() -> Option<String>) -> String {
    real_wait("the line is there", secs(60), || find().is_some()).await;
    find().unwrap()
}

/// A supervisor on a runtime of one thread, which a test drives from outside.
struct OneThread {
    supervisor: Supervisor,
    runtime: tokio::runtime::Handle,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl OneThread {
    fn start(gate: &Arc<Gate>) -> Self {
        let gate = Arc::clone(gate);
        let (give, take) = std::sync::mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let thread = std::thread::Builder::new().name("the-only-one".into()).spawn(move || {
            let _tracing = tracing::dispatcher::set_default(&dispatch);
            GATE.with(|slot| *slot.borrow_mut() = Some(Arc::clone(&gate)));
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let supervisor = Supervisor::builder(MemoryStore::new())
                    .workload(Blocker { gate })
                    .start()
                    .await
                    .unwrap();
                give.send((supervisor, tokio::runtime::Handle::current())).unwrap();
                let _ = ended.await;
            });
        });
        let (supervisor, runtime) = take.recv().unwrap();
        Self { supervisor, runtime, end: Some(end), thread: Some(thread.unwrap()) }
    }

    fn end(mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[tokio::test]
async fn it_works_while_the_only_thread_of_all_is_blocked() {
    let (lines, _tracing) = traced();
    let gate = Arc::new(Gate::default());
    let one = OneThread::start(&gate);
    let supervisor = one.supervisor.clone();
    let start = Start::<Blocker>::new(Place { code: "run".into(), gate: None });
    // It is accepted, or not answered any more.
    drop(one.runtime.spawn(async move { supervisor.start(start).await }));
    let blocked = || gate.blocked.load(Ordering::SeqCst) == 1;
    real_wait("it is blocked", secs(60), blocked).await;
    let known = || {
        let health = one.supervisor.health();
        !health.blocked_threads().is_empty() && health.runtime_stalled_for().is_some()
    };
    real_wait("both are known", secs(2), known).await;
    let health = one.supervisor.health();
    assert!(health.blocked_threads()[0].thread.starts_with("the-only-one "), "{health}");
    let stalled = || lines.all().into_iter().find(|line| line.contains("stands still"));
    let stalled = real_line(stalled).await;
    assert!(stalled.contains("cause=\"workloads block threads\""), "{stalled}");
    gate.open();
    real_wait("it is good again", secs(60), || one.supervisor.health().is_good()).await;
    real_line(|| lines.all().into_iter().find(|line| line.contains("runs again"))).await;
    one.end();
}

#[tokio::test]
async fn a_runtime_that_something_else_blocks_is_told_too() {
    let (lines, _tracing) = traced();
    let gate = Arc::new(Gate::default());
    let one = OneThread::start(&gate);
    let blocks = Arc::clone(&gate);
    drop(one.runtime.spawn(async move { blocks.block() }));
    let stalled = || one.supervisor.health().runtime_stalled_for().is_some();
    real_wait("it is known", secs(2), stalled).await;
    assert!(one.supervisor.health().blocked_threads().is_empty());
    let line = || lines.all().into_iter().find(|line| line.contains("stands still"));
    assert!(real_line(line).await.contains("something else"));
    gate.open();
    real_wait("it is good again", secs(60), || one.supervisor.health().is_good()).await;
    one.end();
}

/// The watchdogs of this process. A thread shows the first 15 bytes of its name.
fn watchdogs() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "session-watchdo").count()
}

#[tokio::test]
#[ignore = "executed by it_ends_with_its_supervisor, in a process of its own"]
async fn child_that_starts_and_ends_supervisors() {
    if !is_child() {
        return;
    }
    let gate = Arc::new(Gate::default());
    let build = || Supervisor::builder(MemoryStore::new()).workload(Blocker { gate: gate.clone() });
    let mut supervisors = Vec::new();
    for _ in 0..20 {
        supervisors.push(build().start().await.unwrap());
    }
    real_wait("all are there", secs(10), || watchdogs() == 20).await;
    drop(supervisors.split_off(10));
    real_wait("those of dropped ones are gone", secs(2), || watchdogs() == 10).await;
    for supervisor in &supervisors {
        supervisor.shutdown(secs(1)).await;
    }
    real_wait("those that were shut down too", secs(2), || watchdogs() == 0).await;
    assert_eq!(Arc::strong_count(&gate), 11, "a dropped worker has let go of its workload");
    // One that is forgotten ends with its runtime.
    let other = OneThread::start(&gate);
    real_wait("it is there", secs(10), || watchdogs() == 1).await;
    std::mem::forget(other.supervisor.clone());
    other.end();
    real_wait("it is gone", secs(2), || watchdogs() == 0).await;
}

#[test]
fn it_ends_with_its_supervisor() {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: it_ends_with_its_supervisor: threads are counted in /proc");
        return;
    }
    let test = "hostile::watchdog::child_that_starts_and_ends_supervisors";
    let output = child(test, &[]).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Blocks its thread for 600 ms at a time, in short sleeps that count as a tenth of a second at
/// most: none of that ends because the process was stopped meanwhile.
struct Sluggish;

impl Workload for Sluggish {
    const KIND: &'static str = "sluggish";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    #[expect(clippy::disallowed_methods, reason = "it blocks its thread")]
    async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        loop {
            println!("blocks");
            let mut blocked = Duration::ZERO;
            while blocked < Duration::from_millis(600) {
                let began = std::time::Instant::now();
                std::thread::sleep(Duration::from_millis(5));
                blocked += began.elapsed().min(Duration::from_millis(100));
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "executed by a_stopped_process_has_blocked_nothing, in a process of its own"]
async fn child_that_is_stopped() {
    if !is_child() {
        return;
    }
    let (lines, _tracing) = traced();
    let policy = Policy::builder().stop_grace(secs(1)).build().unwrap();
    let supervisor = Supervisor::builder(MemoryStore::new())
        .workload(Sluggish)
        .policy(policy)
        .start()
        .await
        .unwrap();
    supervisor.start(Start::<Sluggish>::new(())).await.unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let warnings = lines.all().into_iter().filter(|line| line.contains("WARN"));
    for warning in warnings {
        println!("warned: {warning}");
    }
    println!("over");
}

#[test]
fn a_stopped_process_has_blocked_nothing() {
    let mut child = child("hostile::watchdog::child_that_is_stopped", &[]);
    let id = child.id().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &id]).status();
        assert!(sent.unwrap().success());
    };
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..2 {
        // The watchdog has seen it, and it is not over yet.
        assert!(said.any(|line| line.ends_with("blocks")));
        nap(Duration::from_millis(350));
        signal("-STOP");
        nap(Duration::from_millis(1_200));
        signal("-CONT");
    }
    assert!(said.any(|line| line.ends_with("blocks")));
    drop(child.stdin.take());
    let rest: Vec<String> = said.take_while(|line| line != "over").collect();
    child.wait().unwrap();
    let warned: Vec<_> = rest.iter().filter(|line| line.starts_with("warned")).collect();
    assert!(warned.is_empty(), "{warned:#?}");
}

#[expect(clippy::disallowed_methods, reason = "a stopped process has only real time")]
fn nap(span: Duration) {
    std::thread::sleep(span);
}
