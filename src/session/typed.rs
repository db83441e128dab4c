//! Handles that know the types of their workload.

use std::{fmt, ops::Deref, sync::Arc};

use super::{Receipt, Session, Snapshot};
use crate::{
    model::{ids::InputId, json},
    runtime::error::{SendError, SessionError},
    workload::{Workload, erased, threads::UserCode},
};

/// A handle to one session that knows the types of its workload. It derefs to [`Session`], which
/// has every verb that needs no types.
pub struct SessionHandle<W> {
    pub(super) session: Session,
    pub(super) workload: Arc<W>,
}

impl<W: Workload> SessionHandle<W> {
    /// Sends an input. On return it is durable: it will be given to a run, and its effect on the
    /// state happens exactly once, unless the session ends first.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send(&self, input: W::Input) -> Result<Receipt, SendError> {
        self.session.send_encoded(None, self.encode(input)).await
    }

    /// Sends an input under an id of the caller's: repeated with the same id and content, it is
    /// the same input, and the receipt says so.
    ///
    /// # Errors
    /// [`SendError`]; unless it says otherwise, nothing was accepted.
    pub async fn send_with_id(&self, id: InputId, input: W::Input) -> Result<Receipt, SendError> {
        self.session.send_encoded(Some(id), self.encode(input)).await
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
