//! The workload that runs a program.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{Fuse, FusedFuture},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    child::Child,
    command::Program,
    error::ProcessError,
    exit::{ExitCause, ProcessEnd},
    job::{Job, Reading},
    json::{KeepJson, MapJson},
    launcher::Launcher,
    left_over::Launch,
    spec::{OnPause, OutputFormat, ProcessSpec, Silence, Stdin},
    transcript::{Summary, Transcript},
};
use crate::{
    AwaitingGuard, BusyGuard, Context, Event, ExternalId, Held, Limit, Outcome, Resource, Run,
    RunEnd, Workload, WorkloadError, YieldReason, YieldRequest,
};

/// How long it may take until a program runs: what the last one left is ended before, and a busy machine takes its time.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take, beside its grace, until a program is frozen or nothing of it is alive, and everything of it is recorded.
const LEAVE_WITHIN: Duration = Duration::from_secs(60);
/// How much of the time that a run has for yielding its program may take for ending.
const SHARE_OF_GRACE: f64 = 0.8;

/// Runs programs as sessions: one program, with all that it starts, for each.
pub struct ProcessWorkload<M = KeepJson> {
    launcher: Launcher,
    secrets: Secrets,
    mapper: M,
}

/// Gives the value of a secret by its name.
type Secrets = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What survives of a session that runs a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessState {
    /// What is run.
    pub spec: ProcessSpec,
    /// How often it was started.
    pub starts: u32,
    /// How many lines it has printed, in all its starts.
    pub lines: u64,
    /// The last of them that is not empty, cut to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_line: Option<String>,
    /// The program's own id of the session, for its resume command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// How the program ended, if it does not run. After a run that could not say it, because it was cancelled or its
    /// session was paused, the session's events have it; of a program that was frozen for too long, or until its
    /// worker shut down, the trace alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ProcessEnd>,
    /// What may be alive of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    launch: Option<Launch>,
}

impl From<ProcessSpec> for ProcessState {
    fn from(spec: ProcessSpec) -> Self {
        Self {
            spec,
            starts: 0,
            lines: 0,
            last_line: None,
            external_id: None,
            end: None,
            launch: None,
        }
    }
}

/// What can be sent to a session that runs a program. It is written to what the program reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProcessInput {
    /// A line of text.
    Text(String),
    /// A JSON value, on one line.
    Json(serde_json::Value),
    /// The end of the file: nothing follows.
    EndOfFile,
}

impl ProcessWorkload {
    /// Programs that print what they like. They have no secrets.
    pub fn new(launcher: Launcher) -> Self {
        Self { launcher, secrets: Arc::new(|_| None), mapper: KeepJson }
    }
}

impl<M> ProcessWorkload<M> {
    /// Where the values of secrets come from, by the names that specs have for them.
    #[must_use]
    pub fn secrets(
        mut self,
        secrets: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.secrets = Arc::new(secrets);
        self
    }

    /// What the objects mean that programs print, where a spec says that they do.
    pub fn map_json<N: MapJson>(self, mapper: N) -> ProcessWorkload<N> {
        ProcessWorkload { launcher: self.launcher, secrets: self.secrets, mapper }
    }
}

impl<M> fmt::Debug for ProcessWorkload<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessWorkload").finish_non_exhaustive()
    }
}

impl<M: MapJson> Workload for ProcessWorkload<M> {
    const KIND: &'static str = "process";
    const STATE_VERSION: u32 = 1;
    type State = ProcessState;
    type Input = ProcessInput;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let run = cx.run().clone();
        let starting = run.busy_guard(START_WITHIN);
        let held = cx.take_held::<Job<M>>();
        let is_ours = |job: &Held<Job<M>>| {
            cx.state().launch.as_ref().is_some_and(|launch| launch.is_of(&job.child))
        };
        let job = match held {
            Some(job) if is_ours(&job) => {
                job.hand_to(&run).await;
                job
            }
            // The session before this one, which was rolled over, has left a program that is not wanted.
            Some(job) => {
                job.close(&RunEnd::Cancelled).await;
                for words in job.last_words() {
                    cx.emit(words).await?;
                }
                self.launch(cx).await?
            }
            None => self.launch(cx).await?,
        };
        let mut reading = Reading::begin(&run, &job);
        drop(starting);
        let left = self.attend(cx, &job, &mut reading).await?;
        // That it prints nothing means nothing from here on.
        let _leaving = run.busy_guard(cx.state().spec.stop_grace().saturating_add(LEAVE_WITHIN));
        let grace = match left {
            Left::Asked(request) if self.freezes(cx, request) => {
                job.child.freeze().await;
                reading.abort().await;
                job.read_rest().await;
                job.note(cx.state_mut());
                cx.save_progress().await?;
                return Ok(Outcome::Yielded);
            }
            Left::Asked(request) => grace(cx, request),
            // What it has left behind is not wanted any more, and may print for ever.
            Left::Exited => cx.state().spec.stop_grace(),
        };
        let (end, read) = tokio::join!(job.child.end(grace), reading.done());
        read?;
        self.settle(cx, &job, end).await
    }
}

/// Why a run does not attend to its program any more.
enum Left {
    /// The program has exited.
    Exited,
    /// The run is to yield.
    Asked(YieldRequest),
}

impl<M: MapJson> ProcessWorkload<M> {
    /// Starts the program: what may be left of the last start is ended before. That it is about to be started is
    /// durable before it is, so that a worker that is killed leaves nothing that is not known.
    async fn launch(&self, cx: &mut Context<Self>) -> Result<Held<Job<M>>, WorkloadError> {
        let session = cx.session();
        if let Some(launch) = cx.state().launch.clone() {
            let killed = launch.end(session, &self.launcher).await?;
            if killed > 0 {
                let told = json!({ "killed": killed });
                cx.emit(Event::custom("process_left_over", told)).await?;
            }
        }
        let state = cx.state();
        let secret = |name: &str| (self.secrets)(name);
        let program = match state.starts {
            0 => Program::first(&state.spec, session, secret),
            _ => {
                let external = state.external_id.as_ref();
                Program::resumed(&state.spec, session, external, secret)
            }
        };
        let program = program.map_err(ProcessError::into_workload_error)?;
        let job = self.hold(cx, program);
        let state = cx.state_mut();
        state.end = None;
        state.launch = Some(Launch::of(&job.child, &self.launcher));
        cx.save_progress().await?;
        job.child.start().await.map_err(ProcessError::into_workload_error)?;
        let state = cx.state_mut();
        state.starts = state.starts.saturating_add(1);
        state.launch = Some(Launch::of(&job.child, &self.launcher));
        cx.save_progress().await?;
        let (program, starts) = (job.child.name().to_owned(), cx.state().starts);
        let told = json!({ "program": program, "pid": job.child.pid(), "start": starts });
        cx.emit(Event::custom("process_started", told)).await?;
        Ok(job)
    }

    fn hold(&self, cx: &Context<Self>, program: Program) -> Held<Job<M>> {
        let (run, spec) = (cx.run(), &cx.state().spec);
        let transcript = Transcript::new(run.clone(), &program, spec, self.mapper.clone());
        let child = Child::new(run, &self.launcher, program);
        let job = Job::new(child, transcript, spec);
        match spec.on_pause() {
            OnPause::Stop => run.hold(job),
            OnPause::Freeze(Limit::After(limit)) => run.hold_while_paused(job, limit),
            OnPause::Freeze(Limit::Never) => run.hold_while_paused(job, Duration::MAX),
        }
    }

    /// Gives the program its inputs until it exits, or the run is to yield.
    async fn attend(
        &self,
        cx: &mut Context<Self>,
        job: &Held<Job<M>>,
        reading: &mut Reading,
    ) -> Result<Left, WorkloadError> {
        let run = cx.run().clone();
        let silence = cx.state().spec.silence();
        let rests = self.tells_turns(&cx.state().spec);
        let mut summary = job.summary.clone();
        let mut turn = pin!(Fuse::terminated());
        loop {
            let is_in_turn = !turn.is_terminated();
            let is_at_rest = rests && !is_in_turn;
            let _alive = if is_at_rest { Sign::Nothing } else { Sign::working(&run, silence) };
            let known = cx.state().external_id.clone();
            let is_news = |now: &Summary| now.external_id.is_some() && now.external_id != known;
            // The sender lives in the job.
            let new_id = async { drop(summary.wait_for(is_news).await) };
            tokio::select! {
                biased;
                () = job.child.exited() => return Ok(Left::Exited),
                // It prints no more and lives on, unless recording it went wrong.
                read = reading.done(), if !reading.is_over() => read?,
                () = &mut turn, if is_in_turn => job.note(cx.state_mut()),
                request = run.yield_requested(), if is_in_turn => {
                    return Ok(Left::Asked(request));
                }
                () = new_id => {
                    // What goes on with it after a crash must know it.
                    job.note(cx.state_mut());
                    cx.save_progress().await?;
                }
                input = cx.next_input(), if !is_in_turn => match input? {
                    Some(input) => turn.set(job.turn(run.clone(), input, rests).fuse()),
                    None if run.is_yield_requested() => {
                        return Ok(Left::Asked(run.yield_requested().await));
                    }
                    // The request was withdrawn.
                    None => {}
                },
            }
        }
    }

    /// Whether a pause freezes the program.
    fn freezes(&self, cx: &Context<Self>, request: YieldRequest) -> bool {
        match (request.reason, cx.state().spec.on_pause()) {
            (YieldReason::Pause, OnPause::Freeze(_)) => true,
            (
                YieldReason::Pause
                | YieldReason::Stop
                | YieldReason::Shutdown
                | YieldReason::Rollover,
                _,
            ) => false,
        }
    }

    /// Whether a program says when it is done with an input.
    fn tells_turns(&self, spec: &ProcessSpec) -> bool {
        let is_asked = *spec.stdin() == Stdin::Open;
        is_asked && spec.output() == OutputFormat::JsonLines && self.mapper.tells_turns()
    }

    /// Records how the program has ended, and says what follows for its session.
    async fn settle(
        &self,
        cx: &mut Context<Self>,
        job: &Held<Job<M>>,
        end: ProcessEnd,
    ) -> Result<Outcome, WorkloadError> {
        job.tell_end(&end).await;
        job.note(cx.state_mut());
        let is_success = job.is_success(&end);
        let (session, cause) = (cx.session(), end.cause);
        let state = cx.state_mut();
        state.launch = None;
        state.end = Some(end);
        if is_success {
            return Ok(Outcome::Completed);
        }
        // Where an input is in hand, the state is committed without it.
        cx.save_progress().await?;
        match cause {
            ExitCause::Stopped { .. } => Ok(Outcome::Yielded),
            ExitCause::Exited { .. }
            | ExitCause::Signaled { .. }
            | ExitCause::OutOfMemory
            | ExitCause::Unknown
            | ExitCause::NotStarted => {
                let program = job.child.name().to_owned();
                Err(ProcessError::Failed { session, program, cause }.into())
            }
        }
    }
}

/// How long a program may take to end where its run is to yield.
fn grace<M: MapJson>(cx: &Context<ProcessWorkload<M>>, request: YieldRequest) -> Duration {
    let left = request.deadline.since(cx.now()).mul_f64(SHARE_OF_GRACE);
    cx.state().spec.stop_grace().min(left)
}

/// What a run shows of itself while its program does something.
enum Sign {
    Nothing,
    /// Its output is its sign of life.
    Working {
        _until: BusyGuard,
    },
    /// That it is alive is.
    Alive {
        _guard: AwaitingGuard,
    },
}

impl Sign {
    fn working(run: &Run, silence: Silence) -> Self {
        match silence {
            Silence::Counts => Self::Working { _until: run.busy_guard(Duration::ZERO) },
            Silence::Ok => Self::Alive { _guard: run.awaiting("the program") },
        }
    }
}
