//! What users write: a [`Workload`], and what it is given to work with.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use crate::model::{
    event::RunEnd, family::ChildEnd, ids::SessionId, sleep::Alarm, time::Timestamp,
};

mod context;
pub(crate) mod erased;
mod error;
#[cfg(all(test, sessionkeeper_loom))]
mod explored;
mod facts;
mod guards;
mod hold;
mod inbox;
mod line;
pub(crate) mod panics;
pub(crate) mod rollover;
mod run;
mod signs;
mod steps;
pub(crate) mod threads;

#[cfg(all(test, sessionkeeper_loom))]
pub(crate) use self::explored::explored_run;
pub use self::{
    context::{Context, Input},
    error::{BusyError, EmitError, RunError, UnsupportedVersion, WorkloadError},
    guards::{AwaitingGuard, BusyGuard},
    hold::{Held, Resource},
    line::{YieldReason, YieldRequest},
    rollover::{Rollover, Unread},
    run::Run,
    steps::{FailedStep, IdempotencyKey, Interrupted, StepError},
    threads::UserCode,
};
pub(crate) use self::{
    facts::{Note, Noted, Weight, bytes_of, fitting},
    hold::Holding,
    inbox::{Covers, Delivery, Draft},
    line::{Ask, Fenced, Port, Request, RunParts, StepChange},
    run::Marked,
    signs::Declaration,
};

/// The work of one kind of session.
///
/// One value serves all sessions of its kind, so whatever it holds (a client, a pool) is shared;
/// what belongs to a session is its [`State`](Self::State).
///
/// # Contract
///
/// - [`run`](Self::run) begins with the last committed state and ends when it returns, fails,
///   panics or is cancelled. Asking for the [next input](Context::next_input) ends the turn: the
///   state and the input that was in hand are committed together.
/// - A run that ends in any other way than `Ok(Outcome::Completed)` with an input in hand goes
///   back to the last commit, and the input is given to the next run.
/// - When `next_input` gives `None`, somebody asked the run to yield: return
///   [`Outcome::Yielded`]. A run that does not within its grace is cancelled: its future is
///   dropped at the next `await`. A run that blocks its thread cannot be cancelled; it is
///   *abandoned* and can change nothing any more.
///
/// # Example
///
/// ```
/// use sessionkeeper::{Context, Outcome, Workload, WorkloadError};
///
/// struct Adder;
///
/// impl Workload for Adder {
///     const KIND: &'static str = "adder";
///     const STATE_VERSION: u32 = 1;
///     type State = i64;
///     type Input = i64;
///
///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
///         while let Some(number) = cx.next_input().await? {
///             *cx.state_mut() += *number;
///         }
///         Ok(Outcome::Yielded)
///     }
/// }
/// ```
pub trait Workload: Sized + Send + Sync + 'static {
    /// The name of this kind: stored with each session, so it must not change.
    const KIND: &'static str;
    /// The version of [`State`](Self::State) and [`Input`](Self::Input). Raise it when their
    /// stored form changes, and teach [`migrate`](Self::migrate) the way from the older one.
    const STATE_VERSION: u32;
    /// What survives. It is stored as JSON, so it must come back from JSON as it went: map keys
    /// are strings, and a float that is not a number does not come back. What is nested more than
    /// 100 deep is refused when it is encoded.
    type State: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What can be sent.
    type Input: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Does the work of one run.
    ///
    /// # Errors
    /// An error counts as a failure and the restart policy decides what follows, unless the
    /// error says so itself: see [`WorkloadError::permanent`] and [`WorkloadError::retry_after`].
    fn run(
        &self,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Outcome, WorkloadError>> + Send;

    /// Cleans up after a run: called once for every run, however it ended, before its session is reported paused or
    /// stopped, or as ended by its run. An end that does not wait for the run (`complete`, `fail` or a silence that
    /// expires it) is reported first. Events and usage recorded here are still kept.
    ///
    /// It has nine tenths of `cancel_grace`, closing of what the run holds included; past that it is
    /// dropped, and the log warns. A panic in it is caught and changes nothing.
    ///
    /// An abandoned run is closed when its thread comes back, if it ever does.
    fn close(&self, run: &Run, end: &RunEnd) -> impl Future<Output = ()> + Send {
        let _ = (run, end);
        async {}
    }

    /// Copies what a session has outside of its state, such as a worktree, for a fork that is to be made of it; or
    /// refuses the fork with an error. The state is that of the fork: what is changed in it, such as a path, is
    /// what the fork begins with. See [`Supervisor::fork`](crate::Supervisor::fork).
    ///
    /// It is called before anything is stored. Where the fork then cannot be stored, or its worker is lost
    /// before it is, what was copied belongs to a session that does not exist, and nobody is told. So keep it
    /// under the id of the fork, look there before you copy again, and remove now and then what belongs to no
    /// session.
    ///
    /// It is called beside the runs of the session, which may be changing what is copied, and not in one
    /// of them. It has [a minute](crate::Fork::within) unless the caller says otherwise; past that, and where its worker shuts
    /// down, it is dropped at its next `await`. A panic in it is caught and refuses the fork.
    ///
    /// # Errors
    /// Any error refuses the fork, which is not made then.
    fn on_fork(
        &self,
        parent: SessionId,
        fork: SessionId,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<(), WorkloadError>> + Send {
        let _ = (parent, fork, state);
        async { Ok(()) }
    }

    /// The input that the session gets when a child of it has ended; by default none. It wakes a session that is idle, so a parent
    /// need not run while its children do.
    ///
    /// It is durable: whatever is lost in between, the session gets the input once for each end, also where the child was deleted
    /// after it, and when there is room where the inbox is full. One that is stopped or has
    /// ended gets none, and one that was rolled over gets it in its successor. A parent that also waits by
    /// [`child_ended`](Run::child_ended) hears of the end twice, once in each way.
    ///
    /// It is called beside the runs of the session, and more than once where a worker is lost meanwhile: so it should say the
    /// same of the same end. A panic in it is caught, and then the next worker asks again.
    fn on_child_end(&self, end: &ChildEnd) -> Option<Self::Input> {
        let _ = end;
        None
    }

    /// Brings a state of an older version to the present one.
    ///
    /// # Errors
    /// The default knows no older version. An error leaves everything as it is stored.
    fn migrate(&self, from: u32, state: serde_json::Value) -> Result<Self::State, WorkloadError> {
        let _ = state;
        Err(UnsupportedVersion { found: from, supported: Self::STATE_VERSION }.into())
    }

    /// Brings an input that was accepted under an older version to the present one.
    ///
    /// # Errors
    /// The default knows no older version.
    fn migrate_input(
        &self,
        from: u32,
        input: serde_json::Value,
    ) -> Result<Self::Input, WorkloadError> {
        let _ = input;
        Err(UnsupportedVersion { found: from, supported: Self::STATE_VERSION }.into())
    }
}

/// How a run ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It let go, and the session goes on later. With no input in hand the present state is
    /// committed. Where nobody had asked, the session is paused as idle.
    Yielded,
    /// The session is done. The present state is committed, and covers the input in hand.
    Completed,
    /// It let go until an alarm rings: a usage limit that resets at five, say. See [`Outcome::sleep_until`].
    SleepUntil(Alarm),
    /// The session is done, and its successor goes on. Only [`Context::rollover`] makes it, which is told what that
    /// begins with.
    RolledOver(RolledOver),
}

/// That a run rolls its session over: made by [`Context::rollover`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolledOver(());

impl Outcome {
    /// Lets go, as [`Yielded`](Self::Yielded) does, and pauses the session until this time. Inputs wait
    /// meanwhile; with
    /// [`sleep_until_or_input`](Self::sleep_until_or_input) one that comes wakes the session earlier.
    ///
    /// With no input in hand the present state is committed; one that is in hand is given to the next
    /// run, so a turn that met a limit is begun again when the limit is gone.
    ///
    /// The time is one of the wall clock: five o'clock is five o'clock, also where the worker was down
    /// meanwhile or the clock was set. A clock that jumps is noticed within half a minute. A time that
    /// has passed wakes the session after [a second](Alarm::SHORTEST). The session costs no memory
    /// while it sleeps, and `paused_timeout` does not count. `resume` wakes it at once, and
    /// `pause` withdraws the alarm.
    ///
    /// A pause that a person asked for wins over the sleep; a shutdown or an idle pause does not.
    ///
    /// ```
    /// use sessionkeeper::{Context, Outcome, Timestamp, Workload, WorkloadError};
    ///
    /// # async fn ask(prompt: &str) -> Result<String, Timestamp> { Ok(prompt.to_owned()) }
    /// struct Coder;
    ///
    /// impl Workload for Coder {
    ///     const KIND: &'static str = "coder";
    ///     const STATE_VERSION: u32 = 1;
    ///     type State = Vec<String>;
    ///     type Input = String;
    ///
    ///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
    ///         while let Some(prompt) = cx.next_input().await? {
    ///             match ask(&prompt).await {
    ///                 Ok(answer) => cx.state_mut().push(answer),
    ///                 // The prompt is given again at five.
    ///                 Err(resets_at) => return Ok(Outcome::sleep_until(resets_at)),
    ///             }
    ///         }
    ///         Ok(Outcome::Yielded)
    ///     }
    /// }
    /// ```
    pub const fn sleep_until(at: Timestamp) -> Self {
        Self::SleepUntil(Alarm::at(at))
    }

    /// The same, and an input wakes the session too, if it is news: one that came after this run had begun
    /// and that the run did not take. Where the run consumed inputs and has none in hand, any that waits.
    pub const fn sleep_until_or_input(at: Timestamp) -> Self {
        Self::SleepUntil(Alarm::at(at).or_input())
    }
}
