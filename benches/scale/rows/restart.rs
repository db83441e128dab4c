//! A restart after a panic: from the panic to the first poll of the next run. In between lies the
//! commit that ends the one and begins the other.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use sessionkeeper::{
    Backoff, Context, Outcome, Policy, RestartPolicy, Start, StartedSession, Supervisor, Workload,
    WorkloadError, store::SledStore,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    floor::{
        sled::Store,
        template::{self, Template},
        writer::{Line, Writer},
    },
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
};

pub(crate) const ROW: Row = Row {
    name: "restart",
    what: "from the panic of a run to the first poll of the next, with one commit in between",
    floor: "a respawn on the supervision event, after the same rows by one thread that writes",
    figures: &[Figure { name: "p50", unit: Unit::Time, reach: Reach::AtMost(1.5) }],
    allocator: Allocator::AsItIs,
    run,
};

/// A restart takes no longer, or it does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    std::panic::set_hook(Box::new(|_| {}));
    let restarts = scene.sessions.clamp(50, 1_000);
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (stage, mut begun) = Stage::new();
    let mut times = match side {
        Side::Ours => {
            let (_supervisor, sessions) = start(folder.path(), &stage, restarts).await?;
            let times = stage.play(&mut begun, restarts).await?;
            for session in &sessions {
                let status = session.status().await?;
                let counted = status.record().runs.restarts;
                ensure!(counted == 1, "{counted} restarts of {} are on record", session.id());
            }
            times
        }
        Side::Floor => {
            let template = Arc::new(template(scene).await?);
            let mut store = Store::open(folder.path())?;
            store.fill((0..restarts).flat_map(|child| template.rows(child)))?;
            let writer = Writer::on(store)?;
            let expected = template.count("records").1 * restarts;
            let parent = Parent { stage: Arc::clone(&stage), template, line: writer.line() };
            let (parent, ended) = Parent::spawn(None, parent, ()).await?;
            (0..restarts).for_each(|_| Child::spawn_for(&parent, &stage));
            let times = stage.play(&mut begun, restarts).await?;
            parent.stop(None);
            ended.await?;
            writer.close()?.expect("records", &[], expected)?;
            times
        }
    };
    Ok(Readings::default().time("p50", times.quantile(0.5)))
}

/// Sessions that wait to fail.
async fn start(
    folder: &Path,
    stage: &Arc<Stage>,
    count: usize,
) -> anyhow::Result<(Supervisor, Vec<StartedSession<Fragile>>)> {
    let supervisor = Supervisor::builder(SledStore::open(folder)?)
        .workload(Fragile(Arc::clone(stage)))
        .policy(policy()?)
        .start()
        .await?;
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(supervisor.start(Start::<Fragile>::new(())).await?);
    }
    Ok((supervisor, sessions))
}

/// What the first restart of a session writes.
async fn template(scene: &Scene) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (stage, mut begun) = Stage::new();
    let (_supervisor, sessions) = start(folder.path(), &stage, 1).await?;
    let session = sessions.first().context("one was started")?;
    begun.recv().await.context("it begins")?;
    let before = template::rows(folder.path()).await?;
    stage.panic.notify_one();
    begun.recv().await.context("it begins again")?;
    Template::of(session.id(), &before, &template::rows(folder.path()).await?)
}

/// What both sides play on.
struct Stage {
    origin: Instant,
    panic: Notify,
    /// When the last panic was, in nanoseconds since the origin.
    panicked: AtomicU64,
    begins: mpsc::UnboundedSender<Instant>,
}

impl Stage {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Instant>) {
        let (begins, begun) = mpsc::unbounded_channel();
        let (panic, panicked) = (Notify::new(), AtomicU64::new(0));
        (Arc::new(Self { origin: Instant::now(), panic, panicked, begins }), begun)
    }

    /// Lets each of them fail once, one after the other, and takes the time until the next run
    /// of it begins.
    async fn play(
        &self,
        begun: &mut mpsc::UnboundedReceiver<Instant>,
        restarts: usize,
    ) -> anyhow::Result<Times> {
        let mut next = async || {
            let next = tokio::time::timeout(PATIENCE, begun.recv()).await;
            next.context("there was no restart")?.context("nobody can begin any more")
        };
        for _ in 0..restarts {
            next().await?;
        }
        let mut times = Times::default();
        for _ in 0..restarts {
            self.panic.notify_one();
            let began = next().await?;
            let panicked = Duration::from_nanos(self.panicked.load(Ordering::Acquire));
            times.push(began.duration_since(self.origin + panicked));
        }
        ensure!(begun.is_empty(), "more began than failed");
        Ok(times)
    }

    fn begin(&self) {
        // Nobody listens any more when all is over.
        let _ = self.begins.send(Instant::now());
    }

    async fn panic(&self) -> ! {
        self.panic.notified().await;
        self.panicked.store(self.origin.elapsed().as_nanos() as u64, Ordering::Release);
        panic!("as it was told");
    }
}

struct Fragile(Arc<Stage>);

impl Workload for Fragile {
    const KIND: &'static str = "fragile";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        self.0.begin();
        self.0.panic().await
    }
}

/// Restarts at once, however often.
fn policy() -> anyhow::Result<Policy> {
    let restart = RestartPolicy {
        max_restarts: 1_000,
        within: Duration::from_millis(1),
        max_without_checkpoint: u32::MAX,
        backoff: Backoff::NONE,
        ..RestartPolicy::default()
    };
    Ok(Policy::builder().restart(restart).build()?)
}

/// Replaces its child as soon as the failure is on the disk.
struct Parent {
    stage: Arc<Stage>,
    template: Arc<Template>,
    line: Line,
}

struct Child;

impl Child {
    fn spawn_for(parent: &ActorRef<()>, stage: &Arc<Stage>) {
        let (stage, parent) = (Arc::clone(stage), parent.get_cell());
        let spawned = ractor::ActorRuntime::spawn_linked_instant(None, Self, stage, parent);
        let (child, _) = spawned.expect("a name is not asked for");
        child.send_message(()).expect("it has just begun");
    }
}

impl Actor for Parent {
    type Msg = ();
    /// How many children were replaced.
    type State = usize;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<usize, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        respawns: &mut usize,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            self.line.write(self.template.writes(*respawns, 0)).await?;
            *respawns += 1;
            Child::spawn_for(&me, &self.stage);
        }
        Ok(())
    }
}

impl Actor for Child {
    type Msg = ();
    type State = Arc<Stage>;
    type Arguments = Arc<Stage>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        stage: Arc<Stage>,
    ) -> Result<Arc<Stage>, ActorProcessingErr> {
        stage.begin();
        Ok(stage)
    }

    async fn handle(
        &self,
        _: ActorRef<()>,
        (): (),
        stage: &mut Arc<Stage>,
    ) -> Result<(), ActorProcessingErr> {
        stage.panic().await
    }
}
