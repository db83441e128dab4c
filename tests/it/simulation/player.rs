//! The workload of the simulation: it does what its inputs say, and tells the ledger of it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use sessionkeeper::{
    ChildEnd, Context, Event, ExternalId, Outcome, Resource, Rollover, Run, RunEnd, RunId,
    SessionId, Timestamp, Usage, Workload, WorkloadError,
};

use super::{
    cues::{Cue, Play, unread},
    families,
    faults::{self, Fault, panic_as_planned, strikes, strikes_reader},
    steps,
};
use crate::oracle::ledger::{Book, Did, Entry};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What a session did: every input once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Played(Fields);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Fields {
    applied: Vec<(u64, u64)>,
    /// The tags of what had its effect before it was forked.
    #[serde(default)]
    inherited: Vec<u64>,
    /// The input whose progress was saved.
    progress: Option<u64>,
    padding: String,
    /// Written by the second version alone.
    #[serde(default)]
    migrated: bool,
}

impl Serialize for Played {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if strikes(Fault::EncodePanics) {
            panic_as_planned();
        }
        if strikes(Fault::EncodeFails) {
            return Err(ser::Error::custom("told to fail"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Played {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if strikes_reader(Fault::DecodePanics) {
            panic_as_planned();
        }
        if strikes_reader(Fault::DecodeFails) {
            return Err(de::Error::custom("told to fail"));
        }
        Fields::deserialize(deserializer).map(Self)
    }
}

/// The workload, in a version of its states.
#[derive(Clone)]
pub(super) struct Player<const VERSION: u32>(pub(super) Book);

/// Tells the ledger when something is over, however it ends.
struct Until {
    book: Book,
    session: SessionId,
    run: RunId,
    over: Did,
}

impl Until {
    fn new(book: &Book, run: &Run, begun: Did, over: Did) -> Self {
        let (session, run) = (run.session(), run.id());
        book.run(session, run, begun);
        Self { book: book.clone(), session, run, over }
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.book.run(self.session, self.run, self.over.clone());
    }
}

/// Something outside, which has to be closed.
struct Outside;

impl Resource for Outside {
    async fn close(&self, _: &RunEnd) {
        close_badly().await;
    }
}

async fn close_badly() {
    if strikes(Fault::CloseYields) {
        tokio::task::yield_now().await;
    }
    if strikes(Fault::CloseDelays) {
        tokio::time::sleep(faults::span(Fault::CloseDelays, 400)).await;
    }
    if strikes(Fault::CloseHangs) {
        tokio::time::sleep(60 * SECOND).await;
    }
    if strikes(Fault::ClosePanics) {
        panic_as_planned();
    }
}

impl<const VERSION: u32> Workload for Player<VERSION> {
    const KIND: &'static str = "player";
    const STATE_VERSION: u32 = VERSION;
    type State = Played;
    type Input = Cue;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let _alive = Until::new(&self.0, cx.run(), Did::Begin, Did::End);
        let mut acted = Acted::default();
        while let Some(cue) = cx.next_input().await? {
            acted.accepted_at = cue.accepted_at();
            let (input, attempt, Cue { tag, play }) =
                (cue.sequence(), cue.attempt(), cue.into_inner());
            self.tell(cx, Did::Take { input, attempt, tag });
            disturb().await?;
            let outcome = self.turn(cx, &mut acted, (input, attempt, tag), play).await?;
            disturb().await?;
            // Back to the last commit: what this turn did to the state is not to be kept.
            if cx.is_interrupted() {
                return Ok(Outcome::Yielded);
            }
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Yielded)
    }

    async fn close(&self, run: &Run, _: &RunEnd) {
        let _closing = Until::new(&self.0, run, Did::BeginClose, Did::EndClose);
        close_badly().await;
    }

    async fn on_fork(
        &self,
        _: SessionId,
        _: SessionId,
        state: &mut Played,
    ) -> Result<(), WorkloadError> {
        if strikes(Fault::ForkDelays) {
            tokio::time::sleep(faults::span(Fault::ForkDelays, 900)).await;
        }
        if strikes(Fault::ForkHangs) {
            std::future::pending::<()>().await;
        }
        if strikes(Fault::ForkPanics) {
            panic_as_planned();
        }
        if strikes(Fault::ForkFails) {
            return Err("told to fail".into());
        }
        let Fields { applied, inherited, progress, .. } = &mut state.0;
        inherited.extend(applied.drain(..).map(|(_, tag)| tag));
        *progress = None;
        Ok(())
    }

    fn on_child_end(&self, end: &ChildEnd) -> Option<Cue> {
        let cue = Cue::of_end(end.child);
        self.0.enter(Entry::EndTold { child: end.child, tag: cue.tag });
        Some(cue)
    }

    fn migrate(&self, _: u32, state: serde_json::Value) -> Result<Played, WorkloadError> {
        if strikes_reader(Fault::MigratePanics) {
            panic_as_planned();
        }
        if strikes_reader(Fault::MigrateFails) {
            return Err("told to fail".into());
        }
        let mut fields: Fields = serde_json::from_value(state)?;
        fields.migrated = true;
        Ok(Played(fields))
    }

    fn migrate_input(&self, _: u32, input: serde_json::Value) -> Result<Cue, WorkloadError> {
        if strikes_reader(Fault::MigrateInputPanics) {
            panic_as_planned();
        }
        if strikes_reader(Fault::MigrateInputFails) {
            return Err("told to fail".into());
        }
        Ok(serde_json::from_value(input)?)
    }
}

/// What a run did so far, besides its state.
#[derive(Default)]
struct Acted {
    emitted: u64,
    /// When the input in hand was accepted.
    accepted_at: Timestamp,
}

impl<const VERSION: u32> Player<VERSION> {
    fn tell(&self, cx: &Context<Self>, did: Did) {
        self.0.run(cx.session(), cx.run().id(), did);
    }

    async fn turn(
        &self,
        cx: &mut Context<Self>,
        acted: &mut Acted,
        (input, attempt, tag): (u64, u32, u64),
        play: Play,
    ) -> Result<Option<Outcome>, WorkloadError> {
        if play == Play::SaveThenFail && cx.state().0.progress != Some(input) {
            cx.state_mut().0.progress = Some(input);
            let kept = cx.save_progress().await?;
            self.tell(cx, Did::Commit { sequence: kept.sequence, consumed: kept.consumed });
            cx.state_mut().0.applied.push((input, tag));
            return Err("told to fail after saving".into());
        }
        cx.state_mut().0.applied.push((input, tag));
        match play {
            Play::Add | Play::SaveThenFail => {}
            Play::FailTimes(times) if attempt <= times => return Err("told to fail".into()),
            Play::PanicTimes(times) if attempt <= times => panic_as_planned(),
            Play::YieldTimes(times) if attempt <= times => return Ok(Some(Outcome::Yielded)),
            Play::FailTimes(_) | Play::PanicTimes(_) | Play::YieldTimes(_) => {}
            Play::FailForGood => return Err(WorkloadError::permanent("told to fail for good")),
            Play::RetryAfter if attempt == 1 => {
                return Err(WorkloadError::retry_after(3 * SECOND, "told to wait"));
            }
            Play::RetryAfter => {}
            Play::Complete => return Ok(Some(Outcome::Completed)),
            Play::CompleteLate => {
                tokio::time::sleep(2 * SECOND).await;
                return Ok(Some(Outcome::Completed));
            }
            Play::Silent(span) if attempt <= 2 => tokio::time::sleep(MS * span as u32).await,
            Play::Silent(_) => {}
            Play::Busy { limit, takes } => {
                let work = tokio::time::sleep(MS * takes as u32);
                let _ = cx.busy(MS * limit as u32, work).await;
            }
            Play::Await(span) => {
                let _waiting = cx.awaiting("an answer");
                tokio::time::sleep(MS * span as u32).await;
            }
            Play::Deaf(seconds) => {
                for _ in 0..seconds {
                    tokio::time::sleep(SECOND).await;
                    cx.heartbeat();
                }
            }
            Play::CommitThenFail if cx.is_interrupted() => {}
            Play::CommitThenFail => {
                let kept = cx.checkpoint().await?;
                self.tell(cx, Did::Commit { sequence: kept.sequence, consumed: kept.consumed });
                cx.state_mut().0.padding.push_str("not to be kept");
                if attempt == 1 {
                    return Err("told to fail after a checkpoint".into());
                }
            }
            Play::Emit(count) => {
                for _ in 0..count {
                    cx.emit(Event::custom("n", acted.emitted + 1)).await?;
                    acted.emitted += 1;
                    self.tell(cx, Did::Emit(acted.emitted));
                    tokio::task::yield_now().await;
                }
            }
            Play::Spend(tokens) => {
                // In two parts, which are one fact.
                for tokens in [tokens, 1] {
                    cx.record_usage(Usage::tokens(tokens, 0));
                    self.tell(cx, Did::Spend(tokens));
                }
            }
            Play::Grow(bytes) if attempt == 1 => {
                cx.state_mut().0.padding = "x".repeat(bytes);
            }
            Play::Grow(_) => {}
            Play::Hold => drop(cx.hold(Outside)),
            Play::HoldWhilePaused => drop(cx.hold_while_paused(Outside, 5 * SECOND)),
            Play::TakeHeld => drop(cx.take_held::<Outside>()),
            Play::Spawn => drop(cx.spawn(tokio::time::sleep(3600 * SECOND))),
            Play::ExternalId => cx.run().set_external_id(ExternalId::new(format!("e{tag}"))?),
            Play::Steps(count) => {
                steps::take(&self.0, cx.run(), (input, attempt, tag), count).await?;
            }
            Play::AskTwice => return self.ask_twice(cx, acted).await,
            Play::Sleep { span, or_input } if attempt == 1 => {
                self.tell(cx, Did::Sleep);
                let until = acted.accepted_at + MS * span as u32;
                return Ok(Some(match or_input {
                    true => Outcome::sleep_until_or_input(until),
                    false => Outcome::sleep_until(until),
                }));
            }
            Play::Sleep { .. } => {}
            Play::TakeUrgent { span, all } => self.take_urgent(cx, span, all).await?,
            Play::Bear { kind, waits } => {
                return families::bear(&self.0, cx, tag, kind, waits).await;
            }
            Play::RollOver { moves, with_input } => {
                return Ok(Some(self.roll_over(cx, tag, moves, with_input)));
            }
        }
        Ok(None)
    }

    /// Takes urgent inputs while its own is in hand, as if it waited for an answer.
    async fn take_urgent(
        &self,
        cx: &mut Context<Self>,
        span: u64,
        all: bool,
    ) -> Result<(), WorkloadError> {
        let until = tokio::time::Instant::now() + MS * span as u32;
        let _waiting = cx.run().awaiting("an answer");
        loop {
            let taking = async {
                if all {
                    cx.take_urgent().await
                } else {
                    cx.take_input_if(|cue| cue.tag % 2 == 0).await
                }
            };
            let Ok(taken) = tokio::time::timeout_at(until, taking).await else { return Ok(()) };
            let Some(cue) = taken? else { return Ok(()) };
            let (input, attempt, tag) = (cue.sequence(), cue.attempt(), cue.tag);
            self.tell(cx, Did::Take { input, attempt, tag });
            cx.state_mut().0.applied.push((input, tag));
        }
    }

    /// Rolls its session over from within.
    fn roll_over(
        &self,
        cx: &mut Context<Self>,
        tag: u64,
        moves: bool,
        with_input: bool,
    ) -> Outcome {
        let first = with_input.then(|| Cue::after_rollover(tag));
        let tag = first.as_ref().map(|cue| cue.tag);
        self.tell(cx, Did::RollOver { tag, moves });
        let mut next = Rollover::new(Played::default()).unread(unread(moves));
        if let Some(first) = first {
            next = next.input(first);
        }
        cx.rollover(next)
    }

    /// Drops the question for the next input, and asks again.
    async fn ask_twice(
        &self,
        cx: &mut Context<Self>,
        _: &mut Acted,
    ) -> Result<Option<Outcome>, WorkloadError> {
        for wait in [0, 1, 30] {
            if cx.is_interrupted() {
                return Ok(Some(Outcome::Yielded));
            }
            let asked = tokio::time::timeout(MS * wait, cx.next_input()).await;
            match asked {
                Err(_) => {}
                Ok(next) => {
                    let Some(cue) = next? else { return Ok(Some(Outcome::Yielded)) };
                    let (input, attempt, tag) = (cue.sequence(), cue.attempt(), cue.tag);
                    self.tell(cx, Did::Take { input, attempt, tag });
                    cx.state_mut().0.applied.push((input, tag));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

/// What may befall a workload between any two things that it does.
pub(super) async fn disturb() -> Result<(), WorkloadError> {
    if strikes(Fault::RunYields) {
        tokio::task::yield_now().await;
    }
    if strikes(Fault::RunDelays) {
        tokio::time::sleep(faults::span(Fault::RunDelays, 300)).await;
    }
    if strikes(Fault::RunPanics) {
        panic_as_planned();
    }
    if strikes(Fault::RunFails) {
        return Err("told to fail".into());
    }
    Ok(())
}
