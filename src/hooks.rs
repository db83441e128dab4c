//! Code of the worker's own that is called when a session starts, moves and ends.
//!
//! What happens to sessions is in their log, and hooks are called by it: so a hook is owed from the commit of what it
//! is about, also where the worker is lost just after. The worker keeps in its store how far it has come, and the next one goes
//! on. Each is called until it did not fail. It is called once more where the worker is lost in the 100 ms after that;
//! [`HookCall::id`] is the same then.
//!
//! The hooks of one session are called one after the other, in this order:
//!
//! | what happened | which hooks |
//! | --- | --- |
//! | its first run begins, or the first since it was stopped | [`on_session_start`](SessionHooks::on_session_start), [`on_state_changed`](SessionHooks::on_state_changed) |
//! | it moves | [`on_state_changed`](SessionHooks::on_state_changed) |
//! | it is stopped, completed, failed or expired | [`on_state_changed`](SessionHooks::on_state_changed), [`on_session_end`](SessionHooks::on_session_end) |
//! | it is deleted while it is paused, and has begun | [`on_session_end`](SessionHooks::on_session_end) |
//! | a run ends, also one that ends its session | [`after_run`](SessionHooks::after_run), after the others |
//!
//! The end of a session is told when its run has ended and was closed: what it recorded, in its [`close`](crate::Workload::close) too,
//! is in the log and in the record by then. That holds for ends which do not wait for the run as well (a caller's `complete` or
//! `fail`, or a silence that expires it).
//!
//! Those of different sessions do not wait for each other: one that fails or hangs is called again after a second, then
//! after twice as long, up to five minutes, and delays only what its own session has coming. After
//! [20 attempts](HookOptions::attempts) it is given up. [`Supervisor::hooks`](crate::Supervisor::hooks) and the trace tell.
//! Only where 1,024 sessions have hooks that are not done, the others wait.
//!
//! What is owed goes with the sessions into a store that is repaired or made out of an archive.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    model::{event::EventRecord, ids::SessionId, record::SessionRecord},
    store::BoxError,
};

/// What is called when a session starts, moves and ends. The [module](self) says when, and how often.
///
/// ```
/// use sessionkeeper::hooks::{HookCall, SessionHooks};
/// use sessionkeeper::store::BoxError;
///
/// struct Announce;
///
/// impl SessionHooks for Announce {
///     async fn on_session_end(&self, call: HookCall) -> Result<(), BoxError> {
///         println!("{} has ended ({})", call.session, call.id());
///         Ok(())
///     }
/// }
/// ```
pub trait SessionHooks: Send + Sync + 'static {
    /// The session begins: its first run, or the first since it was stopped.
    ///
    /// # Errors
    /// Whatever went wrong: it is called again.
    fn on_session_start(
        &self,
        call: HookCall,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = call;
        async { Ok(()) }
    }

    /// The session came to its end: it was stopped, or is completed, failed or expired; or it was deleted while it was paused, and never
    /// moves again.
    ///
    /// # Errors
    /// Whatever went wrong: it is called again.
    fn on_session_end(&self, call: HookCall) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = call;
        async { Ok(()) }
    }

    /// A run ended, however it did: [`HookCall::event`] says how.
    ///
    /// # Errors
    /// Whatever went wrong: it is called again.
    fn after_run(&self, call: HookCall) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = call;
        async { Ok(()) }
    }

    /// The session moved from one state to another: [`HookCall::event`] says which.
    ///
    /// # Errors
    /// Whatever went wrong: it is called again.
    fn on_state_changed(
        &self,
        call: HookCall,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = call;
        async { Ok(()) }
    }
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HookCall {
    /// Which hook it is.
    pub hook: Hook,
    /// The session.
    pub session: SessionId,
    /// What happened to it.
    pub event: Arc<EventRecord>,
    /// Its record as it is now, which may be later. Of a session that was deleted meanwhile it still has name, external id, labels,
    /// metadata and what was used ([`is_deleted`](SessionRecord::is_deleted) says so), as nothing is removed before its hooks are done.
    /// None where it cannot be read.
    pub record: Option<Arc<SessionRecord>>,
    /// How often it was called by this worker, from 1.
    pub attempt: u32,
}

impl HookCall {
    /// Tells the calls of hooks apart, and is the same where one is called again.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.session, self.event.sequence, self.hook.as_str())
    }
}

/// Which hook it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hook {
    /// [`SessionHooks::on_session_start`].
    #[serde(rename = "on_session_start")]
    SessionStart,
    /// [`SessionHooks::on_state_changed`].
    #[serde(rename = "on_state_changed")]
    StateChanged,
    /// [`SessionHooks::on_session_end`].
    #[serde(rename = "on_session_end")]
    SessionEnd,
    /// [`SessionHooks::after_run`].
    #[serde(rename = "after_run")]
    AfterRun,
}

impl Hook {
    /// The name of its method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionStart => "on_session_start",
            Self::StateChanged => "on_state_changed",
            Self::SessionEnd => "on_session_end",
            Self::AfterRun => "after_run",
        }
    }
}

/// How hooks are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "they go to `Builder::hooks_with`"]
pub struct HookOptions {
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
}

impl Default for HookOptions {
    /// 30 s for a call, and 20 of them.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), attempts: 20 }
    }
}

impl HookOptions {
    /// How long a call may take, at least a millisecond (default 30 s). Past it, it is dropped and has failed.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a worker calls one that fails before it gives it up, at least once (default 20: about an hour).
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }
}

/// How the hooks do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HooksStatus {
    /// How many events are still to be read for hooks, or have hooks that are not done.
    pub behind: u64,
    /// What fails at present, by session.
    pub failing: Vec<FailingHook>,
    /// How many this worker gave up.
    pub given_up: u64,
}

/// A hook that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailingHook {
    /// Of which session.
    pub session: SessionId,
    /// Which hook.
    pub hook: Hook,
    /// How often it has failed.
    pub failures: u32,
    /// What went wrong the last time.
    pub trouble: Arc<str>,
}

/// Hooks of whatever type.
pub(crate) trait AnyHooks: Send + Sync {
    fn call(
        self: Arc<Self>,
        call: HookCall,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
}

impl<H: SessionHooks> AnyHooks for H {
    fn call(
        self: Arc<Self>,
        call: HookCall,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> {
        Box::pin(async move {
            match call.hook {
                Hook::SessionStart => self.on_session_start(call).await,
                Hook::StateChanged => self.on_state_changed(call).await,
                Hook::SessionEnd => self.on_session_end(call).await,
                Hook::AfterRun => self.after_run(call).await,
            }
        })
    }
}
