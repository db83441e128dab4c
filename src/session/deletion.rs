//! Deleting a session for good.

use std::sync::Arc;

use super::{Session, ask};
use crate::{
    Supervisor,
    model::{deletion::Removal, ids::SessionId},
    runtime::{core::Core, error::SessionError, op::Op},
};

/// What becomes of a session that is not at rest when it is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delete {
    /// The request is refused with [`SessionError::NotAtRest`].
    #[default]
    IfAtRest,
    /// It is stopped as by [`Session::stop`], and deleted when nothing of its run is alive any more.
    StopFirst,
}

impl Session {
    /// Deletes the session for good: its record, state, inputs, steps and events. On return it is durable that it is gone.
    /// [`complete`](Self::complete), [`fail`](Self::fail) and [`stop`](Self::stop) are the soft ways to end a session: they keep
    /// everything.
    ///
    /// From then on nobody finds the session: verbs say [`SessionError::NotFound`], listings leave it out, what watches it or
    /// subscribes to it ends (with the event [`Lifecycle::Deleted`](crate::Lifecycle), if it was not behind). Nothing brings it back, neither
    /// a late commit of a run nor a crash. A start with its id or its start key is refused with
    /// [`StartError::Deleted`](crate::StartError) for 24 hours of supervised time; then both are free. Its unique name is free at
    /// once. Sessions that come from it stay, and their [lineage](Supervisor::lineage) says that it is gone. To delete again what was
    /// deleted succeeds, for as long as it is remembered.
    ///
    /// A session at rest is stopped, ended, or paused (quarantined or not) and holds nothing outside its memory. What becomes of another
    /// one, [`Delete`] says.
    ///
    /// What is kept of it in the store is removed ten seconds later, a part at a time, so that those who
    /// [subscribe](Supervisor::subscribe) all sessions come to see its end; where its events were, they see a gap afterwards. The store uses
    /// the space again. Nothing is removed before the [sinks](crate::sink), hooks and statistics of the worker have read the end of the session;
    /// one that fails is waited for a day. A hook that is owed to the session is waited for until it is done or given up. Until then
    /// they are shown its name, external id, labels and metadata, which nobody else finds any more.
    ///
    /// ```no_run
    /// # use sessionkeeper::{Delete, Session, SessionError};
    /// # async fn example(session: Session) -> Result<(), SessionError> {
    /// match session.delete(Delete::IfAtRest).await {
    ///     Err(SessionError::NotAtRest { state, .. }) => {
    ///         println!("it is {state}: stop it?");
    ///         session.delete(Delete::StopFirst).await?;
    ///     }
    ///     answer => answer?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SessionError::NotAtRest`]; [`SessionError::NotFound`], or a store that fails.
    ///
    /// # Cancel safety
    /// Once polled, dropping it withdraws nothing; but [`Delete::StopFirst`] may then have stopped the session and not deleted it.
    pub async fn delete(&self, how: Delete) -> Result<(), SessionError> {
        delete(&self.core, self.id, how).await
    }
}

impl Supervisor {
    /// Deletes a session by its id: see [`Session::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, session: SessionId, how: Delete) -> Result<(), SessionError> {
        delete(self.core(), session, how).await
    }
}

async fn delete(core: &Arc<Core>, session: SessionId, how: Delete) -> Result<(), SessionError> {
    let delete = || ask(core, session, |reply| Op::Delete { by: Removal::Asked, reply });
    match (delete().await, how) {
        (Err(SessionError::NotAtRest { .. }), Delete::StopFirst) => {}
        (answer, Delete::IfAtRest | Delete::StopFirst) => return answer,
    }
    let kind = super::status(core, session).await?.kind().clone();
    match Session::new(Arc::clone(core), session, kind).stop().await {
        Ok(ticket) => drop(ticket.ended().await?),
        // It has ended meanwhile.
        Err(SessionError::Refused(_)) => {}
        Err(error) => return Err(error),
    }
    delete().await
}
