//! What is to run and how: plain data that a session keeps in its state.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::invalid::InvalidSpec;
use super::template::Template;
use crate::{Limit, policy::duration};

mod invalid;

/// A program to run as a session, as it is written down:
///
/// ```
/// use sessionkeeper::process::ProcessSpec;
///
/// let spec: ProcessSpec = serde_json::from_str(
///     r#"{
///         "program": "agent",
///         "args": ["--json"],
///         "folder": "/srv/repository",
///         "environment": { "set": { "LANG": "C", "API_KEY": { "secret": "agent_key" } } },
///         "stdin": "open",
///         "output": "json_lines",
///         "resume": ["agent", "--json", "--resume", "{external_id}"],
///         "on_pause": { "freeze": "10m" },
///         "stop_grace": "20s"
///     }"#,
/// )?;
/// # assert_eq!(spec.program(), "agent");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// It is stored with the session, so what is secret is not in it: an environment variable can name a secret,
/// which the workload looks up when the program is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct ProcessSpec(Fields);

/// The fields of a [`ProcessSpec`], unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    program: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    #[serde(default)]
    environment: Environment,
    #[serde(default)]
    stdin: Stdin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terminal: Option<TerminalSize>,
    #[serde(default)]
    output: OutputFormat,
    #[serde(default)]
    when_behind: WhenBehind,
    #[serde(default = "only_zero")]
    success_codes: Vec<i32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resume: Vec<Template>,
    #[serde(default)]
    on_pause: OnPause,
    #[serde(default, skip_serializing_if = "InterruptBy::is_nothing")]
    interrupt_by: InterruptBy,
    #[serde(default = "ten_seconds", with = "duration")]
    stop_grace: Duration,
    #[serde(default)]
    silence: Silence,
}

fn only_zero() -> Vec<i32> {
    vec![0]
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// The environment of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// What it begins with.
    pub base: EnvironmentBase,
    /// What is added, or takes the place of what was inherited.
    pub set: BTreeMap<String, Value>,
    /// What is taken away.
    pub remove: Vec<String>,
}

/// What an environment begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentBase {
    /// That of the worker.
    #[default]
    Inherited,
    /// Nothing.
    Empty,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// As it is written. Events and snapshots may show it.
    Plain(String),
    /// A secret, by the name that the workload knows it by. Its value is in no snapshot, and is
    /// replaced where the program prints it.
    Secret {
        /// The name.
        secret: String,
    },
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

impl Value {
    /// A secret, by the name that the workload knows it by.
    pub fn secret(name: impl Into<String>) -> Self {
        Self::Secret { secret: name.into() }
    }
}

/// What a program reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// Nothing. Inputs of the session are refused with an event.
    #[default]
    Closed,
    /// This text, and then the end of the file.
    Text(String),
    /// The inputs of the session, a line each, as long as the program runs.
    Open,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TerminalSize {
    /// How many lines.
    pub rows: u16,
    /// How many characters each has.
    pub columns: u16,
}

/// How the output of a program is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    /// Lines of text, which become [`Event::Terminal`](crate::Event::Terminal).
    #[default]
    Lines,
    /// A JSON object on each line of the standard output, which the workload's
    /// [mapper](super::ProcessWorkload::map_json) turns into events. Other lines, and standard error, are
    /// text.
    JsonLines,
}

/// What happens to output that comes faster than it can be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBehind {
    /// The program waits, as it does before a full pipe.
    #[default]
    Wait,
    /// Text is dropped, and an event says how much. What objects say is not.
    Drop,
}

/// What a pause does to a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPause {
    /// It is stopped. The resume command, or the program itself where there is none, is run when the
    /// session is resumed.
    #[default]
    Stop,
    /// It is frozen with all that it started (SIGSTOP), and goes on where it was (SIGCONT). After the limit, and when
    /// the worker shuts down, it is stopped as with [`Stop`](Self::Stop).
    Freeze(Limit),
}

/// How a program is told that its turn is [interrupted](crate::Session::interrupt). Only one that
/// [says](super::MapJson::tells_turns) when it is done with an input has turns; that is also how such a turn ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterruptBy {
    /// It is not told, and goes on to the end of its turn.
    #[default]
    Nothing,
    /// By SIGINT to its process group, as Ctrl-C does on a terminal. A program that does not catch it ends, and that is a failure.
    ///
    /// A worker that ignores SIGINT, as one does that a script has started in the background, passes that on to its programs, and some
    /// cannot be told then. One that listens for it, as [`run_until_signal`](crate::Supervisor::run_until_signal) does, does not.
    Signal,
    /// By a line among those that it reads, such as a control message.
    Line(String),
}

impl InterruptBy {
    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What it means that a program prints nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// After `heartbeat_timeout` it is taken for hung.
    #[default]
    Counts,
    /// It is quiet by nature: as long as it is alive it is well.
    Ok,
}

impl ProcessSpec {
    /// Starts from the defaults.
    pub fn builder(program: impl Into<String>) -> ProcessSpecBuilder {
        ProcessSpecBuilder(Fields {
            program: program.into(),
            args: Vec::new(),
            folder: None,
            environment: Environment::default(),
            stdin: Stdin::default(),
            terminal: None,
            output: OutputFormat::default(),
            when_behind: WhenBehind::default(),
            success_codes: only_zero(),
            resume: Vec::new(),
            on_pause: OnPause::default(),
            interrupt_by: InterruptBy::default(),
            stop_grace: ten_seconds(),
            silence: Silence::default(),
        })
    }

    /// The program: a path, or a name that is looked for in the `PATH` of the program's environment.
    pub fn program(&self) -> &str {
        &self.0.program
    }

    /// What it is given (default nothing).
    pub fn args(&self) -> &[String] {
        &self.0.args
    }

    /// The folder that it works in (default that of the worker).
    pub const fn folder(&self) -> Option<&PathBuf> {
        self.0.folder.as_ref()
    }

    /// Its environment (default that of the worker).
    pub const fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// What it reads (default nothing).
    pub const fn stdin(&self) -> &Stdin {
        &self.0.stdin
    }

    /// The terminal that it has for reading and printing (default none: pipes).
    pub const fn terminal(&self) -> Option<TerminalSize> {
        self.0.terminal
    }

    /// How its output is read (default as lines).
    pub const fn output(&self) -> OutputFormat {
        self.0.output
    }

    /// What happens to output that comes faster than it can be stored (default: the program waits).
    pub const fn when_behind(&self) -> WhenBehind {
        self.0.when_behind
    }

    /// The exit codes that mean success (default 0).
    pub fn success_codes(&self) -> &[i32] {
        &self.0.success_codes
    }

    /// The program and the arguments that go on with an earlier run (default: the same as for the first).
    pub fn resume(&self) -> &[Template] {
        &self.0.resume
    }

    /// What a pause does to it (default: it is stopped).
    pub const fn on_pause(&self) -> OnPause {
        self.0.on_pause
    }

    /// How it is told that its turn is interrupted (default: it is not).
    pub const fn interrupt_by(&self) -> &InterruptBy {
        &self.0.interrupt_by
    }

    /// How long it may take to end after SIGTERM, before SIGKILL (default 10 s). The grace of the verb that asks
    /// is a limit to it.
    pub const fn stop_grace(&self) -> Duration {
        self.0.stop_grace
    }

    /// What it means that it prints nothing (default: after `heartbeat_timeout` it is taken for hung).
    pub const fn silence(&self) -> Silence {
        self.0.silence
    }
}

/// Builds a [`ProcessSpec`]; see its methods for the meaning and default of each setting.
#[derive(Debug, Clone)]
#[must_use]
pub struct ProcessSpecBuilder(Fields);

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(#[doc = concat!("See [`ProcessSpec::", stringify!($name), "`].")]
        pub fn $name(mut self, value: impl Into<$type>) -> Self {
            self.0.$name = value.into();
            self
        })*
    };
}

impl ProcessSpecBuilder {
    setters! {
        environment: Environment,
        stdin: Stdin,
        output: OutputFormat,
        when_behind: WhenBehind,
        success_codes: Vec<i32>,
        on_pause: OnPause,
        interrupt_by: InterruptBy,
        stop_grace: Duration,
        silence: Silence,
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.0.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.0.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// See [`ProcessSpec::folder`].
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.0.folder = Some(folder.into());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.environment.set.insert(name.into(), value.into());
        self
    }

    /// See [`ProcessSpec::terminal`].
    pub fn terminal(mut self, rows: u16, columns: u16) -> Self {
        self.0.terminal = Some(TerminalSize { rows, columns });
        self
    }

    /// See [`ProcessSpec::resume`].
    ///
    /// In it `{session_id}` stands for the id of the session and `{external_id}` for its external correlation id, `{{`
    /// and `}}` for braces.
    ///
    /// # Errors
    /// [`InvalidSpec`] names what is in braces and is neither.
    pub fn resume<T: AsRef<str>>(
        mut self,
        command: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidSpec> {
        let parse = |word: T| Template::try_from(word.as_ref().to_owned());
        self.0.resume = command.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the setting and what is wrong with it.
    pub fn build(self) -> Result<ProcessSpec, InvalidSpec> {
        ProcessSpec::try_from(self.0)
    }
}

impl TryFrom<Fields> for ProcessSpec {
    type Error = InvalidSpec;

    fn try_from(fields: Fields) -> Result<Self, InvalidSpec> {
        if fields.program.is_empty() {
            return Err(InvalidSpec::Empty { setting: "program" });
        }
        let mut texts = vec![("program", &fields.program)];
        texts.extend(fields.args.iter().map(|arg| ("args", arg)));
        texts.extend(fields.resume.iter().map(|word| ("resume", word.text())));
        for (name, value) in &fields.environment.set {
            check_name(name)?;
            if let Value::Plain(value) = value {
                texts.push(("environment", value));
            }
        }
        fields.environment.remove.iter().try_for_each(|name| check_name(name))?;
        for (setting, text) in texts {
            if text.contains('\0') {
                return Err(InvalidSpec::Nul { setting });
            }
        }
        if fields.folder.as_ref().is_some_and(|folder| has_nul(folder)) {
            return Err(InvalidSpec::Nul { setting: "folder" });
        }
        if fields.success_codes.is_empty() {
            return Err(InvalidSpec::Empty { setting: "success_codes" });
        }
        if let Some(code) = fields.success_codes.iter().find(|code| !(0..256).contains(*code)) {
            return Err(InvalidSpec::Code { code: *code });
        }
        if fields.terminal.is_some_and(|size| size.rows == 0 || size.columns == 0) {
            return Err(InvalidSpec::Empty { setting: "terminal" });
        }
        if let InterruptBy::Line(line) = &fields.interrupt_by {
            if fields.stdin != Stdin::Open {
                return Err(InvalidSpec::UnreadInterrupt);
            }
            if line.is_empty() {
                return Err(InvalidSpec::Empty { setting: "interrupt_by" });
            }
        }
        Ok(Self(fields))
    }
}

impl From<ProcessSpec> for Fields {
    fn from(spec: ProcessSpec) -> Self {
        spec.0
    }
}

fn has_nul(path: &std::path::Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}

fn check_name(name: &str) -> Result<(), InvalidSpec> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(InvalidSpec::VariableName { name: name.to_owned() });
    }
    if name.starts_with(super::mark::PREFIX) {
        return Err(InvalidSpec::ReservedName { name: name.to_owned() });
    }
    Ok(())
}
