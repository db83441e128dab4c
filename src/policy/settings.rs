//! The values of a policy, as they are written down; unchecked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Limit, OnIdle, OnSilence, RestartPolicy, WhileAbandoned, limit};

/// What a policy and its builder hold; the methods of [`Policy`](super::Policy) say what each
/// value means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub(super) heartbeat_timeout: Limit,
    pub(super) on_silence: OnSilence,
    pub(super) idle_timeout: Limit,
    pub(super) on_idle: OnIdle,
    #[serde(with = "limit::duration")]
    pub(super) pause_grace: Duration,
    #[serde(with = "limit::duration")]
    pub(super) stop_grace: Duration,
    #[serde(with = "limit::duration")]
    pub(super) cancel_grace: Duration,
    pub(super) paused_timeout: Limit,
    pub(super) pending_timeout: Limit,
    pub(super) while_abandoned: WhileAbandoned,
    pub(super) restart: RestartPolicy,
    pub(super) max_inputs: u32,
    pub(super) max_input_bytes: u64,
    pub(super) max_urgent_inputs: u32,
    pub(super) max_snapshot_bytes: u64,
    // Left out at its default, so that a start that is repeated by a newer version is the same start.
    #[serde(skip_serializing_if = "is_max_children")]
    pub(super) max_children: u32,
}

impl Default for Settings {
    /// The defaults, each named at its method.
    fn default() -> Self {
        Self {
            heartbeat_timeout: Limit::After(Duration::from_secs(30 * 60)),
            on_silence: OnSilence::Expire,
            idle_timeout: Limit::After(Duration::from_secs(30 * 60)),
            on_idle: OnIdle::Pause,
            pause_grace: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
            cancel_grace: Duration::from_secs(5),
            paused_timeout: Limit::Never,
            pending_timeout: Limit::Never,
            while_abandoned: WhileAbandoned::RefuseResume,
            restart: RestartPolicy::default(),
            max_inputs: 64,
            max_input_bytes: 4 << 20,
            max_urgent_inputs: 16,
            max_snapshot_bytes: 16 << 20,
            max_children: MAX_CHILDREN,
        }
    }
}

const MAX_CHILDREN: u32 = 64;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_max_children(children: &u32) -> bool {
    *children == MAX_CHILDREN
}
