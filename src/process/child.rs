//! One program that runs, with all that it starts.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{process::Child as Leader, sync::Mutex as AsyncMutex};

use super::{
    command::{Command, Program, into_io},
    ending,
    error::ProcessError,
    exit::ProcessEnd,
    input::Input,
    launcher::Launcher,
    mark::LaunchId,
    os,
    output::{Chunk, Output},
    running::Running,
    survey::{Identity, Tree},
};
use crate::{Resource, Run, RunEnd};

/// A program with all that it starts, from before its start until nothing of it is alive.
///
/// Give it into the keeping of its run before it is started, so that it is ended however the run ends:
///
/// ```no_run
/// # use sessionkeeper::process::{Child, Launcher, ProcessSpec, Program};
/// # use sessionkeeper::{Context, Outcome, Workload, WorkloadError};
/// # use std::time::Duration;
/// # struct Build { launcher: Launcher }
/// impl Workload for Build {
/// #   const KIND: &'static str = "build";
/// #   const STATE_VERSION: u32 = 1;
/// #   type State = ();
/// #   type Input = ();
///     // …
///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
///         let spec = ProcessSpec::builder("make").arg("all").build()?;
///         let program = Program::first(&spec, cx.session(), |_| None)?;
///         let make = cx.hold(Child::new(cx.run(), &self.launcher, program));
///         make.start().await?;
///         while let Some(chunk) = make.next_output().await {
///             print!("{}", chunk.text());
///         }
///         let end = make.end(Duration::from_secs(10)).await;
///         println!("{}", end.cause);
///         Ok(Outcome::Completed)
///     }
/// }
/// ```
///
/// Dropped while it runs, it is killed, and nobody waits for that.
#[derive(Debug)]
pub struct Child {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    launcher: Launcher,
    launch: LaunchId,
    program: Program,
    /// Held by who starts or ends it.
    stage: AsyncMutex<Stage>,
    running: OnceLock<Running>,
    output: AsyncMutex<Option<Output>>,
}

#[derive(Debug)]
enum Stage {
    /// Not started, and may be.
    Ready,
    /// It was started, and is not reaped.
    Started(Leader),
    /// It was ended, or will never be started.
    Over(ProcessEnd),
}

impl Child {
    /// A program that is not started yet.
    pub fn new(run: &Run, launcher: &Launcher, program: Program) -> Self {
        let launch = launcher.launch_id(run.id());
        Self {
            inner: Arc::new(Inner {
                launcher: launcher.clone(),
                launch,
                program,
                stage: AsyncMutex::new(Stage::Ready),
                running: OnceLock::new(),
                output: AsyncMutex::new(None),
            }),
        }
    }

    /// Starts it, in a process group of its own. Started already, or over, nothing is done.
    ///
    /// # Errors
    /// [`ProcessError`]; nothing was started.
    ///
    /// # Cancel safety
    /// Dropped, the start goes on; [`end`](Self::end) waits for it.
    pub async fn start(&self) -> Result<(), ProcessError> {
        let inner = Arc::clone(&self.inner);
        let starting = async move {
            let mut stage = inner.stage.lock().await;
            match &*stage {
                Stage::Ready => {
                    *stage = Stage::Started(inner.start().await?);
                    Ok(())
                }
                Stage::Started(_) => Ok(()),
                Stage::Over(_) => Err(inner.not_running()),
            }
        };
        let started = tokio::spawn(starting).await;
        started.unwrap_or_else(|error| {
            let source = io::Error::other(error);
            Err(ProcessError::of_start(&self.inner.program, source))
        })
    }

    /// The number of its process, where it was started.
    pub fn pid(&self) -> Option<i32> {
        self.inner.running.get().map(|running| running.identity.pid)
    }

    /// What it is called in events.
    pub fn name(&self) -> &str {
        self.inner.program.name()
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.inner.running.get().map(|running| running.identity)
    }

    pub(super) fn launch(&self) -> &LaunchId {
        &self.inner.launch
    }

    /// What it has printed since the last call, as soon as there are whole lines: about 32 KiB at a time
    /// where it prints much. `None` at the end, which is half a second after its own end at the latest, or after that of the
    /// whole tree where [`end`](Self::end) was called before: what it has left may keep a pipe open for ever.
    ///
    /// While nobody asks, it waits as soon as its pipe is full.
    ///
    /// # Cancel safety
    /// Wholly: nothing is lost.
    pub async fn next_output(&self) -> Option<Chunk> {
        self.read(|| {}).await
    }

    /// The same; it is told whenever something was read, also where no line has ended.
    pub(super) async fn read(&self, on_read: impl Fn()) -> Option<Chunk> {
        let running = self.inner.running.get()?;
        let mut output = self.inner.output.lock().await;
        output.as_mut()?.next(running.is_silent_for_good(), on_read).await
    }

    /// Writes a line to what it reads.
    ///
    /// # Errors
    /// [`ProcessError::NoInput`] where it reads nothing.
    ///
    /// # Cancel safety
    /// Dropped before it has begun, nothing is written; after that the line is written to its end.
    pub async fn write_line(&self, line: &str) -> Result<(), ProcessError> {
        let running = self.inner.running.get().ok_or_else(|| self.inner.not_running())?;
        running.input.write_line(line).await.map_err(|source| self.inner.no_input(source))
    }

    /// Ends what it reads: the end of the file, or for a terminal its sign.
    pub async fn close_input(&self) {
        if let Some(running) = self.inner.running.get() {
            running.input.close().await;
        }
    }

    /// Waits until the program itself has exited. What it has started may still run.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn exited(&self) {
        if let Some(running) = self.inner.running.get() {
            running.seen_exiting().await;
        }
    }

    /// Sends SIGINT to its process group, as Ctrl-C does on a terminal. What does not catch it ends.
    pub async fn interrupt(&self) {
        let stage = self.inner.stage.lock().await;
        if let (Stage::Started(_), Some(running)) = (&*stage, self.inner.running.get()) {
            running.signal_group(Signal::INT);
        }
    }

    /// Freezes it with all that it has started: nothing of it runs on return.
    pub async fn freeze(&self) {
        let stage = self.inner.stage.lock().await;
        if let (Stage::Started(_), Some(running)) = (&*stage, self.inner.running.get()) {
            let mut tree = running.tree.lock().await;
            ending::freeze(&self.inner.launcher, &mut tree, running).await;
        }
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        let stage = self.inner.stage.lock().await;
        if let (Stage::Started(_), Some(running)) = (&*stage, self.inner.running.get()) {
            let mut tree = running.tree.lock().await;
            ending::thaw(&self.inner.launcher, &mut tree, running).await;
        }
    }

    /// Ends it with all that it has started, and says how that went: SIGTERM, after the grace SIGKILL. Nothing
    /// of it is alive on return.
    ///
    /// Where the program itself had exited before, what it has left is ended in the same way.
    ///
    /// # Cancel safety
    /// Dropped, whatever was sent was sent; a second call begins anew and ends what is left.
    pub async fn end(&self, grace: Duration) -> ProcessEnd {
        let mut stage = self.inner.stage.lock().await;
        let end = match (&mut *stage, self.inner.running.get()) {
            (Stage::Over(end), _) => return end.clone(),
            (Stage::Started(leader), Some(running)) => {
                running.end(&self.inner.launcher, leader, grace).await
            }
            // What was started is known to run.
            (Stage::Ready | Stage::Started(_), _) => ProcessEnd::never_started(),
        };
        *stage = Stage::Over(end.clone());
        end
    }
}

impl Resource for Child {
    /// Ends it: SIGTERM, and SIGKILL after a second. What it prints meanwhile is not kept.
    async fn close(&self, _end: &RunEnd) {
        let reading = async { while self.next_output().await.is_some() {} };
        tokio::join!(self.end(CLOSE_GRACE), reading);
    }
}

/// How long a program may take to end where its run is gone already: a run's clean-up has some seconds for all
/// that the run holds.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(1);

impl Inner {
    async fn start(&self) -> Result<Leader, ProcessError> {
        let refused = |error| ProcessError::of_start(&self.program, error);
        let worker = self.launcher.worker();
        let (terminal, command) = match self.program.terminal {
            Some(size) => {
                let refused = |error| ProcessError::of_terminal(&self.program, into_io(error));
                let (terminal, other) = pty_process::open().map_err(refused)?;
                let size = pty_process::Size::new(size.rows, size.columns);
                terminal.resize(size).map_err(refused)?;
                let command = Command::on_terminal(&self.program, &self.launch, worker, other);
                (Some(terminal), command)
            }
            None => (None, Command::piped(&self.program, &self.launch, worker)),
        };
        let mut launched = self
            .launcher
            .spawn(command, self.program.session, &self.launch)
            .await
            .map_err(refused)?;
        let leader = launched.leader();
        let pid = leader.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let exit = os::Exit::of(pid).map_err(refused)?;
        let identity = os::identity(pid).unwrap_or(Identity { pid, began: 0 });
        let has_terminal = terminal.is_some();
        let (input, output) = match terminal {
            Some(terminal) => {
                let (reader, writer) = terminal.into_split();
                let input = Input::terminal(writer, &self.program.stdin);
                (input, Output::terminal(reader, &self.program))
            }
            None => {
                let input = Input::pipe(leader.stdin.take(), &self.program.stdin);
                (input, Output::pipes(leader.stdout.take(), leader.stderr.take(), &self.program))
            }
        };
        *self.output.lock().await = Some(output);
        let tree = Tree::new(pid, self.launch.clone());
        let running = Running::new(identity, exit, tree, input, has_terminal);
        // Only the one who holds the stage comes here, once.
        let _ = self.running.set(running);
        Ok(launched.keep())
    }

    fn not_running(&self) -> ProcessError {
        let (session, program) = (self.program.session, self.program.program.clone());
        ProcessError::NotRunning { session, program }
    }

    fn no_input(&self, source: Option<io::Error>) -> ProcessError {
        let (session, program) = (self.program.session, self.program.program.clone());
        ProcessError::NoInput { session, program, source }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let (Stage::Started(_), Some(running)) = (self.stage.get_mut(), self.running.get()) {
            running.signal_group(Signal::KILL);
            self.launcher.sweep(&self.launch);
        }
    }
}
