//! How programs ended is told truly: once for each launch, by what befell it, and to the session as it is meant.

use sessionkeeper::{
    Cause, Fact, Lifecycle, RunEnd, SessionId, State,
    process::{ExitCause, ProcessEnd, StoppedBy},
};

use super::{
    Fate, Nature, Program,
    launches::{Launch, Told, ToldEnd},
};
use crate::oracle::{
    FoundSession,
    ledger::{Entry, Ledger, Verb},
};

const TERM: i32 = 15;
const KILL: i32 = 9;

pub(super) fn judge(
    session: SessionId,
    found: &FoundSession,
    ledger: &Ledger,
    nature: &Nature,
    launches: &[Launch],
    wrong: &mut Vec<String>,
) {
    let befell = Befell::read(session, ledger);
    for launch in launches {
        if launch.ends.len() > 1 {
            wrong.push(format!("one launch ended more than once: {:?}", launch.ends));
        }
        for told in &launch.ends {
            let mut false_words = Vec::new();
            false_words.extend(befell.denies(nature, told));
            false_words.extend(told_as_another(told).map(str::to_owned));
            false_words.extend(taken_for_another(found, told));
            wrong.extend(false_words.iter().map(|word| format!("{word}: {told:?}")));
        }
    }
    let kept: Option<ProcessEnd> =
        found.state.get("end").and_then(|end| serde_json::from_value(end.clone()).ok());
    let told = launches.last().and_then(|last| last.ends.first());
    if let Some(kept) = kept
        && told.map(|told| &told.end) != Some(&kept)
    {
        wrong.push(format!("its state says {kept:?}, its log {told:?}"));
    }
}

/// What others did to a session.
struct Befell {
    /// Signals from outside.
    signals: Vec<i32>,
    /// Somebody asked for the end of a run, or a worker ended.
    asked: bool,
}

impl Befell {
    fn read(of: SessionId, ledger: &Ledger) -> Self {
        let mut befell = Self { signals: Vec::new(), asked: false };
        for entry in &ledger.0 {
            match entry {
                Entry::Asked { session, verb, .. } if *session == Some(of) => {
                    befell.asked |= ends_a_run(verb);
                }
                Entry::Program(Program::Signalled { session, signal }) if *session == of => {
                    befell.signals.push(*signal);
                }
                Entry::Program(Program::Ends) | Entry::Lost => befell.asked = true,
                _ => {}
            }
        }
        befell
    }

    /// What is not true of the cause that was told.
    fn denies(&self, nature: &Nature, told: &ToldEnd) -> Option<String> {
        let by_itself = |code| nature.fate == Fate::Exits(code);
        let may_be = match told.end.cause {
            ExitCause::Exited { code } => {
                by_itself(code) || self.signals.contains(&TERM) && nature.obeys == Some(code)
            }
            ExitCause::Signaled { signal } => {
                nature.fate == Fate::Dies(signal) || self.signals.contains(&signal)
            }
            // The machine may have other troubles.
            ExitCause::OutOfMemory => self.signals.contains(&KILL),
            ExitCause::Stopped { by: StoppedBy::Code { code } } => {
                self.asked && (by_itself(code) || nature.obeys == Some(code))
            }
            ExitCause::Stopped { by: StoppedBy::Signal { signal } } => {
                let is_known = [TERM, KILL].contains(&signal) || nature.fate == Fate::Dies(signal);
                self.asked && (is_known || self.signals.contains(&signal))
            }
            ExitCause::Unknown | ExitCause::NotStarted => false,
            _ => false,
        };
        (!may_be).then(|| format!("{nature:?} met {:?}, asked {}", self.signals, self.asked))
    }
}

fn ends_a_run(verb: &Verb) -> bool {
    match verb {
        // A resume that comes too late for a run takes it back.
        Verb::Pause
        | Verb::Resume
        | Verb::Stop
        | Verb::StopRun(_)
        | Verb::Complete
        | Verb::Fail
        | Verb::Rollover { .. }
        | Verb::Delete { .. } => true,
        Verb::Start { .. }
        | Verb::Fork { .. }
        | Verb::Send { .. }
        | Verb::SendUrgent { .. }
        | Verb::Interrupt { .. }
        | Verb::Latest
        | Verb::Find
        | Verb::SetLabels(_)
        | Verb::SetMetadata(_)
        | Verb::SetExternalId(_)
        | Verb::Look
        | Verb::LookRun(_)
        | Verb::ReadRun(_)
        | Verb::ReadEvents
        | Verb::ReadSnapshot
        | Verb::Count => false,
    }
}

/// Whether the event is of the wrong kind for what it says.
fn told_as_another(told: &ToldEnd) -> Option<&'static str> {
    let is_so = match told.end.cause {
        ExitCause::Exited { code: 0 } => told.as_what == Told::Success,
        ExitCause::Stopped { .. } => told.as_what == Told::Stop,
        _ => told.as_what == Told::Failure,
    };
    (!is_so).then_some("it is told as something else")
}

/// Whether the session took it for something else.
fn taken_for_another(found: &FoundSession, told: &ToldEnd) -> Option<String> {
    let how = found.end_of(told.run?)?;
    let fits = match (told.as_what, how) {
        // Its run was ended, or was lost, before it could say so.
        (_, RunEnd::Cancelled | RunEnd::Abandoned | RunEnd::Interrupted) => true,
        (Told::Success, RunEnd::Completed) => true,
        (Told::Failure, RunEnd::Failed { .. }) => true,
        (_, RunEnd::Yielded) => is_asked(found, told),
        _ => false,
    };
    (!fits).then(|| format!("its run has {how}"))
}

/// Whether the log says that the run was asked to end.
fn is_asked(found: &FoundSession, told: &ToldEnd) -> bool {
    let place = usize::try_from(told.sequence).unwrap() - 1;
    let is_run = |state: &State| *state == State::Active;
    if !found.states.get(place).is_some_and(is_run) {
        return true;
    }
    let next = found.log.iter().skip(place).find_map(|event| match &event.fact {
        Fact::Lifecycle(Lifecycle::StateChanged { cause, .. }) => Some(*cause),
        _ => None,
    });
    !matches!(
        next,
        Some(Cause::Returned | Cause::Restarted | Cause::RestartsExhausted | Cause::Workload)
    )
}
