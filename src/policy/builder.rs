//! Building a policy: every rule about its values is checked here, once.

use std::time::Duration;

use super::{Limit, OnIdle, OnSilence, Policy, RestartPolicy, WhileAbandoned, settings::Settings};

/// Builds a [`Policy`]; see its methods for the meaning and default of each setting.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PolicyBuilder(pub(super) Settings);

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        $($(#[$doc])*
        pub fn $name(mut self, value: impl Into<$type>) -> Self {
            self.0.$name = value.into();
            self
        })*
    };
}

impl PolicyBuilder {
    setters! {
        /// See [`Policy::heartbeat_timeout`].
        heartbeat_timeout: Limit,
        /// See [`Policy::on_silence`].
        on_silence: OnSilence,
        /// See [`Policy::idle_timeout`].
        idle_timeout: Limit,
        /// See [`Policy::on_idle`].
        on_idle: OnIdle,
        /// See [`Policy::pause_grace`].
        pause_grace: Duration,
        /// See [`Policy::stop_grace`].
        stop_grace: Duration,
        /// See [`Policy::cancel_grace`].
        cancel_grace: Duration,
        /// See [`Policy::paused_timeout`].
        paused_timeout: Limit,
        /// See [`Policy::pending_timeout`].
        pending_timeout: Limit,
        /// See [`Policy::while_abandoned`].
        while_abandoned: WhileAbandoned,
        /// See [`Policy::restart`].
        restart: RestartPolicy,
        /// See [`Policy::max_inputs`].
        max_inputs: u32,
        /// See [`Policy::max_input_bytes`].
        max_input_bytes: u64,
        /// See [`Policy::max_urgent_inputs`].
        max_urgent_inputs: u32,
        /// See [`Policy::max_snapshot_bytes`].
        max_snapshot_bytes: u64,
        /// See [`Policy::max_children`].
        max_children: u32,
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the setting and what it must be.
    pub fn build(self) -> Result<Policy, InvalidPolicy> {
        let limits = [
            ("heartbeat_timeout", self.0.heartbeat_timeout),
            ("idle_timeout", self.0.idle_timeout),
            ("paused_timeout", self.0.paused_timeout),
            ("pending_timeout", self.0.pending_timeout),
        ];
        for (setting, limit) in limits {
            if limit.duration().is_some_and(|limit| limit < MIN_TIMEOUT) {
                return Err(InvalidPolicy::new(setting, "at least 1ms, or never"));
            }
        }
        let spans = [
            ("heartbeat_timeout", self.0.heartbeat_timeout.duration()),
            ("idle_timeout", self.0.idle_timeout.duration()),
            ("paused_timeout", self.0.paused_timeout.duration()),
            ("pending_timeout", self.0.pending_timeout.duration()),
            ("pause_grace", Some(self.0.pause_grace)),
            ("stop_grace", Some(self.0.stop_grace)),
            ("cancel_grace", Some(self.0.cancel_grace)),
        ];
        for (setting, span) in spans {
            if span.is_some_and(|span| span > MAX_SPAN) {
                return Err(InvalidPolicy::new(setting, "at most 100 years; for no limit, never"));
            }
        }
        if self.0.cancel_grace < MIN_CANCEL_GRACE {
            let must_be = "at least 10ms: a cancelled run needs a moment to be gone";
            return Err(InvalidPolicy::new("cancel_grace", must_be));
        }
        let counts = [
            ("max_inputs", u64::from(self.0.max_inputs)),
            ("max_input_bytes", self.0.max_input_bytes),
            ("max_urgent_inputs", u64::from(self.0.max_urgent_inputs)),
            ("max_snapshot_bytes", self.0.max_snapshot_bytes),
        ];
        for (setting, count) in counts {
            if count == 0 {
                return Err(InvalidPolicy::new(setting, "at least 1"));
            }
        }
        if self.0.max_snapshot_bytes > MAX_SNAPSHOT {
            return Err(InvalidPolicy::new("max_snapshot_bytes", "at most 1 GiB"));
        }
        self.0.restart.validate()?;
        Ok(Policy(self.0))
    }
}

const MIN_CANCEL_GRACE: Duration = Duration::from_millis(10);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
pub(super) const MAX_SPAN: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
const MAX_SNAPSHOT: u64 = 1 << 30;

impl TryFrom<Settings> for Policy {
    type Error = InvalidPolicy;

    fn try_from(settings: Settings) -> Result<Self, InvalidPolicy> {
        PolicyBuilder(settings).build()
    }
}

impl From<Policy> for Settings {
    fn from(policy: Policy) -> Self {
        policy.0
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid policy: {setting} must be {must_be}")]
pub struct InvalidPolicy {
    setting: &'static str,
    must_be: &'static str,
}

impl InvalidPolicy {
    pub(super) const fn new(setting: &'static str, must_be: &'static str) -> Self {
        Self { setting, must_be }
    }

    /// The name of the setting.
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}
