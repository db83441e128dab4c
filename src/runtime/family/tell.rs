//! How a parent is told that a child of it has ended.

use std::{sync::Arc, time::Duration};

use super::{Done, refused};
use crate::{
    faults::{self, Bug},
    model::{
        family::{ChildEnd, Owed, Untold},
        ids::{InputId, SessionId},
        record::SessionRecord,
    },
    runtime::{
        core::{Core, Life},
        error::SendError,
        op::{NewInput, Op, Reply},
        reader,
    },
    store::StoreError,
    telemetry,
};

/// How long a workload may take to say what becomes of the end of a child.
const SAY_WITHIN: Duration = Duration::from_secs(60);

/// Tells the parent of a session that it has ended: by an input, if its workload makes one of it.
pub(super) async fn tell(core: Arc<Core>, child: SessionRecord, owed: Owed) -> Done {
    let untold = child.family.as_ref().and_then(|family| family.untold.as_deref().cloned());
    let (mut parent, end) = match untold {
        Some(Untold { parent, end }) => (Some(parent), end),
        None => match ChildEnd::of(&child) {
            Some(end) => (child.links().parent, end),
            // It was resumed meanwhile. Its next end will be told.
            None => return Done::Yes,
        },
    };
    while let Some(id) = parent {
        let found = reader::load_patiently(&core, id).await.unwrap_or_default();
        let Some(record) = found.filter(|record| !record.is_deleted()) else {
            return Done::Yes;
        };
        if let Some(successor) = record.links().transitioned_to {
            // What it was told before goes on as its other inputs do: with them to the successor, or not at all.
            match was_told(&core, id, &end, owed).await {
                Ok(true) => return Done::Yes,
                Ok(false) => parent = Some(successor),
                Err(_) => return Done::NotNow,
            }
            continue;
        }
        if !record.state().accepts_input() {
            return Done::Yes;
        }
        match tell_parent(&core, &record, &end, owed).await {
            Told::Done(done) => return done,
            // Its record says so now.
            Told::RolledOver => {}
        }
    }
    Done::Yes
}

enum Told {
    Done(Done),
    RolledOver,
}

/// By what a session tells one telling of an end from another.
fn input_id(end: &ChildEnd, owed: Owed) -> InputId {
    let id = format!("child-end:{}:{}", end.child, owed.event);
    InputId::new(id).expect("two numbers fit")
}

async fn was_told(
    core: &Core,
    parent: SessionId,
    end: &ChildEnd,
    owed: Owed,
) -> Result<bool, StoreError> {
    let accepted = core.store()?.accepted(parent, input_id(end, owed)).await?;
    Ok(accepted.is_some() && !faults::planted(Bug::TellSuccessorToo))
}

async fn tell_parent(core: &Arc<Core>, parent: &SessionRecord, end: &ChildEnd, owed: Owed) -> Told {
    let Some(workload) = core.registry.get(&parent.kind) else {
        return Told::Done(Done::NotHere);
    };
    let state_version = workload.state_version();
    let said = {
        let (workload, end) = (Arc::clone(workload), end.clone());
        reader::call(core, SAY_WITHIN, None, async move { workload.on_child_end(&end) }).await
    };
    let payload = match said {
        Ok(Some(payload)) => payload,
        Ok(None) => return Told::Done(Done::Yes),
        Err((what, _)) => {
            telemetry::child_end_untold(parent.id, end.child, &what);
            return Told::Done(Done::NotHere);
        }
    };
    let mut id = input_id(end, owed);
    if faults::planted(Bug::TellEndAgain) {
        id = InputId::new(format!("{id}{}", parent.version)).expect("three numbers fit");
    }
    let input = NewInput { id: Some(id), payload: payload.into(), state_version, urgent: false };
    let session = parent.id;
    loop {
        let (reply, answered) = Reply::new(session);
        core.route(session, Op::Send { input: input.clone(), reply });
        let Ok(answer) = answered.await else {
            if core.life() != Life::Running {
                return Told::Done(Done::NotNow);
            }
            tokio::task::yield_now().await;
            continue;
        };
        return Told::Done(match answer {
            Ok(_) => Done::Yes,
            Err(SendError::RolledOver { .. }) => return Told::RolledOver,
            // It ended meanwhile; or it was told before, and says something else of it now.
            Err(SendError::NotAccepting { .. } | SendError::InputIdReused { .. }) => Done::Yes,
            Err(SendError::Full { .. }) => Done::NotNow,
            // It is not urgent, so it is not refused as one that is.
            Err(
                error @ (SendError::TooLarge { .. }
                | SendError::Invalid { .. }
                | SendError::UrgentFull { .. }
                | SendError::UrgentTooLarge { .. }),
            ) => {
                telemetry::child_end_untold(session, end.child, &error.to_string());
                Done::NotHere
            }
            Err(SendError::Session(error)) => refused(session, &error),
        });
    }
}
