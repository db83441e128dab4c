//! The threads that start programs and look at what runs.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use tokio::{process::Child as Leader, runtime::Handle, sync::oneshot};

use rustix::process::Signal;

use super::{
    command::Command,
    mark::LaunchId,
    os,
    survey::{self, Survey},
};
use crate::RunId;

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
    boot: String,
    launches: AtomicU64,
}

struct Start {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Leader>>,
}

/// What is to be done with a look at what runs.
enum Look {
    Tell(oneshot::Sender<io::Result<Arc<Survey>>>),
    /// Kill what is left of a launch that nobody holds any more.
    Sweep(LaunchId),
}

impl Launcher {
    /// Begins its two threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new() -> io::Result<Self> {
        let (starts, to_start) = mpsc::channel::<Start>();
        let (looks, to_look) = mpsc::channel();
        begin("session-launcher", move || {
            for Start { command, runtime, reply } in to_start {
                let started = command.spawn(&runtime);
                // One that nobody waits for any more is dropped, and ended by that.
                let _ = reply.send(started);
            }
        })?;
        begin("session-survey", move || look(&to_look))?;
        let launches = AtomicU64::new(1);
        Ok(Self { inner: Arc::new(Inner { starts, looks, boot: os::boot(), launches }) })
    }

    /// Starts a program, on the thread for that.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Leader> {
        let (reply, started) = oneshot::channel();
        let start = Start { command, runtime: Handle::current(), reply };
        self.inner.starts.send(start).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }

    /// What runs at a moment after this was called. Those who ask at the same time share one look.
    pub(super) async fn survey(&self) -> io::Result<Arc<Survey>> {
        let (reply, seen) = oneshot::channel();
        self.inner.looks.send(Look::Tell(reply)).map_err(|_| gone())?;
        seen.await.map_err(|_| gone())?
    }

    /// Kills what is left of a launch, some time.
    pub(super) fn sweep(&self, launch: &LaunchId) {
        // The thread ends after the last launcher.
        let _ = self.inner.looks.send(Look::Sweep(launch.clone()));
    }

    /// Which start of the machine this is.
    pub(super) fn boot(&self) -> &str {
        &self.inner.boot
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

fn look(asked: &mpsc::Receiver<Look>) {
    while let Ok(first) = asked.recv() {
        let all: Vec<_> = std::iter::once(first).chain(asked.try_iter()).collect();
        let survey = os::survey().map(Arc::new);
        for look in all {
            match (look, &survey) {
                (Look::Tell(reply), survey) => {
                    let seen = match survey {
                        Ok(survey) => Ok(Arc::clone(survey)),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    // Whoever asked may be gone.
                    let _ = reply.send(seen);
                }
                (Look::Sweep(launch), Ok(survey)) => sweep(survey, &launch),
                // Then its group was killed, and no more can be done.
                (Look::Sweep(_), Err(_)) => {}
            }
        }
    }
}

fn sweep(survey: &Survey, launch: &LaunchId) {
    for one in survey::left_over(survey, None, |mark| mark.is_of_launch(launch)) {
        os::signal(one.identity, Signal::KILL);
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts programs is gone")
}
