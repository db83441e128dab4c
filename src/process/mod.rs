//! Programs as sessions.

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("the feature `process` is for Linux and macOS: it needs process groups and signals");

mod child;
mod command;
mod ending;
mod error;
mod exit;
mod input;
mod json;
mod launcher;
mod left_over;
mod lines;
mod mark;
mod os;
mod output;
mod secrets;
mod spec;
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
    launcher::Launcher,
    output::Chunk,
    spec::{
        Environment, EnvironmentBase, InvalidSpec, OnPause, OutputFormat, ProcessSpec,
        ProcessSpecBuilder, Silence, Stdin, TerminalSize, Value, WhenBehind,
    },
    template::{InvalidTemplate, Template},
    workload::{ProcessInput, ProcessState, ProcessWorkload},
};
