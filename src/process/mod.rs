//! Programs as sessions: an agent CLI, a shell, a build.
//!
//! [`ProcessWorkload`] runs what a [`ProcessSpec`] describes, one program for each session. Workloads of your own can use
//! its parts: a [`Launcher`] and a [`Child`].
//!
//! # What belongs to a program
//!
//! A program has a process group of its own. What it starts belongs to it, also where that has left the
//! group: each process has `SESSIONKEEPER_SESSION` and `SESSIONKEEPER_LAUNCH` in its environment, which is looked for in
//! `/proc`. A process that has left the group *and* dropped its environment is found only while a process of the
//! tree is its parent. On macOS, where environments are not shown, only the group is ended, and what descends from it.
//!
//! # The end
//!
//! SIGTERM goes to the group, then to those who have left it. After the grace SIGKILL goes to all that are left, again and again
//! until nothing is alive, which includes what the program starts meanwhile. Only then is a session reported stopped or
//! paused. A program that exits by itself ends in the same way: what it has left behind is not wanted any more.
//! [`ProcessEnd`] says how it went, in an event and in the state.
//!
//! A run that did not end its program, because it was cancelled or panicked, leaves SIGTERM a second. A process that cannot be killed
//! (it hangs in the kernel) is waited for as long as the run may take to be gone, see
//! [`Policy::cancel_grace`](crate::Policy::cancel_grace); the log warns then, and it is sought again when the session goes on.
//!
//! The program of a session that is frozen while the session is rolled over goes on in the successor, if that begins with the state
//! of the session; otherwise it is ended, and the successor starts its own.
//!
//! # The loss of the worker
//!
//! On Linux the system kills a program when its worker is gone; one with a terminal is sent SIGHUP. What is left is ended
//! by the next [`Launcher`], whichever sessions it belongs to: everything on the machine, or in the container, that has the mark of
//! a worker which does not run any more. A session that goes on looks once more for what its record names: its
//! program by number, begin and start of the machine, and what has its mark. A process that has got a number anew is never touched.
//! On macOS the record is all there is.
//!
//! Orphans become children of the process that asked for that: see [`become_subreaper`].
//!
//! # Liveness
//!
//! Output is activity, also where no line has ended. A program that prints nothing for `heartbeat_timeout` is taken for hung, unless its spec says that it is
//! quiet by nature. Where an agent says when it is done with an input ([`MapJson::tells_turns`]), it is at rest until the next,
//! and `idle_timeout` counts. The end of a program is seen at once.

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("the feature `process` is for Linux and macOS: it needs process groups and signals");

mod child;
mod command;
mod ending;
mod error;
mod exit;
mod input;
mod job;
mod json;
mod launcher;
mod left_over;
mod lines;
mod mark;
mod os;
mod output;
mod running;
mod secrets;
mod spec;
mod starting;
mod survey;
mod template;
#[cfg(test)]
mod tests;
mod transcript;
mod workload;

pub use self::{
    child::Child,
    command::Program,
    error::ProcessError,
    exit::{ExitCause, ProcessEnd, StoppedBy},
    json::{KeepJson, MapJson, Mapped, StreamJson},
    launcher::{Launcher, become_subreaper},
    output::Chunk,
    spec::{
        Environment, EnvironmentBase, InterruptBy, InvalidSpec, OnPause, OutputFormat, ProcessSpec,
        ProcessSpecBuilder, Silence, Stdin, TerminalSize, Value, WhenBehind,
    },
    template::{InvalidTemplate, Template},
    workload::{ProcessInput, ProcessState, ProcessWorkload},
};
