//! What is asked of a session that was deleted.

use std::sync::Arc;

use crate::{
    model::{family::Owed, ids::SessionId, record::SessionRecord},
    runtime::{
        core::{Core, Life},
        draft::{self, Draft},
        error::SessionError,
        op::{Op, Recovered, Woken},
    },
    store::{Purge, Purged, Refusal, StoreError},
    telemetry,
};

/// How many rows are removed in one transaction: a few milliseconds, for which others wait.
const PORTION: usize = 2048;

/// Answers that it is gone; or removes what is left of it.
pub(super) async fn serve(core: &Arc<Core>, tombstone: &SessionRecord, op: Op) {
    let session = tombstone.id;
    let gone = || SessionError::NotFound { session };
    match op {
        Op::Start(new) => new.deleted(session),
        Op::Delete { reply, .. } => reply.send(Ok(())),
        Op::Purge { done } => {
            if purge(core, session).await {
                let _ = done.send(());
            }
        }
        Op::Send { reply, .. } => reply.send(Err(gone().into())),
        Op::Bear { reply, .. } => reply.send(Err(gone().into())),
        Op::Discharge { owed, done } => {
            if discharge(core, session, &owed).await {
                let _ = done.send(());
            }
        }
        Op::Pause { reply, .. } => reply.send(Err(gone())),
        Op::Stop { reply, .. } => reply.send(Err(gone())),
        Op::Interrupt { reply, .. } => reply.send(Err(gone())),
        Op::Resume { reply, .. }
        | Op::Complete { reply, .. }
        | Op::Fail { reply, .. }
        | Op::Annotate { reply, .. } => reply.send(Err(gone())),
        Op::Rollover(asked) => asked.reply.send(Err(gone().into())),
        Op::Wake { done, .. } => drop(done.send(Woken::Done)),
        Op::Recover { done, .. } => drop(done.send(Recovered::Left)),
        Op::TimeOut { done } | Op::Returned { done, .. } | Op::Trimmed { done, .. } => {
            let _ = done.send(());
        }
        Op::Shutdown | Op::Cancel | Op::Abandon | Op::Restart | Op::Lost { .. } => {}
    }
}

/// Notes that what its end was to its children, or to its parent, is done.
async fn discharge(core: &Arc<Core>, session: SessionId, done: &Owed) -> bool {
    let Ok(store) = core.store() else { return false };
    let Ok(Some(tombstone)) = store.load(session).await else { return false };
    let mut draft = Draft::of(&tombstone, core.moment());
    draft.discharge(done);
    if !draft.is_changed() {
        return true;
    }
    matches!(
        super::commit(core, draft.finish(&core.retention), Vec::new()).await,
        super::Committed::Done(..)
    )
}

/// Removes what is left of a deleted session, a part at a time, and says whether that is done. What was removed stays
/// removed, so whoever is interrupted goes on later.
async fn purge(core: &Core, session: SessionId) -> bool {
    while core.life() == Life::Running {
        match purge_part(core, session).await {
            Ok(Ok(Purged::More)) => {}
            Ok(Ok(Purged::Done)) => return true,
            Ok(Err(refusal)) => {
                if refusal == Refusal::GenerationEnded {
                    core.taken_over();
                }
                let what = "what is left of it was not removed";
                telemetry::session_trouble(session, what, &refusal);
                return false;
            }
            Err(error) => {
                let what = "what is left of it could not be removed yet";
                telemetry::session_trouble(session, what, &error);
                return false;
            }
        }
    }
    false
}

async fn purge_part(
    core: &Core,
    session: SessionId,
) -> Result<Result<Purged, Refusal>, StoreError> {
    let store = core.store()?;
    let Some(tombstone) = store.load(session).await? else { return Ok(Ok(Purged::Done)) };
    let Some(then) = draft::after_purge(&tombstone, core.moment()) else {
        return Ok(Ok(Purged::Done));
    };
    let (generation, version) = (core.generation, tombstone.version);
    let purged = store.purge(Purge { generation, session, version, rows: PORTION, then }).await?;
    if purged == Ok(Purged::Done) {
        telemetry::purged(session, tombstone.deleted.is_some_and(|deleted| deleted.purged));
    }
    Ok(purged)
}
