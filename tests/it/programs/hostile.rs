//! Programs that do everything a program must not do: a session beside them is served as if they were not there, and
//! they end when they are told to, with all that is theirs.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, StreamExt, stream};
#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};
use sessionkeeper::{
    Event, Fact, Limit, Settled, State,
    process::{
        ExitCause, OnPause, OutputFormat, ProcessInput, ProcessSpec, ProcessSpecBuilder, Stdin,
    },
};
use tokio::time::timeout;

#[cfg(target_os = "linux")]
use super::kit::printed;
use super::kit::{Handle, Worker, alive, events, gone, has_printed, settled, state, told, trial};

/// How long what takes a second at most may take on a machine that does other things.
const SOON: Duration = Duration::from_secs(20);

/// How a program is run that does something bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Lines,
    /// Its output is taken for objects, and it is sent much that it does not read.
    Inputs,
    Terminal,
}

use With::{Inputs, Lines, Terminal};

/// Those that live until they are ended.
const LASTING: &[(&str, With)] = &[
    ("deaf", Lines),
    ("deaf", Terminal),
    ("closes-output", Lines),
    ("closes-output", Inputs),
    ("closes-input", Inputs),
    ("never-reads", Inputs),
    ("leaves-group", Lines),
    ("halts", Lines),
    ("halts", Inputs),
    ("halts-all", Lines),
    ("signals-itself", Lines),
    ("garbage", Lines),
    ("garbage", Inputs),
    ("garbage", Terminal),
    ("floods", Lines),
    ("floods", Inputs),
    ("drops-marks", Lines),
    ("removes-folder", Lines),
    ("false-results", Lines),
    ("false-results", Inputs),
    ("deep", Lines),
    ("deep", Inputs),
    ("huge", Lines),
    ("huge", Inputs),
];

/// Those that live on as others, again and again, or as many. They leave a machine little time.
const STORMS: &[(&str, With)] = &[("multiplies", Lines), ("chain", Lines), ("chain-away", Lines)];

/// Those that end by themselves, and how.
const BRIEF: &[(&str, With, ExitCause)] = &[
    ("kills-all", Lines, ExitCause::Signaled { signal: 9 }),
    ("terms-itself", Lines, ExitCause::Signaled { signal: 15 }),
    ("exits-at-once", Inputs, ExitCause::Exited { code: 0 }),
    ("becomes-daemon", Lines, ExitCause::Exited { code: 0 }),
];

/// What is done to their sessions.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Stop,
    Kill,
    Pause,
    Freeze,
    Shutdown,
}

const VERBS: [Verb; 5] = [Verb::Stop, Verb::Kill, Verb::Pause, Verb::Freeze, Verb::Shutdown];

#[tokio::test]
async fn nobody_suffers_from_a_program_that_lasts() {
    report(under_all_verbs(LASTING), 12).await;
}

#[tokio::test]
async fn nobody_suffers_from_programs_that_multiply() {
    report(under_all_verbs(STORMS), 1).await;
}

fn under_all_verbs(
    misdeeds: &'static [(&str, With)],
) -> impl Iterator<Item = impl Future<Output = Option<String>>> {
    let cells = misdeeds.iter().flat_map(|misdeed| VERBS.map(|verb| (*misdeed, verb)));
    cells.map(|((what, with), verb)| {
        checked(format!("{what} with {with:?}, {verb:?}"), lasts(what, with, verb))
    })
}

#[tokio::test]
async fn nobody_suffers_from_a_program_that_ends() {
    let checks = BRIEF.iter().map(|(what, with, cause)| {
        checked(format!("{what} with {with:?}"), ends(what, *with, *cause))
    });
    report(checks, 12).await;
}

/// Gives what is wrong, so that one does not hide the others.
async fn checked(name: String, check: impl Future<Output = ()>) -> Option<String> {
    let panic = AssertUnwindSafe(check).catch_unwind().await.err()?;
    let said = panic.downcast_ref::<String>().map(String::as_str);
    Some(format!("{name}: {}", said.or(panic.downcast_ref().copied()).unwrap_or_default()))
}

async fn report(
    checks: impl Iterator<Item = impl Future<Output = Option<String>>>,
    at_once: usize,
) {
    let bad = stream::iter(checks).buffer_unordered(at_once).filter_map(std::future::ready);
    let bad: Vec<_> = bad.collect().await;
    assert!(bad.is_empty(), "{} bad cells:\n{}", bad.len(), bad.join("\n"));
}

fn hostile(what: &str, with: With) -> ProcessSpecBuilder {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = folder.join("tests/it/programs/hostile.sh");
    let spec = ProcessSpec::builder("sh").arg(script.to_string_lossy()).arg(what);
    let spec = spec.stop_grace(Duration::from_millis(300));
    match with {
        Lines => spec,
        Inputs => spec.stdin(Stdin::Open).output(OutputFormat::JsonLines),
        Terminal => spec.terminal(24, 80),
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what} takes longer than {SOON:?}"))
}

/// A session like any other, beside a hostile one.
struct Neighbour {
    session: Handle,
    turns: u64,
}

impl Neighbour {
    async fn beside(worker: &Worker) -> Self {
        let agent = trial(&["agent"]).stdin(Stdin::Open).output(OutputFormat::JsonLines);
        Self { session: worker.run(agent.build().unwrap()).await, turns: 0 }
    }

    /// Is served, as ever.
    async fn is_served(&mut self) {
        self.turns += 1;
        let text = ProcessInput::Text(format!("turn {}", self.turns));
        soon("a send to the neighbour", self.session.send(text)).await.unwrap();
        soon("its turn", super::kit::turn_done(&self.session, self.turns)).await;
    }

    /// Checks that it had one program, which was asked everything once.
    async fn is_whole(&self) {
        assert_eq!(told(&self.session, "process_started").await.len(), 1, "the neighbour");
        let answers =
            events(&self.session).await.into_iter().filter_map(|event| match event.fact {
                Fact::Work(Event::Completion { message, .. }) => Some(message),
                _ => None,
            });
        let expected = (1..=self.turns).map(|turn| format!("did turn {turn}"));
        assert!(answers.eq(expected), "the neighbour: {:?}", events(&self.session).await);
    }
}

async fn lasts(what: &str, with: With, verb: Verb) {
    let worker = Worker::start().await;
    let mut neighbour = Neighbour::beside(&worker).await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let mut spec = hostile(what, with).folder(&place);
    if let Verb::Freeze = verb {
        spec = spec.on_pause(OnPause::Freeze(Limit::Never));
    }
    let session = worker.run(spec.build().unwrap()).await;
    soon("its misdeed", has_printed(&session, "ready")).await;
    if with == Inputs {
        for _ in 0..3 {
            session.send(ProcessInput::Text("x".repeat(200_000))).await.unwrap();
        }
    }
    neighbour.is_served().await;
    match verb {
        Verb::Stop => {
            let stop = soon("a stop", session.stop()).await.unwrap();
            soon("its end", stop.ended()).await.unwrap();
            assert_eq!(session.status().await.unwrap().state(), State::Stopped);
            let cause = state(&session).await.end.unwrap().cause;
            assert!(matches!(cause, ExitCause::Stopped { .. }), "{cause:?}");
        }
        Verb::Kill => {
            let stop = soon("a kill", session.kill()).await.unwrap();
            soon("its end", stop.ended()).await.unwrap();
        }
        Verb::Pause => drop(soon("a pause", session.pause()).await.unwrap()),
        Verb::Freeze => {
            soon("a pause", session.pause()).await.unwrap();
            neighbour.is_served().await;
            stands_still(&session);
            soon("a resume", session.resume()).await.unwrap();
            let stop = soon("a stop", session.stop()).await.unwrap();
            soon("its end", stop.ended()).await.unwrap();
        }
        Verb::Shutdown => {
            neighbour.is_whole().await;
            let report = soon("a shutdown", worker.supervisor.shutdown(SOON)).await;
            assert!(report.took < SOON / 2, "a shutdown took {:?}", report.took);
            gone(session.id());
            return gone(neighbour.session.id());
        }
    }
    gone(session.id());
    neighbour.is_served().await;
    neighbour.is_whole().await;
    worker.supervisor.shutdown(SOON).await;
    gone(neighbour.session.id());
}

/// Checks that nothing of a session runs.
fn stands_still(session: &Handle) {
    for pid in alive(session.id()).unwrap_or_default() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let state = stat.rsplit(')').next().unwrap().trim_start();
        // One that shares its memory with a frozen child waits for that.
        assert!(state.starts_with(['T', 'D']), "{pid} is not frozen: {stat}");
    }
}

async fn ends(what: &str, with: With, expected: ExitCause) {
    let worker = Worker::start().await;
    let mut neighbour = Neighbour::beside(&worker).await;
    let session = worker.run(hostile(what, with).build().unwrap()).await;
    if with == Inputs {
        // It may be over by now.
        drop(session.send(ProcessInput::Text("x".repeat(200_000))).await);
    }
    let settled = settled(&session).await;
    let is_success = expected == ExitCause::Exited { code: 0 };
    assert_eq!(matches!(settled, Settled::Completed(_)), is_success, "{settled:?}");
    assert_eq!(state(&session).await.end.unwrap().cause, expected);
    gone(session.id());
    neighbour.is_served().await;
    neighbour.is_whole().await;
}

/// What shares its memory with a child that becomes another program waits for that, and does not stand still before.
#[tokio::test]
async fn a_program_is_frozen_also_while_it_starts_another() {
    let worker = Worker::start().await;
    let spec = hostile("chain", Lines).on_pause(OnPause::Freeze(Limit::Never)).build().unwrap();
    let session = worker.run(spec).await;
    has_printed(&session, "ready").await;
    for _ in 0..30 {
        soon("a pause", session.pause()).await.unwrap();
        stands_still(&session);
        soon("a resume", session.resume()).await.unwrap();
    }
    assert_eq!(told(&session, "process_started").await.len(), 1);
    session.stop().await.unwrap().ended().await.unwrap();
    gone(session.id());
}

/// The limit of what is found, as the documentation has it: it has dropped its marks, and nobody in the tree is its parent.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_hides_well_holds_up_nobody() {
    let worker = Worker::start().await;
    let mut neighbour = Neighbour::beside(&worker).await;
    let session = worker.run(hostile("hides", Lines).build().unwrap()).await;
    has_printed(&session, "ready").await;
    let text = printed(&session).await.0;
    let hidden = text.lines().find_map(|line| line.strip_prefix("hidden ")).unwrap();
    let hidden = Pid::from_raw(hidden.parse().unwrap()).unwrap();
    let stop = soon("a stop", session.stop()).await.unwrap();
    soon("its end", stop.ended()).await.unwrap();
    gone(session.id());
    neighbour.is_served().await;
    neighbour.is_whole().await;
    kill_process(hidden, Signal::KILL).unwrap();
}
