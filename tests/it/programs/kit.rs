//! What the tests of programs share: a worker that runs them, and a look at what is alive.

use std::{fs, path::Path, time::Duration};

use sessionkeeper::{
    Event, EventRecord, Fact, Policy, Restart, RestartPolicy, SessionHandle, SessionId, Settled,
    Start, Supervisor,
    process::{
        Launcher, ProcessSpec, ProcessSpecBuilder, ProcessState, ProcessWorkload, StreamJson,
    },
    store::MemoryStore,
};
use tokio::time::{sleep, timeout};

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Programs = ProcessWorkload<StreamJson>;
pub(crate) type Handle = SessionHandle<Programs>;

/// A worker that runs programs.
pub(crate) struct Worker {
    pub(crate) supervisor: Supervisor,
}

pub(crate) fn programs() -> Programs {
    let secrets = |name: &str| (name == "key").then(|| SECRET.to_owned());
    ProcessWorkload::new(Launcher::new().unwrap()).secrets(secrets).map_json(StreamJson::default())
}

pub(crate) const SECRET: &str = "s3cr3t-s3cr3t";

/// One run, and then it is over.
pub(crate) fn once() -> Policy {
    let restart = RestartPolicy { restart: Restart::Never, ..RestartPolicy::default() };
    Policy::builder().restart(restart).build().unwrap()
}

impl Worker {
    pub(crate) async fn start() -> Self {
        let builder = Supervisor::builder(MemoryStore::new()).workload(programs());
        Self { supervisor: builder.policy(once()).start().await.unwrap() }
    }

    pub(crate) async fn run(&self, spec: ProcessSpec) -> Handle {
        started(self, ProcessState::from(spec)).await
    }

    /// Runs the trial program, and gives the session.
    pub(crate) async fn trial(&self, args: &[&str]) -> Handle {
        self.run(trial(args).build().unwrap()).await
    }
}

pub(crate) async fn started(worker: &Worker, state: ProcessState) -> Handle {
    worker.supervisor.start(Start::<Programs>::new(state)).await.unwrap().into_handle()
}

/// The trial program with something to do.
pub(crate) fn trial(args: &[&str]) -> ProcessSpecBuilder {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/programs/trial.sh");
    ProcessSpec::builder("sh")
        .arg(script.to_string_lossy())
        .args(args.iter().copied())
        .stop_grace(Duration::from_secs(1))
}

/// Waits until a session has settled.
pub(crate) async fn settled(session: &Handle) -> Settled {
    timeout(PATIENCE, session.settled()).await.expect("it settles").unwrap()
}

pub(crate) async fn state(session: &Handle) -> ProcessState {
    session.snapshot().await.unwrap().state
}

pub(crate) async fn events(session: &Handle) -> Vec<EventRecord> {
    session.events(1..=u64::MAX, 100_000).await.unwrap()
}

/// What a session's program has printed, and what it has printed as errors.
pub(crate) async fn printed(session: &Handle) -> (String, String) {
    let mut all = (String::new(), String::new());
    for event in events(session).await {
        if let Fact::Work(Event::Terminal { output, error, .. }) = event.fact {
            all.0.push_str(&output);
            all.1.push_str(error.as_deref().unwrap_or_default());
        }
    }
    all
}

/// The data of the events with a name.
pub(crate) async fn told(session: &Handle, wanted: &str) -> Vec<serde_json::Value> {
    let data = |event: EventRecord| match event.fact {
        Fact::Work(Event::Custom { name, data }) if name == wanted => Some(data),
        _ => None,
    };
    events(session).await.into_iter().filter_map(data).collect()
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never happened: {what}"));
}

/// Waits until a session's program has printed something.
pub(crate) async fn has_printed(session: &Handle, text: &str) {
    until(text, async || printed(session).await.0.contains(text)).await;
}

/// Waits until so many inputs are done.
pub(crate) async fn turn_done(session: &Handle, inputs: u64) {
    until("the turn is done", async || {
        session.status().await.unwrap().record().inbox.consumed == inputs
    })
    .await;
}

/// The processes that have a session's mark, and the environment that each had in one look at it: a second look may find
/// it gone, or between two programs and with none. `None` where the system does not tell.
pub(crate) fn marked(session: SessionId) -> Option<Vec<(i32, Vec<String>)>> {
    let mark = format!("SESSIONKEEPER_SESSION={session}");
    let all = fs::read_dir("/proc").ok()?;
    let look = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let environment = String::from_utf8_lossy(&environment).into_owned();
        Some((pid, environment.split('\0').map(str::to_owned).collect::<Vec<_>>()))
    };
    let all = all.filter_map(|entry| look(entry.ok()?));
    Some(all.filter(|(_, environment)| environment.contains(&mark)).collect())
}

/// The processes of a session that are alive. `None` where the system does not tell.
pub(crate) fn alive(session: SessionId) -> Option<Vec<i32>> {
    Some(marked(session)?.into_iter().map(|(pid, _)| pid).collect())
}

/// Checks that nothing of a session's program is alive.
pub(crate) fn gone(session: SessionId) {
    if let Some(alive) = alive(session) {
        assert_eq!(alive, [0; 0], "processes of session {session} are alive");
    }
}
