//! The typed half of a run: its state and its inputs.

use std::{fmt, ops::Deref, sync::Arc};

use tokio::sync::oneshot;

use super::{
    Outcome, RolledOver, Rollover, Workload, WorkloadError,
    error::RunError,
    inbox::{Covers, Delivery, Draft},
    line::Request,
    rollover::Next,
    run::Run,
    threads::UserCode,
};
use crate::model::{
    ids::InputId,
    json,
    record::{SnapshotRef, StoredInput},
    time::Timestamp,
};

/// What a workload works with: the state that survives, the inputs, and (by `Deref`) the
/// [`Run`] itself.
///
/// # Turns
///
/// The work on one input is a *turn*. [`next_input`](Self::next_input) ends the turn before it:
/// the state and the input that was in hand are committed together, so the effect of an input on
/// the state happens exactly once, whatever happens in between.
/// [`checkpoint`](Self::checkpoint) does the same without asking for another input, and
/// [`save_progress`](Self::save_progress) commits the state in the middle of a turn.
pub struct Context<W: Workload> {
    run: Run,
    workload: Arc<W>,
    state: W::State,
    /// Whether the state may differ from the committed one.
    touched: bool,
    in_hand: Option<u64>,
    /// Whether a request for the next input is under way, and the input that it put out of hand.
    asked: bool,
    ending: Option<u64>,
    /// What its successor is to be, where the run rolls its session over.
    next: Option<Box<Rollover<W>>>,
}

impl<W: Workload> Context<W> {
    pub(super) fn new(run: Run, workload: Arc<W>, state: W::State) -> Self {
        Self {
            run,
            workload,
            state,
            touched: false,
            in_hand: None,
            asked: false,
            ending: None,
            next: None,
        }
    }

    /// The state.
    pub fn state(&self) -> &W::State {
        &self.state
    }

    /// The state, to be changed. The change lasts once it is committed.
    pub fn state_mut(&mut self) -> &mut W::State {
        self.touched = true;
        &mut self.state
    }

    /// The state and the run at once, for code that changes one while it uses the other.
    pub fn split(&mut self) -> (&mut W::State, &Run) {
        self.touched = true;
        (&mut self.state, &self.run)
    }

    /// The run, as a handle of its own.
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// Ends the turn and waits for the next input: `None` when the run is asked to yield.
    ///
    /// First the state, and the input that was in hand, are committed if there is anything to
    /// commit; an input is given out only after that. While it waits the run is at rest: its
    /// heartbeat clock stands still and `idle_timeout` counts.
    ///
    /// # Errors
    /// [`RunError`]. After [`RunError::SnapshotTooLarge`] and [`RunError::Encode`] nothing was
    /// committed and the input is still in hand. After [`RunError::UndecodableInput`] the input is
    /// in hand too: returning the error redelivers it to the next run, asking again skips it.
    ///
    /// # Cancel safety
    /// Wholly: an input is taken only when it is returned. The commit that ends the turn is not
    /// withdrawn.
    pub async fn next_input(&mut self) -> Result<Option<Input<W::Input>>, RunError> {
        self.ask_for_next()?;
        let delivery = self.run.delivery().await?;
        self.asked = false;
        match delivery {
            Delivery::Input { input, attempt, urgent } => {
                self.run.heartbeat();
                self.run.put_in_hand(Some(input.sequence));
                self.in_hand = Some(input.sequence);
                self.decode(&input, attempt, urgent).map(Some)
            }
            Delivery::Yield => Ok(None),
            Delivery::Refused(error) => {
                self.touched = true;
                self.in_hand = self.ending.take();
                self.run.put_in_hand(self.in_hand);
                Err(error)
            }
        }
    }

    /// Takes the first urgent input, while another input is in hand: see
    /// [`take_input_if`](Self::take_input_if).
    ///
    /// # Errors
    /// As for `take_input_if`.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn take_urgent(&self) -> Result<Option<Input<W::Input>>, RunError> {
        self.take_input_if(|_| true).await
    }

    /// Takes the first [urgent](crate::SessionHandle::send_urgent) input that fits, and waits until there is
    /// one: an answer that this turn asked for, say. `None` where the run is asked to yield, or the turn is
    /// [interrupted](Run::interrupted).
    ///
    /// It belongs to the turn: the next commit covers it, [`save_progress`](Self::save_progress) included. Is
    /// there none, because the run ends before or the turn is interrupted and redelivered, it is given out
    /// again, after the input of this turn. The others stay where they are.
    ///
    /// Waiting here is work, not rest: whoever waits for a person declares [`awaiting`](Run::awaiting).
    ///
    /// # Errors
    /// [`RunError::Fenced`]. An urgent input that does not decode is passed over; `next_input` names it.
    ///
    /// # Cancel safety
    /// Wholly: an input is taken only when it is returned.
    ///
    /// ```
    /// use sessionkeeper::{Context, RunError, Workload};
    /// # use sessionkeeper::testing::{Do, Scripted};
    ///
    /// /// Asks a person, in the middle of a turn.
    /// async fn approved(cx: &Context<Scripted>) -> Result<bool, RunError> {
    ///     let _waiting = cx.awaiting("an approval");
    ///     let answer = cx.take_input_if(|input| matches!(input, Do::Add(_))).await?;
    ///     Ok(answer.is_some())
    /// }
    /// ```
    pub async fn take_input_if(
        &self,
        mut fits: impl FnMut(&W::Input) -> bool,
    ) -> Result<Option<Input<W::Input>>, RunError> {
        let heard = self.run.heard_interrupts();
        loop {
            let changed = self.run.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mut asked = None;
            for offer in self.run.offers()? {
                let Ok(mut input) = self.decode(&offer, 0, true) else {
                    continue;
                };
                if !fits(&input.value) {
                    continue;
                }
                if let Some(attempt) = self.run.claim(input.sequence) {
                    self.run.heartbeat();
                    input.attempt = attempt;
                    return Ok(Some(input));
                }
                // That it is given is committed first.
                asked = Some(self.run.awaiting_store());
                break;
            }
            if asked.is_none() && (self.run.is_yield_requested() || self.run.hears_interrupt(heard))
            {
                return Ok(None);
            }
            changed.await;
        }
    }

    /// Ends the turn: commits the state together with the input in hand. Durable on return.
    ///
    /// While the store fails, this waits until it works again.
    ///
    /// # Errors
    /// [`RunError`]; nothing was committed.
    ///
    /// # Cancel safety
    /// Dropping it does not withdraw the commit.
    pub async fn checkpoint(&mut self) -> Result<SnapshotRef, RunError> {
        self.run.heartbeat();
        let payload = self.encode()?;
        let (covers, taken) = self.end_turn();
        let committed = self.commit(Draft { payload, covers, taken }).await?;
        self.touched = false;
        Ok(committed)
    }

    /// Commits the state in the middle of a turn; the input stays in hand. Durable on return.
    ///
    /// A later attempt at the same input begins with this state: the workload must be able to tell
    /// from it what was done already. While the store fails, this waits until it works again.
    ///
    /// # Errors
    /// [`RunError`]; nothing was committed.
    ///
    /// # Cancel safety
    /// Dropping it does not withdraw the commit.
    pub async fn save_progress(&mut self) -> Result<SnapshotRef, RunError> {
        self.run.heartbeat();
        let payload = self.encode()?;
        let draft = Draft { payload, covers: Covers::Nothing, taken: self.run.hand_in_taken() };
        let committed = self.commit(draft).await?;
        self.touched = false;
        Ok(committed)
    }

    /// Rolls the session over, an agent's `/clear`: what it gives is to be returned at once. In one commit the session
    /// completes, as with [`Outcome::Completed`], with the present state and the input in hand; and its successor
    /// is there, which begins with a state of its own. It has the place of this one, and begins to run next.
    ///
    /// Inputs that wait move to the successor unless [it is said otherwise](Rollover::unread). A stop that was accepted
    /// before wins, and the session is stopped without a successor. A successor that cannot be encoded, or is larger
    /// than its policy allows, fails the run.
    ///
    /// ```
    /// use sessionkeeper::{Context, Outcome, Rollover, Workload, WorkloadError};
    ///
    /// struct Coder;
    ///
    /// impl Workload for Coder {
    ///     const KIND: &'static str = "coder";
    ///     const STATE_VERSION: u32 = 1;
    ///     type State = Vec<String>;
    ///     type Input = String;
    ///
    ///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
    ///         while let Some(prompt) = cx.next_input().await? {
    ///             if *prompt == "/clear" {
    ///                 return Ok(cx.rollover(Rollover::new(Vec::new())));
    ///             }
    ///             cx.state_mut().push(prompt.into_inner());
    ///         }
    ///         Ok(Outcome::Yielded)
    ///     }
    /// }
    /// ```
    pub fn rollover(&mut self, next: Rollover<W>) -> Outcome {
        self.next = Some(Box::new(next));
        Outcome::RolledOver(RolledOver(()))
    }

    /// What is asked for of the successor, where the run rolls its session over.
    pub(super) fn take_next(&mut self) -> Result<Next, WorkloadError> {
        let Some(next) = self.next.take() else {
            return Err(
                "it rolled over without saying what follows: see `Context::rollover`".into()
            );
        };
        let next = next.into_next(W::STATE_VERSION)?;
        let own = next.policy.as_ref().map(|policy| policy.max_snapshot_bytes());
        let limit = own.unwrap_or_else(|| self.run.max_snapshot_bytes());
        let bytes = next.state.len() as u64;
        if bytes > limit {
            let session = self.run.session();
            return Err(RunError::SnapshotTooLarge { session, bytes, limit }.into());
        }
        Ok(next)
    }

    async fn commit(&self, draft: Draft) -> Result<SnapshotRef, RunError> {
        let (reply, answer) = oneshot::channel();
        self.run.request(Request::Commit { draft, reply });
        let _waiting = self.run.awaiting_store();
        // A session that is gone drops the reply.
        answer.await.unwrap_or_else(|_| Err(self.run.fenced_error()))
    }

    /// Asks for the next input, unless that was done before. Not part of what waits for it: an
    /// idle run has no room for what was asked.
    fn ask_for_next(&mut self) -> Result<(), RunError> {
        let asked = self.asked && !self.has_turn();
        if !asked && !self.run.has_delivery() {
            let draft = self.draft_of_turn()?;
            self.run.ask_for_next(draft);
            self.asked = true;
        }
        Ok(())
    }

    /// What must be committed before another input may be given out.
    fn draft_of_turn(&mut self) -> Result<Option<Draft>, RunError> {
        if !self.has_turn() {
            return Ok(None);
        }
        let payload = self.encode()?;
        self.ending = self.in_hand;
        let (covers, taken) = self.end_turn();
        self.touched = false;
        Ok(Some(Draft { payload, covers, taken }))
    }

    /// The turn is over, since its commit is handed in now: that is not withdrawn, and refused only
    /// to a run that is fenced. Whatever begins from here on belongs to the next turn.
    fn end_turn(&mut self) -> (Covers, Vec<u64>) {
        self.in_hand = None;
        self.run.end_turn()
    }

    /// Whether there is a turn to end: an input in hand, a state that may differ, steps, or urgent
    /// inputs that were taken.
    fn has_turn(&self) -> bool {
        let has_input = self.in_hand.is_some() || self.run.has_taken();
        has_input || self.touched || self.run.has_steps_of_turn()
    }

    fn encode(&self) -> Result<Vec<u8>, RunError> {
        let _part = self.run.in_part(UserCode::Encode);
        let (session, limit) = (self.run.session(), self.run.max_snapshot_bytes());
        let encoded =
            json::to_vec_within(&self.state, usize::try_from(limit).unwrap_or(usize::MAX))
                .map_err(|error| RunError::Encode { session, source: error.into() })?;
        if encoded.is_too_large() {
            let bytes = encoded.bytes as u64;
            return Err(RunError::SnapshotTooLarge { session, bytes, limit });
        }
        Ok(encoded.kept)
    }

    fn decode(
        &self,
        stored: &StoredInput,
        attempt: u32,
        is_urgent: bool,
    ) -> Result<Input<W::Input>, RunError> {
        let _part = self.run.in_part(UserCode::Decode);
        let value = super::erased::decode_input(&*self.workload, stored).map_err(|error| {
            RunError::UndecodableInput {
                session: self.run.session(),
                input: stored.sequence,
                source: error.to_string().into(),
            }
        })?;
        Ok(Input {
            value,
            attempt,
            is_urgent,
            sequence: stored.sequence,
            at: stored.at,
            id: stored.id.clone(),
        })
    }

    /// What is left to commit when the workload has returned.
    pub(super) fn last_draft(&mut self, completed: bool) -> Result<Option<Draft>, RunError> {
        if completed || self.in_hand.is_none() {
            let payload = self.encode()?;
            let (covers, taken) =
                if self.has_turn() { self.end_turn() } else { (Covers::Nothing, Vec::new()) };
            return Ok(Some(Draft { payload, covers, taken }));
        }
        Ok(None)
    }
}

impl<W: Workload> Deref for Context<W> {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl<W: Workload> fmt::Debug for Context<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("run", &self.run)
            .field("in_hand", &self.in_hand)
            .finish_non_exhaustive()
    }
}

/// An input, as its workload receives it. It derefs to what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input<I> {
    value: I,
    attempt: u32,
    is_urgent: bool,
    sequence: u64,
    at: Timestamp,
    id: Option<InputId>,
}

impl<I> Input<I> {
    /// What was sent.
    pub fn into_inner(self) -> I {
        self.value
    }

    /// How often this input has been given to a run, from 1. A higher number means that a run
    /// before this one did not finish its turn.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Its number in the session, from 1.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it was [sent as urgent](crate::SessionHandle::send_urgent).
    pub const fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// When it was accepted.
    pub const fn accepted_at(&self) -> Timestamp {
        self.at
    }

    /// The id that its sender gave it.
    pub const fn id(&self) -> Option<&InputId> {
        self.id.as_ref()
    }
}

impl<I: fmt::Display> fmt::Display for Input<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<I> Deref for Input<I> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.value
    }
}
