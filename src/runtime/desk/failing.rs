//! What a failing store means for requests that wait at a desk.

use std::sync::Arc;

use crate::{
    model::ids::SessionId,
    runtime::{
        error::SessionError,
        op::{Op, Recovered, Woken},
    },
    store::StoreError,
};

/// Tells a caller that the record cannot be loaded; gives back what is not a caller's, unless
/// the trouble lasts.
pub(super) fn store_failed(
    op: Op,
    session: SessionId,
    error: &Arc<StoreError>,
    lasting: bool,
) -> Option<Op> {
    match op {
        Op::Start(new) => {
            new.reply.store_failed(error);
            None
        }
        Op::Send { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Pause { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Bear { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Discharge { done, .. } => {
            drop(done);
            None
        }
        Op::Stop { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Interrupt { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Resume { reply, .. }
        | Op::Complete { reply, .. }
        | Op::Fail { reply, .. }
        | Op::Annotate { reply, .. }
        | Op::Delete { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Rollover(asked) => {
            asked.reply.store_failed(error);
            None
        }
        // Who looks after sessions waits for a store that may heal.
        op @ (Op::Wake { .. } | Op::Recover { .. }) if !lasting => Some(op),
        Op::Wake { done, .. } => {
            let _ = done.send(Woken::NotNow);
            None
        }
        Op::Recover { done, .. } => {
            let source = Arc::clone(error);
            let error = SessionError::Store { session, under_way: false, source };
            let _ = done.send(Recovered::Failed(error));
            None
        }
        Op::TimeOut { done } | Op::Purge { done } | Op::Trimmed { done, .. } => {
            drop(done);
            None
        }
        op @ (Op::Shutdown
        | Op::Cancel
        | Op::Abandon
        | Op::Restart
        | Op::Lost { .. }
        | Op::Returned { .. }) => (!lasting).then_some(op),
    }
}
