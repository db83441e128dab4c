//! The children of the workload of the simulation.

use std::time::Duration;

use sessionkeeper::{ChildKey, Context, Outcome, Start, StartError, WorkloadError};

use super::{
    cues::{Cue, on_parent},
    player::{Played, Player},
};
use crate::oracle::ledger::{Book, Did};

/// Starts a child, and waits a while for its end.
pub(super) async fn bear<const V: u32>(
    book: &Book,
    cx: &Context<Player<V>>,
    key: u64,
    kind: u8,
    waits: bool,
) -> Result<Option<Outcome>, WorkloadError> {
    let tell = |did| book.run(cx.session(), cx.run().id(), did);
    let first = Cue::of_child(key, kind);
    tell(Did::Bear { key, first: first.tag });
    let start = Start::<Player<V>>::new(Played::default()).on_parent(on_parent(kind)).input(first);
    let child = match cx.start_child(ChildKey::new(format!("child {key}"))?, start).await {
        Ok(child) => child.id(),
        // It is as it is, however often it is tried.
        Err(
            StartError::Deleted { .. }
            | StartError::TooManyChildren { .. }
            | StartError::TooDeep { .. },
        ) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    tell(Did::Bore { key, child });
    if !waits {
        return Ok(None);
    }
    match tokio::time::timeout(Duration::from_secs(2), cx.child_ended(child)).await {
        Ok(Ok(Some(end))) => {
            tell(Did::ChildEnded { child, last: end.child, state: end.state });
            Ok(None)
        }
        Ok(Ok(None)) => Ok(Some(Outcome::Yielded)),
        // It takes longer, or is gone.
        Err(_) | Ok(Err(_)) => Ok(None),
    }
}
