//! What a session may take, how long, and what follows: plain values and pure decisions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) mod alerts;
mod builder;
mod limit;
pub(crate) mod liveness;
pub(crate) mod recovery;
pub(crate) mod restart;
pub(crate) mod retention;
mod settings;
#[cfg(test)]
mod tests;

#[cfg(feature = "process")]
pub(crate) use self::limit::duration;
use self::settings::Settings;
pub use self::{
    alerts::{Alert, Thresholds},
    builder::{InvalidPolicy, PolicyBuilder},
    limit::Limit,
    recovery::RecoverWhat,
    restart::{Backoff, OnExhausted, Restart, RestartPolicy},
    retention::Retention,
};

/// How one session is treated. The supervisor has one for all; a session may have its own.
///
/// It reads from and writes to any serde format, durations as people write them:
///
/// ```
/// use sessionkeeper::{Limit, Policy};
/// use std::time::Duration;
///
/// let policy: Policy = serde_json::from_str(
///     r#"{ "heartbeat_timeout": "1h 30m", "idle_timeout": "never", "stop_grace": "5s" }"#,
/// )?;
/// assert_eq!(policy.heartbeat_timeout(), Limit::After(Duration::from_secs(90 * 60)));
/// assert_eq!(policy.idle_timeout(), Limit::Never);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct Policy(Settings);

impl Policy {
    /// Starts from the defaults.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// Starts from the values of this policy.
    pub fn to_builder(&self) -> PolicyBuilder {
        PolicyBuilder(self.0.clone())
    }

    /// How long a working run may give no sign of life (default 30 min of worker time).
    ///
    /// Where the process stood still, up to 2 s of that count: with a shorter timeout than some
    /// seconds, a stopped process can expire a run that is well.
    pub const fn heartbeat_timeout(&self) -> Limit {
        self.0.heartbeat_timeout
    }

    /// What happens to a run that gives none (default: it expires).
    pub const fn on_silence(&self) -> OnSilence {
        self.0.on_silence
    }

    /// How long a run may rest in `next_input` (default 30 min of worker time).
    pub const fn idle_timeout(&self) -> Limit {
        self.0.idle_timeout
    }

    /// What happens to a run that rests longer (default: it is paused, and an input wakes it).
    pub const fn on_idle(&self) -> OnIdle {
        self.0.on_idle
    }

    /// How long a run that was asked to pause may take before it is cancelled (default 30 s).
    pub const fn pause_grace(&self) -> Duration {
        self.0.pause_grace
    }

    /// How long a run that was asked to stop may take before it is cancelled (default 10 s).
    pub const fn stop_grace(&self) -> Duration {
        self.0.stop_grace
    }

    /// How long a cancelled run may take to be gone, its clean-up included, before it is
    /// abandoned (default 5 s).
    pub const fn cancel_grace(&self) -> Duration {
        self.0.cancel_grace
    }

    /// How long a session may be paused before it expires, in supervised time (default never).
    /// Quarantined sessions wait without limit.
    pub const fn paused_timeout(&self) -> Limit {
        self.0.paused_timeout
    }

    /// How long a session may be pending before it expires, in supervised time (default never).
    pub const fn pending_timeout(&self) -> Limit {
        self.0.pending_timeout
    }

    /// What a resume does while an abandoned run is alive (default: it is refused).
    pub const fn while_abandoned(&self) -> WhileAbandoned {
        self.0.while_abandoned
    }

    /// What follows a failure.
    pub const fn restart(&self) -> &RestartPolicy {
        &self.0.restart
    }

    /// How many inputs may wait that are not urgent (default 64).
    pub const fn max_inputs(&self) -> u32 {
        self.0.max_inputs
    }

    /// How many bytes of inputs may wait (default 4 MiB).
    pub const fn max_input_bytes(&self) -> u64 {
        self.0.max_input_bytes
    }

    /// How many urgent inputs may wait, besides the others (default 16). Each may have up to 64 KiB.
    pub const fn max_urgent_inputs(&self) -> u32 {
        self.0.max_urgent_inputs
    }

    /// How large a snapshot may be, encoded (default 16 MiB).
    pub const fn max_snapshot_bytes(&self) -> u64 {
        self.0.max_snapshot_bytes
    }

    /// How many children of the session may be there at once that have not ended (default 64; 0: it may have none).
    pub const fn max_children(&self) -> u32 {
        self.0.max_children
    }
}

/// What happens to a run that gives no sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSilence {
    /// The session expires: terminal.
    #[default]
    Expire,
    /// The run is cancelled and counts as failed; the restart policy decides.
    Restart,
    /// The run is cancelled and the session quarantined: paused until a person resumes it.
    Pause,
}

/// What happens to a run that has had nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnIdle {
    /// The session is paused; the next input wakes it.
    #[default]
    Pause,
    /// The session expires: terminal.
    Expire,
}

/// What a resume does while an abandoned run of the session is still alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhileAbandoned {
    /// It is refused: two runs of one session never touch the world at once.
    #[default]
    RefuseResume,
    /// It is allowed: the abandoned run can change nothing in the store, and what it does
    /// elsewhere is the caller's to bear.
    AllowResume,
}
