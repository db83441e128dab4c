//! How much the sessions of a store hold.

use std::{fmt, num::NonZeroU64};

use crate::{model::footprint::StateBytes, store::StoreError, supervisor::Supervisor};

/// How much the sessions of a store hold, beside the limit that [retention](crate::Retention::bytes) sets. Its `Display` is one line for
/// people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// How many logical bytes, by the states of the sessions.
    pub held: StateBytes,
    /// How many they may hold together, if that has a limit.
    pub limit: Option<NonZeroU64>,
}

impl Space {
    /// How many bytes they hold beyond the limit. It may be so for a second and until ended sessions are deleted; where it stays so, none
    /// is left that may be.
    pub fn excess(&self) -> u64 {
        self.limit.map_or(0, |limit| self.held.total().saturating_sub(limit.get()))
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.held.total())?;
        match (self.limit, self.excess()) {
            (None, _) => Ok(()),
            (Some(limit), 0) => write!(f, " of {limit}"),
            (Some(limit), excess) => write!(f, " of {limit}: {excess} too many"),
        }
    }
}

impl Supervisor {
    /// How many logical bytes the sessions of the store hold, all and by their states, and whether these are too many. It is counted
    /// with every commit, so this is no scan. Without [a limit](crate::Retention::bytes) their events and steps may not be counted.
    ///
    /// ```
    /// # async fn example(supervisor: sessionkeeper::Supervisor) -> Result<(), sessionkeeper::store::StoreError> {
    /// use sessionkeeper::State;
    ///
    /// let space = supervisor.space().await?;
    /// println!("{space}"); // 812 bytes of 1000
    /// println!("{} of them by paused sessions", space.held.of(State::Paused));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A store that fails.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn space(&self) -> Result<Space, StoreError> {
        let held = self.core().store()?.held().await?;
        Ok(Space { held, limit: self.core().retention.most_bytes() })
    }
}
