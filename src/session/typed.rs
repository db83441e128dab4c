//! Handles that know the types of their workload.

use std::{fmt, ops::Deref, sync::Arc};

use super::{Receipt, Session, Snapshot, inputs::Rank};
use crate::{
    model::{ids::InputId, json},
    runtime::error::{SendError, SessionError},
    workload::{Workload, erased, threads::UserCode},
};

/// A handle to one session that knows the types of its workload. It derefs to [`Session`], which
/// has every verb that needs no types.
pub struct SessionHandle<W> {
    pub(crate) session: Session,
    pub(crate) workload: Arc<W>,
}

impl<W: Workload> SessionHandle<W> {
    /// Sends an input. On return it is durable: it will be given to a run, and its effect on the
    /// state happens exactly once, unless the session ends first.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send(&self, input: W::Input) -> Result<Receipt, SendError> {
        self.session.send_encoded(None, self.encode(input), Rank::Ordinary).await
    }

    /// Sends an input under an id of the caller's: repeated with the same id and content, it is
    /// the same input, and the receipt says so.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_with_id(&self, id: InputId, input: W::Input) -> Result<Receipt, SendError> {
        self.session.send_encoded(Some(id), self.encode(input), Rank::Ordinary).await
    }

    /// Sends an urgent input: an approval, a cancel. It is as durable as any other, has a number in the
    /// order of acceptance as any other, and overtakes all that are not urgent: the run gets it at its next
    /// [`next_input`](crate::Context::next_input), or takes it in the middle of a turn with
    /// [`take_urgent`](crate::Context::take_urgent) and [`take_input_if`](crate::Context::take_input_if).
    /// Only an input that was begun and has to be given out again comes before it, so that what was sent in
    /// answer to a turn finds that turn. Urgent inputs keep their order among themselves.
    ///
    /// They have a room of their own (`max_urgent_inputs`, 16), also where the inbox is full. A session that
    /// is idle or asleep is woken by one as by any other input, and by no more: one that was paused by a
    /// person stays paused.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_urgent(&self, input: W::Input) -> Result<Receipt, SendError> {
        self.session.send_encoded(None, self.encode(input), Rank::Urgent).await
    }

    /// Sends an urgent input under an id of the caller's: repeated with the same id and content, it is the
    /// same input, as it was sent the first time.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_urgent_with_id(
        &self,
        id: InputId,
        input: W::Input,
    ) -> Result<Receipt, SendError> {
        self.session.send_encoded(Some(id), self.encode(input), Rank::Urgent).await
    }

    fn encode(&self, input: W::Input) -> Result<Vec<u8>, serde_json::Error> {
        let _encoding = self.session.enter(UserCode::Encode);
        let encoded = json::to_vec(&input);
        drop(input);
        encoded
    }

    /// The committed state. One of an older version is [migrated](Workload::migrate) on the way;
    /// what is stored stays as it is.
    ///
    /// # Errors
    /// [`SessionError::Unreadable`] and [`SessionError::Undecodable`], or a store that fails.
    pub async fn snapshot(&self) -> Result<Snapshot<W::State>, SessionError> {
        let (at, envelope) = self.session.load_snapshot().await?;
        let _decoding = self.session.enter(UserCode::Decode);
        let state = erased::decode_state(&*self.workload, &envelope)
            .map_err(|error| SessionError::undecodable(self.id(), error.to_string()))?;
        Ok(Snapshot { at, state })
    }
}

impl<W> Deref for SessionHandle<W> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl<W> Clone for SessionHandle<W> {
    fn clone(&self) -> Self {
        Self { session: self.session.clone(), workload: Arc::clone(&self.workload) }
    }
}

impl<W> fmt::Debug for SessionHandle<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}
