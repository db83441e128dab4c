//! A program that was started: what it is known by, and how it ends.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::Child as Leader,
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, timeout},
};

use super::{
    ending::{self, Ended},
    exit::{ExitCause, ProcessEnd, StoppedBy},
    input::Input,
    launcher::Launcher,
    os,
    survey::{Identity, Tree},
};
use crate::faults::{self, Bug};

/// How long what it prints is read after its end. A process that it has left may keep the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(500);

/// What is known of a program that was started.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) identity: Identity,
    pub(super) exit: os::Exit,
    pub(super) tree: AsyncMutex<Tree>,
    pub(super) input: Input,
    began: Instant,
    exited: OnceLock<Instant>,
    /// Whether it is to end because somebody asks for that.
    asked: AtomicBool,
    phase: watch::Sender<Phase>,
    has_terminal: bool,
}

/// What it is known that is still to be printed.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nobody has asked for its end.
    Runs,
    /// It is being ended, and may have last words.
    Ends,
    /// Nothing of it is alive since then.
    Gone(Instant),
}

impl Running {
    pub(super) fn new(
        identity: Identity,
        exit: os::Exit,
        tree: Tree,
        input: Input,
        has_terminal: bool,
    ) -> Self {
        Self {
            identity,
            exit,
            tree: AsyncMutex::new(tree),
            input,
            began: Instant::now(),
            exited: OnceLock::new(),
            asked: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Runs),
            has_terminal,
        }
    }

    /// Whether the program itself has exited.
    pub(super) fn has_exited(&self) -> bool {
        // Where its end cannot be seen, it is as if it had ended.
        let has_exited = !matches!(self.exit.look(), Ok(None));
        if has_exited {
            self.exited.get_or_init(Instant::now);
        }
        has_exited
    }

    /// Waits until the program itself has exited, and says when it was seen so first.
    pub(super) async fn seen_exiting(&self) -> Instant {
        // Where its end cannot be seen, it is as if it had ended.
        let _ = self.exit.seen().await;
        *self.exited.get_or_init(Instant::now)
    }

    /// Waits until nothing that it prints is waited for any more.
    pub(super) async fn is_silent_for_good(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            let now = *phase.borrow_and_update();
            let limit = async {
                let gone = match now {
                    Phase::Runs => self.seen_exiting().await,
                    Phase::Ends if faults::planted(Bug::MissLastWords) => self.seen_exiting().await,
                    Phase::Ends => std::future::pending().await,
                    Phase::Gone(when) => when,
                };
                tokio::time::sleep_until(gone + DRAIN).await;
            };
            tokio::select! {
                () = limit => return,
                // The sender is beside it.
                _ = phase.changed() => {}
            }
        }
    }

    /// Asks the group to end. What is frozen hears it when it goes on; an interactive shell hears only that its terminal
    /// hangs up.
    pub(super) fn ask(&self) {
        self.signal_group(Signal::TERM);
        if self.has_terminal {
            self.signal_group(Signal::HUP);
        }
        self.signal_group(Signal::CONT);
    }

    /// Sends a signal to the process group. It is that of the program as long as that is not reaped.
    pub(super) fn signal_group(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.identity.pid) {
            // One without members needs none.
            let _ = kill_process_group(group, signal);
        }
    }

    pub(super) async fn end(
        &self,
        launcher: &Launcher,
        leader: &mut Leader,
        grace: Duration,
    ) -> ProcessEnd {
        let mut tree = self.tree.lock().await;
        if !self.has_exited() {
            self.asked.store(true, Ordering::Relaxed);
        }
        self.phase.send_replace(Phase::Ends);
        let Ended { killed, strays, took } = ending::end(launcher, &mut tree, self, grace).await;
        let ran_for = self.seen_exiting().await.duration_since(self.began);
        // Where its end cannot be seen, nobody knows how it was.
        let death = self.exit.look().ok().flatten().unwrap_or(os::Death::Unknown);
        self.phase.send_replace(Phase::Gone(Instant::now()));
        // A terminal that nobody reads may take no more.
        let _ = timeout(DRAIN, self.input.close()).await;
        // It has exited, so this waits for nothing.
        let _ = leader.wait().await;
        let asked = self.asked.load(Ordering::Relaxed);
        ProcessEnd {
            cause: cause(launcher, death, asked),
            ran_for_ms: millis(ran_for),
            ended_in_ms: millis(took),
            killed,
            strays,
        }
    }
}

fn cause(launcher: &Launcher, death: os::Death, asked: bool) -> ExitCause {
    match (death, asked) {
        (os::Death::Code(code), true) => ExitCause::Stopped { by: StoppedBy::Code { code } },
        (os::Death::Signal(signal), true) => {
            ExitCause::Stopped { by: StoppedBy::Signal { signal } }
        }
        (os::Death::Code(code), false) => ExitCause::Exited { code },
        (os::Death::Signal(signal), false) => {
            let by_memory = signal == Signal::KILL.as_raw() && launcher.has_memory_kill();
            if by_memory { ExitCause::OutOfMemory } else { ExitCause::Signaled { signal } }
        }
        (os::Death::Unknown, _) => ExitCause::Unknown,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
