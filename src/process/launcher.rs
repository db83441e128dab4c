//! The threads that start programs and look at what runs.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tokio::{process::Child as Leader, runtime::Handle, sync::oneshot, time::Instant};

use rustix::process::Signal;

use super::{
    command::Command,
    mark::{LaunchId, WorkerMark},
    os,
    starting::Starting,
    survey::{self, Bare, Identity, Member, Survey},
};
use crate::{RunId, SessionId};

/// Starts programs. Clones share it; one serves all sessions of a worker.
///
/// All programs are started by one thread, which lives as long as one of them is held: on Linux the system
/// kills a program when the thread that started it ends, and so when the worker is killed.
#[derive(Clone)]
pub struct Launcher {
    inner: Arc<Inner>,
}

struct Inner {
    starts: mpsc::Sender<Start>,
    looks: mpsc::Sender<Look>,
    worker: WorkerMark,
    launches: AtomicU64,
    /// How many deaths for want of memory have been laid to a program, or were there before.
    memory_kills: AtomicU64,
}

struct Start {
    command: Command,
    launch: Unheld,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Launched>>,
}

/// A program that was started. Dropped before it is kept, it is killed with all that it has started.
pub(super) struct Launched {
    /// Dropped first: what it has started is looked for when it is killed.
    leader: Leader,
    unheld: Unheld,
}

impl Launched {
    pub(super) fn leader(&mut self) -> &mut Leader {
        &mut self.leader
    }

    /// From now on somebody else ends it.
    pub(super) fn keep(mut self) -> Leader {
        self.unheld.0 = None;
        self.leader
    }
}

/// A launch that nobody holds yet: what there is of it when this is dropped is killed, some time.
struct Unheld(Option<(mpsc::Sender<Look>, LaunchId, Starting)>);

impl Drop for Unheld {
    fn drop(&mut self) {
        if let Some((looks, launch, starting)) = self.0.take() {
            // The thread ends after the last sender.
            let _ = looks.send(Look::Sweep(launch, Some(starting)));
        }
    }
}

/// What is to be done with a look at what runs.
enum Look {
    Tell(oneshot::Sender<io::Result<Arc<Survey>>>),
    /// The same, and send a signal to what has the mark of a launch, as soon as it is seen: where each process starts another
    /// and is gone, a moment later is too late.
    TellAfter(Signal, LaunchId, oneshot::Sender<io::Result<Arc<Survey>>>),
    /// Kill what is left of a launch that nobody holds any more. With that its start is over.
    Sweep(LaunchId, Option<Starting>),
}

impl Launcher {
    /// Begins its two threads. What workers have left that were killed is ended before, on Linux: all processes of
    /// this machine, or of this container, with the mark of a worker that does not run any more.
    ///
    /// # Errors
    /// The system gives no thread, or does not show what runs.
    pub fn new() -> io::Result<Self> {
        let worker = WorkerMark { realm: os::realm()?, identity: this_process()? };
        let mut bare = Bare::default();
        end_lost(&worker, &mut bare)?;
        let (starts, to_start) = mpsc::channel::<Start>();
        let (looks, to_look) = mpsc::channel();
        begin("session-launcher", move || {
            for Start { command, launch: unheld, runtime, reply } in to_start {
                // With this thread all programs would end.
                let started = catch_unwind(AssertUnwindSafe(|| command.spawn(&runtime)));
                let started = started.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                // One that nobody waits for any more is killed as it is dropped.
                let _ = reply.send(started.map(|leader| Launched { leader, unheld }));
            }
        })?;
        begin("session-survey", move || look(&to_look, bare))?;
        let launches = AtomicU64::new(1);
        let memory_kills = AtomicU64::new(os::memory_kills().unwrap_or(0));
        let inner = Inner { starts, looks, worker, launches, memory_kills };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts a program, on the thread for that.
    pub(super) async fn spawn(
        &self,
        command: Command,
        session: SessionId,
        launch: &LaunchId,
    ) -> io::Result<Launched> {
        let (reply, started) = oneshot::channel();
        let starting = Starting::begin(session);
        let launch = Unheld(Some((self.inner.looks.clone(), launch.clone(), starting)));
        let start = Start { command, launch, runtime: Handle::current(), reply };
        self.inner.starts.send(start).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }

    /// What runs at a moment after this was called. Those who ask at the same time share one look.
    pub(super) async fn survey(&self) -> io::Result<Arc<Survey>> {
        self.look(Look::Tell).await
    }

    /// The same, while a signal is sent to whatever is seen with the mark of a launch.
    pub(super) async fn survey_and_signal(
        &self,
        launch: &LaunchId,
        signal: Signal,
    ) -> io::Result<Arc<Survey>> {
        self.look(|reply| Look::TellAfter(signal, launch.clone(), reply)).await
    }

    async fn look(
        &self,
        look: impl FnOnce(oneshot::Sender<io::Result<Arc<Survey>>>) -> Look,
    ) -> io::Result<Arc<Survey>> {
        let (reply, seen) = oneshot::channel();
        self.inner.looks.send(look(reply)).map_err(|_| gone())?;
        seen.await.map_err(|_| gone())?
    }

    /// Kills what is left of a launch, some time.
    pub(super) fn sweep(&self, launch: &LaunchId) {
        // The thread ends after the last launcher.
        let _ = self.inner.looks.send(Look::Sweep(launch.clone(), None));
    }

    /// The mark of this process.
    pub(super) fn worker(&self) -> &WorkerMark {
        &self.inner.worker
    }

    /// Whether the system has ended a process for want of memory that was not laid to a program yet. One is now.
    pub(super) fn has_memory_kill(&self) -> bool {
        let Some(now) = os::memory_kills() else {
            return false;
        };
        let known = &self.inner.memory_kills;
        let one_more = |known| (known < now).then_some(known + 1);
        known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// A name for a launch.
    pub(super) fn launch_id(&self, run: RunId) -> LaunchId {
        LaunchId::new(run, self.inner.launches.fetch_add(1, Ordering::Relaxed))
    }
}

/// Makes this process the parent of what programs leave behind, instead of the system's first process (Linux).
///
/// It counts for the whole process, so it is for `main` to decide. Then a process whose parents are gone is still one of the
/// worker's: it shows as such in `ps`, and is reaped here when it is ended, and only if it belongs to a program of
/// ours. Containers whose first process reaps nothing need it. One that left its group and died before anybody looked stays a
/// zombie as long as the worker lives.
///
/// # Errors
/// The system does not have that.
pub fn become_subreaper() -> io::Result<()> {
    os::become_subreaper()
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launcher").finish_non_exhaustive()
    }
}

fn begin(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Looks whenever somebody asks, and as long as there is something to be swept away.
fn look(asked: &mpsc::Receiver<Look>, mut bare: Bare) {
    let mut sweeps: Vec<Sweep> = Vec::new();
    loop {
        let first = if sweeps.is_empty() {
            asked.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            asked.recv_timeout(LOOK_AGAIN)
        };
        match &first {
            Err(RecvTimeoutError::Disconnected) if sweeps.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => thread::park_timeout(LOOK_AGAIN),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
        let all: Vec<_> = first.into_iter().chain(asked.try_iter()).collect();
        let signals = all.iter().filter_map(|look| match look {
            Look::TellAfter(signal, launch, _) => Some((*signal, launch)),
            Look::Tell(_) | Look::Sweep(..) => None,
        });
        let signals: Vec<_> = signals.collect();
        let survey = os::survey(|seen| {
            let is_meant =
                |launch| seen.mark.as_ref().is_some_and(|mark| mark.is_of_launch(launch));
            for (signal, _) in signals.iter().filter(|(_, launch)| is_meant(launch)) {
                os::signal(seen.identity, *signal);
            }
        });
        let survey = survey.map(|mut survey| {
            bare.look_at(&mut survey);
            Arc::new(survey)
        });
        for look in all {
            match look {
                Look::Tell(reply) | Look::TellAfter(_, _, reply) => {
                    let seen = match &survey {
                        Ok(survey) => Ok(Arc::clone(survey)),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    // Whoever asked may be gone.
                    let _ = reply.send(seen);
                }
                Look::Sweep(launch, starting) => {
                    let until = Instant::now() + SWEEP;
                    sweeps.push(Sweep { launch, until, _starting: starting });
                }
            }
        }
        // Its group was killed before. Where nothing can be seen, no more can be done.
        sweeps.retain(|sweep| survey.as_ref().is_ok_and(|survey| sweep.goes_on(survey)));
    }
}

/// What is left of a launch is being killed.
struct Sweep {
    launch: LaunchId,
    until: Instant,
    _starting: Option<Starting>,
}

impl Sweep {
    /// Kills what is seen of it. `false` where nothing more is to be expected, or it does not help.
    fn goes_on(&self, survey: &Survey) -> bool {
        let left = survey::left_over(survey, None, |mark| mark.is_of_launch(&self.launch));
        let alive: Vec<_> = left.into_iter().filter(Member::is_alive).collect();
        alive.iter().for_each(|one| os::signal(one.identity, Signal::KILL));
        Instant::now() < self.until && (!alive.is_empty() || !survey.is_whole_since(0))
    }
}

/// Kills what has the mark of a worker that does not run any more.
fn end_lost(worker: &WorkerMark, bare: &mut Bare) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let mut survey = os::survey(|_| {})?;
        // A worker begins at once: who does not show whose it is now is left to its session.
        bare.look_at(&mut survey);
        let found = survey::lost(&survey, worker);
        if found.is_empty() {
            break;
        }
        found.into_iter().for_each(|one| os::signal(one, Signal::KILL));
    }
    Ok(())
}

fn this_process() -> io::Result<Identity> {
    let pid = i32::try_from(std::process::id()).ok();
    pid.and_then(os::identity).ok_or_else(|| io::Error::other("this process is not shown"))
}

/// How often what is to be killed is looked for. What is killed starts nothing any more, so few are enough; one that
/// cannot be killed would be found for ever.
const ROUNDS: usize = 20;
/// How long what is left of a launch is looked for: until it is known of everybody whose they are. However often others ask for a
/// look meanwhile, it does not end earlier.
const SWEEP: Duration = Duration::from_millis(1_200);
/// How long is waited before the next look for what is to be swept away.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

fn gone() -> io::Error {
    io::Error::other("the thread that starts programs is gone")
}
