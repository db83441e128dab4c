//! A program that is ready to be started: everything looked up and filled in.

use std::{collections::BTreeMap, fmt, io, path::PathBuf, process::Stdio, sync::Arc};

use tokio::{process::Child as Leader, runtime::Handle};

use super::{
    error::ProcessError,
    mark::{self, LaunchId, WorkerMark},
    os,
    secrets::Redactor,
    spec::{EnvironmentBase, OutputFormat, ProcessSpec, Stdin, TerminalSize, Value},
};
use crate::{ExternalId, SessionId};

/// A program that is ready to be started: its secrets are looked up, its command is filled in.
#[derive(Clone)]
pub struct Program {
    pub(super) session: SessionId,
    pub(super) program: String,
    args: Vec<String>,
    pub(super) folder: Option<PathBuf>,
    base: EnvironmentBase,
    set: BTreeMap<String, String>,
    remove: Vec<String>,
    pub(super) stdin: Stdin,
    pub(super) terminal: Option<TerminalSize>,
    pub(super) output: OutputFormat,
    pub(super) redactor: Arc<Redactor>,
}

impl Program {
    /// The program of a spec, for its first run. `secret` gives the value of a secret by its name.
    ///
    /// # Errors
    /// [`ProcessError::UnknownSecret`] where it gives none.
    pub fn first(
        spec: &ProcessSpec,
        session: SessionId,
        secret: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProcessError> {
        let mut values = Vec::new();
        let mut set = BTreeMap::new();
        for (name, value) in &spec.environment().set {
            let value = match value {
                Value::Plain(value) => value.clone(),
                Value::Secret { secret: wanted } => {
                    let value = secret(wanted).ok_or_else(|| ProcessError::UnknownSecret {
                        session,
                        variable: name.clone(),
                        secret: wanted.clone(),
                    })?;
                    if value.contains('\0') {
                        return Err(ProcessError::NulInSecret { session, secret: wanted.clone() });
                    }
                    values.push(value.clone());
                    value
                }
            };
            set.insert(name.clone(), value);
        }
        Ok(Self {
            session,
            program: spec.program().to_owned(),
            args: spec.args().to_vec(),
            folder: spec.folder().cloned(),
            base: spec.environment().base,
            set,
            remove: spec.environment().remove.clone(),
            stdin: spec.stdin().clone(),
            terminal: spec.terminal(),
            output: spec.output(),
            redactor: Arc::new(Redactor::new(values.iter().map(String::as_str))),
        })
    }

    /// The program that goes on with an earlier run: the resume command of the spec. The same as the first where
    /// there is none, or where it asks for an external id and the session has none.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub fn resumed(
        spec: &ProcessSpec,
        session: SessionId,
        external: Option<&ExternalId>,
        secret: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProcessError> {
        let mut program = Self::first(spec, session, secret)?;
        let words = spec.resume().iter().map(|word| word.fill(session, external));
        if let Some(mut words) = words.collect::<Option<Vec<_>>>().filter(|words| !words.is_empty())
        {
            program.args = words.split_off(1);
            program.program = words.concat();
        }
        Ok(program)
    }

    /// How it is called in events: by the last part of its path.
    pub fn name(&self) -> &str {
        self.program.rsplit('/').next().unwrap_or(&self.program)
    }

    /// The environment that is set besides the marks of a launch.
    fn variables(&self, launch: &LaunchId, worker: &WorkerMark) -> BTreeMap<String, String> {
        let mut set = self.set.clone();
        set.insert(mark::SESSION.to_owned(), self.session.to_string());
        set.insert(mark::LAUNCH.to_owned(), launch.to_string());
        set.insert(mark::WORKER.to_owned(), worker.to_string());
        set
    }
}

impl fmt::Debug for Program {
    /// Without its arguments and its environment, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("session", &self.session)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// A command in the form in which it is started.
pub(super) enum Command {
    Piped(tokio::process::Command),
    OnTerminal(pty_process::Command, pty_process::Pts),
}

impl Command {
    /// With pipes, in a process group of its own.
    pub(super) fn piped(program: &Program, launch: &LaunchId, worker: &WorkerMark) -> Self {
        let mut command = tokio::process::Command::new(&program.program);
        command.args(&program.args).process_group(0).kill_on_drop(true);
        if let Some(folder) = &program.folder {
            command.current_dir(folder);
        }
        match program.base {
            EnvironmentBase::Inherited => {}
            EnvironmentBase::Empty => {
                command.env_clear();
            }
        }
        command.envs(program.variables(launch, worker));
        for name in &program.remove {
            command.env_remove(name);
        }
        let stdin = match &program.stdin {
            Stdin::Closed => Stdio::null(),
            Stdin::Text(_) | Stdin::Open => Stdio::piped(),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::Piped(command)
    }

    /// With a terminal, in a session of the system of its own.
    pub(super) fn on_terminal(
        program: &Program,
        launch: &LaunchId,
        worker: &WorkerMark,
        terminal: pty_process::Pts,
    ) -> Self {
        let mut command = pty_process::Command::new(&program.program).args(&program.args);
        command = command.kill_on_drop(true);
        if let Some(folder) = &program.folder {
            command = command.current_dir(folder);
        }
        command = match program.base {
            EnvironmentBase::Inherited => command,
            EnvironmentBase::Empty => command.env_clear(),
        };
        command = command.envs(program.variables(launch, worker));
        for name in &program.remove {
            command = command.env_remove(name);
        }
        Self::OnTerminal(command, terminal)
    }

    /// Starts it. On Linux it is killed when the calling thread ends; one with a terminal is sent
    /// SIGHUP when the worker ends.
    pub(super) fn spawn(self, runtime: &Handle) -> io::Result<Leader> {
        let _runtime = runtime.enter();
        match self {
            Self::Piped(command) => os::spawn(command),
            Self::OnTerminal(command, terminal) => command.spawn(terminal).map_err(into_io),
        }
    }
}

pub(super) fn into_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other @ (pty_process::Error::TokioAsyncFd(_) | pty_process::Error::Unsplit(..)) => {
            io::Error::other(other)
        }
    }
}
