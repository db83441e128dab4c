//! What is sent to a session, and how a turn is cut short.

use super::{Receipt, Session};
use crate::{
    model::{ids::InputId, inbox::OnInterrupt, json},
    runtime::{
        error::{SendError, SessionError},
        op::{Accepted, Interruption, NewInput, Op},
    },
    store::AcceptedInput,
    workload::threads::UserCode,
};

/// Whether an input waits its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    Ordinary,
    Urgent,
}

impl Session {
    /// Sends an input as JSON. On return it is durable: it will be given to a run, and its effect
    /// on the state happens exactly once, unless the session ends first.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_json(&self, input: &serde_json::Value) -> Result<Receipt, SendError> {
        self.send_encoded(None, json::to_vec(input), Rank::Ordinary).await
    }

    /// Sends an input as JSON under an id of the caller's: repeated with the same id, it is the
    /// same input.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_json_with_id(
        &self,
        id: InputId,
        input: &serde_json::Value,
    ) -> Result<Receipt, SendError> {
        self.send_encoded(Some(id), json::to_vec(input), Rank::Ordinary).await
    }

    /// Sends an urgent input as JSON, see [`SessionHandle::send_urgent`](crate::SessionHandle::send_urgent).
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_urgent_json(&self, input: &serde_json::Value) -> Result<Receipt, SendError> {
        self.send_encoded(None, json::to_vec(input), Rank::Urgent).await
    }

    /// Sends an urgent input as JSON under an id of the caller's, see [`SessionHandle::send_urgent_with_id`](crate::SessionHandle::send_urgent_with_id).
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_urgent_json_with_id(
        &self,
        id: InputId,
        input: &serde_json::Value,
    ) -> Result<Receipt, SendError> {
        self.send_encoded(Some(id), json::to_vec(input), Rank::Urgent).await
    }

    pub(super) async fn send_encoded(
        &self,
        id: Option<InputId>,
        encoded: Result<Vec<u8>, serde_json::Error>,
        rank: Rank,
    ) -> Result<Receipt, SendError> {
        let payload = encoded.map_err(|error| SendError::invalid(self.id, error))?;
        let Some(workload) = self.core.registry.get(&self.kind) else {
            let kind = self.kind.clone();
            return Err(SessionError::NoWorkload { session: self.id, kind }.into());
        };
        {
            let _decoding = self.enter(UserCode::Decode);
            workload.check_input(&payload).map_err(|error| SendError::invalid(self.id, error))?;
        }
        let (payload, state_version) = (payload.into(), workload.state_version());
        let input = NewInput { id, payload, state_version, urgent: rank == Rank::Urgent };
        if self.follows { self.send_along(input).await } else { self.send_input(&input).await }
    }

    pub(crate) async fn send_input(&self, input: &NewInput) -> Result<Receipt, SendError> {
        match self.ask(|reply| Op::Send { input: input.clone(), reply }).await {
            Ok(Accepted { sequence, repeated }) => {
                Ok(Receipt { session: self.id, sequence, repeated })
            }
            Err(
                error @ (SendError::Full { .. }
                | SendError::UrgentFull { .. }
                | SendError::NotAccepting { .. }
                | SendError::RolledOver { .. }),
            ) => self.accepted_before(input).await?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Interrupts the turn that is under way, and not the session: its run goes on. Of the input in hand,
    /// and of what the turn has [taken](crate::Context::take_input_if) since its last commit, `then` says
    /// what becomes. On return that is durable and recorded as an event: what was dropped is not given out
    /// again, also after a crash or by an older snapshot; an input that is redelivered comes back before all
    /// others, its attempt counted.
    ///
    /// Nothing is cancelled by force. [`busy`](crate::Run::busy) drops its future,
    /// [`interrupted`](crate::Run::interrupted) resolves and `take_input_if` gives `None`; a workload that
    /// heeds none of these goes on to the end of its turn. What it has changed in its state by then is
    /// committed as it leaves it, also where the input is redelivered: a workload that wants to begin again
    /// from the last commit returns [`BusyError::Interrupted`](crate::BusyError) (or `Yielded`), and the next
    /// run begins at once.
    ///
    /// Without an input in hand, or without a run, there is nothing to interrupt, and the answer says so. An
    /// interrupt never reaches a turn that begins later.
    ///
    /// # Errors
    /// [`SessionError`].
    ///
    /// ```
    /// use sessionkeeper::{Interruption, OnInterrupt, SessionHandle};
    /// # use sessionkeeper::testing::{Do, Scripted};
    ///
    /// # async fn example(session: SessionHandle<Scripted>) -> Result<(), Box<dyn std::error::Error>> {
    /// // What comes instead is there before the turn ends.
    /// session.send_urgent(Do::Add(2)).await?;
    /// match session.interrupt(OnInterrupt::Drop).await? {
    ///     Interruption::Turn { input, .. } => println!("input {input} is given up"),
    ///     Interruption::Nothing => println!("it had nothing in hand"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn interrupt(&self, then: OnInterrupt) -> Result<Interruption, SessionError> {
        self.ask(|reply| Op::Interrupt { then, reply }).await
    }

    /// An input that is not accepted now may have been accepted before, under the same id.
    async fn accepted_before(&self, input: &NewInput) -> Result<Option<Receipt>, SendError> {
        let Some(id) = &input.id else {
            return Ok(None);
        };
        let read = |error| SessionError::read(self.id, error);
        let store = self.core.store().map_err(read)?;
        let Some(known) = store.accepted(self.id, id.clone()).await.map_err(read)? else {
            return Ok(None);
        };
        let AcceptedInput { sequence, checksum } = known;
        if checksum == crc32fast::hash(&input.payload) {
            Ok(Some(Receipt { session: self.id, sequence, repeated: true }))
        } else {
            Err(SendError::InputIdReused { session: self.id, id: id.clone(), sequence })
        }
    }
}
