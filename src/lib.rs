//! Run long-lived sessions inside a worker process and never lose one.
//!
//! A *session* is the lasting thing: an id, a state, a history. It survives pauses, crashes and the
//! restart of the worker. A [`Workload`] is your code: an async function over a state, which receives
//! inputs. A [`Supervisor`] runs the sessions of one process on one [store]: it commits
//! their states, watches that they are alive, restarts them when they fail, and takes up what the
//! process before it left.
//!
//! This page is the manual. Each section says what is promised and what is not.
//!
//! - [A first workload](#a-first-workload)
//! - [Turns](#turns), [facts](#facts), [silence](#silence)
//! - [Pause, stop and the ladder](#pause-stop-and-the-ladder), [failure and restart](#failure-and-restart)
//! - [Recovery](#recovery), [shutdown](#shutdown), [stores and durability](#stores-and-durability)
//! - [Guarantees](#guarantees), [cancel safety](#cancel-safety), [errors](#errors), [features](#features)
//!
//! # A first workload
//!
//! ```
//! use sessionkeeper::{
//!     Context, Outcome, Start, State, Supervisor, Workload, WorkloadError, store::MemoryStore,
//! };
//! use std::time::Duration;
//!
//! struct Adder;
//!
//! impl Workload for Adder {
//!     const KIND: &'static str = "adder";
//!     const STATE_VERSION: u32 = 1;
//!     type State = i64; // what survives
//!     type Input = i64; // what can be sent
//!
//!     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
//!         while let Some(number) = cx.next_input().await? {
//!             if *number == 0 {
//!                 return Ok(Outcome::Completed);
//!             }
//!             *cx.state_mut() += *number;
//!         }
//!         Ok(Outcome::Yielded) // somebody asked it to pause, to stop or to shut down
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let supervisor = Supervisor::builder(MemoryStore::new()).workload(Adder).start().await?;
//! let session = supervisor.start(Start::<Adder>::new(40).input(2)).await?;
//! session.pause().await?; // at rest, and durably so
//! session.send(1).await?; // accepted; a session that was asked to pause does not wake for it
//! session.resume().await?;
//! session.send(0).await?;
//! let settled = session.settled().await?;
//! assert_eq!(settled.status().state(), State::Completed);
//! assert_eq!(session.snapshot().await?.state, 43);
//! supervisor.shutdown(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! In a worker, use `SledStore::open` in place of `MemoryStore::new`, and
//! `Supervisor::run_until_signal` in place of `shutdown`.
//!
//! One value of the workload serves all sessions of its kind. What they share (a client, a pool) goes
//! into the value; what belongs to one session goes into its state.
//!
//! # Turns
//!
//! The work on one input is a *turn*. From the moment it is given to a run until a commit covers it,
//! an input is *in hand*.
//!
//! | call | the state | the input in hand |
//! | --- | --- | --- |
//! | [`next_input`](Context::next_input) | is committed | is covered; the next one is given out after that |
//! | [`checkpoint`](Context::checkpoint) | is committed | is covered |
//! | [`save_progress`](Context::save_progress) | is committed | stays in hand |
//! | `Ok(Outcome::Completed)` | is committed | is covered; the session ends |
//! | `Ok(Outcome::Yielded)` | is committed, if no input is in hand | is given to the next run |
//! | `Ok(Outcome::SleepUntil(..))` | is committed, if no input is in hand | is given to the next run, after the [sleep](Outcome::sleep_until) |
//! | an error, a panic, a cancel, a crash | goes back to the last commit | is given to the next run |
//!
//! State and covered inputs are one commit. So **the effect of an input on the state happens exactly
//! once**. Its effect on the world does not: a run that is given an input again does its work again.
//! [`Input::attempt`] is then above 1. Where doing it twice is harmful, take a *step*.
//!
//! # Steps
//!
//! [`step`](Run::step) records that a call is about to be made, makes it, and records its result. Where the
//! turn is done again, the call gives its recorded result and is not made. Where nobody knows whether it
//! was made (the worker was lost in the middle of it), it comes back as [`StepError::Interrupted`], and the
//! workload decides: [`retry_step`](Run::retry_step), [`skip_step`](Run::skip_step), or ask a person first.
//!
//! ```
//! # use sessionkeeper::{Context, IdempotencyKey, Outcome, Workload, WorkloadError};
//! # struct Shop;
//! # async fn charge(order: &str, key: &IdempotencyKey) -> Result<String, std::io::Error> { Ok(key.to_string() + order) }
//! # impl Workload for Shop {
//! #     const KIND: &'static str = "shop";
//! #     const STATE_VERSION: u32 = 1;
//! #     type State = Vec<String>;
//! #     type Input = String;
//! async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
//!     while let Some(order) = cx.next_input().await? {
//!         // The other side can tell a repetition by the key, so a second call does no harm.
//!         let receipt = cx.retry_step("charge", async |key| charge(&order, &key).await).await?;
//!         // … the rest of the turn: wherever it is cut short, the receipt stays
//!         cx.state_mut().push(receipt);
//!     }
//!     Ok(Outcome::Yielded)
//! }
//! # }
//! ```
//!
//! The keys of steps are unique within a turn. What is recorded of them is kept as inputs are: until both
//! kept snapshots cover the turn.
//!
//! # Urgent inputs and interrupts
//!
//! Inputs are given out in the order in which they were accepted, but for [urgent](SessionHandle::send_urgent)
//! ones: these overtake all that wait, and a turn can [take](Context::take_input_if) one while its own input
//! is in hand. What it takes belongs to it, and is covered by its next commit. Only an input that was begun
//! comes before them when it is given out again, so that an answer finds the turn that asked.
//!
//! [`Session::interrupt`] ends the turn, and not the run: [`busy`](Run::busy) and
//! [`interrupted`](Run::interrupted) resolve, and the input is dropped or given out again. Nothing is forced;
//! what the turn leaves in its state is committed.
//!
//! # Ends and states
//!
//! A run must not end as `Yielded` where nobody asked, while an input waits and it has consumed none:
//! that counts as a failure.
//!
//! The state is encoded as JSON, whole, at each commit. [`Workload::STATE_VERSION`] is stored with it; an
//! older one goes through [`Workload::migrate`], a newer one is refused and stays as it is. Two
//! snapshots are kept. If the newer one cannot be read or decoded, the older one serves, and the inputs
//! after it are given out again.
//!
//! # Facts
//!
//! [Events](Run::emit), [usage](Run::record_usage) and the [external id](Run::set_external_id) say what
//! happened, so a rollback of the state does not undo them. They are committed in order within 100 ms
//! (while the store works), at the latest with the next checkpoint or transition, and each names its run
//! and the input that was in hand. A crash of the worker can cost those of the last 100 ms or so.
//!
//! Each session has one log, numbered without gaps from 1, in which the library records its own facts
//! too: every move with its [`Cause`], the end of each run, restarts.
//!
//! | to see | call | what it gives |
//! | --- | --- | --- |
//! | events of a session | [`Session::events`], [`Session::query_events`] | a range by number; pages, the newest first, by type |
//! | the same as they come | [`Session::subscribe`] | a stream from a number on, joined to what is new |
//! | events of all sessions | [`Supervisor::log`], [`Supervisor::subscribe`] | pages and a stream, by session, kind and type; a [`LogCursor`] to go on from |
//! | what a run did | [`Supervisor::run`], [`Supervisor::run_events`] | its session and its end; its events |
//! | how a session stands | [`Session::status`], [`Session::watch`] | the newest status; a slow watcher misses some |
//!
//! A stream skips and repeats nothing and holds little: who falls behind is served from the store. Where events are gone for good, there
//! is a gap in their place that says from where to where. It ends when the worker does.
//!
//! What must reach the outside whatever happens is not a stream's business but that of a [sink], which is given every event at
//! least once, in order, from a place that is kept in the store; and of [hooks], which are called for the start, the moves and the
//! end of a session, and again until they succeed.
//!
//! # Silence
//!
//! A run at work must give a sign of life within `heartbeat_timeout` (30 min), else `on_silence` decides:
//! expire (the default), restart, or pause as quarantined. Emitting, recording usage, receiving an
//! input and commits are signs; [`heartbeat`](Run::heartbeat) is one alone, at the price of one atomic
//! store.
//!
//! - [`busy`](Run::busy) declares an operation that may be silent up to a limit of its own. Past the limit
//!   its future is dropped and the run goes on with [`BusyError::Lapsed`]. [`busy_guard`](Run::busy_guard) does the
//!   same for a span of code, and drops nothing.
//! - [`awaiting`](Run::awaiting) declares that a person is asked. That has no limit.
//! - In `next_input` a run is *idle*, not silent: `idle_timeout` counts (30 min), after which the session is
//!   paused, to be woken by the next input; or expires, by policy.
//!
//! These limits are in *worker time*, which counts only while the process really runs: a stopped process,
//! a sleeping laptop or a changed clock expires nobody. [`Policy`] has all settings.
//!
//! # Pause, stop and the ladder
//!
//! Pause, stop and shutdown ask the run to yield: `next_input` gives `None`, and
//! [`yield_requested`](Run::yield_requested) wakes whoever awaits it in the middle of a turn. A run that does
//! not return within the grace (`pause_grace`, `stop_grace`) is *cancelled*: its future is dropped at its next
//! `await`. One that is not gone `cancel_grace` later, because it blocks its thread, is *abandoned*: the
//! session moves on without it, and it can change nothing any more. It is named in
//! [`Status::abandoned`], and a resume is refused until it returns, unless `while_abandoned` allows it.
//! A watchdog with a thread of its own names a blocked thread within two seconds: in the log, in
//! [`Supervisor::health`] and in the session's status ([`Activity::Blocked`]).
//!
//! However a run ends, its [spawned tasks](Run::spawn) are aborted, [`Workload::close`] is called, and what it
//! [holds](Run::hold) is closed, before its session is reported at rest. All of that has nine tenths
//! of `cancel_grace`; what takes longer is dropped, with a warning in the log.
//!
//! What is slow to make may stay while the session is paused:
//! [`hold_while_paused`](Run::hold_while_paused) leaves it to the session's next run, which
//! [takes](Run::take_held) it and starts warm. It is closed when its limit is over, when the session is
//! stopped or ends, and when the worker shuts down.
//!
//! - [`Session::pause`] returns when the session is paused, [`Session::stop`] when `stopping` is durable; its
//!   ticket tells when the run is gone. [`Session::kill`] is a stop without grace.
//! - A stop wins over a pause and over a completion that comes later. Between a pause and a resume the
//!   later wins, and the loser gets [`SessionError::Superseded`].
//! - [`Session::complete`] and [`Session::fail`] commit first, which fences the run, and then cancel it.
//! - What wakes a paused session is said by its [`PauseCause`]; all moves are in the table at
//!   [`transition`].
//!
//! # Failure and restart
//!
//! An error or a panic of the workload is a failure. The session goes back to its last commit and is
//! restarted after a backoff. The vocabulary is that of OTP supervisors, `max_restarts` within a window,
//! but each session is counted alone. When the restarts are used up it is quarantined: paused until a person
//! resumes it; see [`RestartPolicy`]. [`WorkloadError::permanent`] fails the session at once,
//! [`WorkloadError::retry_after`] names the wait.
//!
//! Between two runs a session is `active`, and its status says `restarting`. Inputs are accepted, and pause
//! and stop act at once.
//!
//! A store that fails is nobody's failure and nobody's silence: runs wait at their next commit, callers get
//! an error, [`Supervisor::health`] names what it failed with, and commits are tried again until they succeed.
//!
//! # Sleep
//!
//! A run that can do nothing before a certain time returns [`Outcome::sleep_until`]. Its session is paused, costs no memory, and has a
//! durable alarm of the wall clock. Inputs wait for it, or wake the session earlier ([`Outcome::sleep_until_or_input`]).
//!
//! # Forks
//!
//! [`Supervisor::fork`] makes a new session from a committed snapshot of another one: the newest, or the one before it
//! ([`Fork::at`]). The other one may be in any state and is not changed; a run of it is not disturbed. Labels, metadata and a
//! policy of its own are inherited unless they are given; inputs that wait ([`Fork::copy_inputs`]), usage
//! ([`Fork::copy_usage`]) and the alarm of one that sleeps ([`Fork::copy_alarm`]) only where that is asked for. The fork begins
//! as any start does. Its record ([`Links::forked_from`]) and its log ([`Lifecycle::Forked`]) say where it comes from.
//!
//! Before the fork is stored, [`Workload::on_fork`] may copy what belongs to the session outside, change the state of the fork,
//! or refuse. It may be called for a fork that is never made, so what it copies belongs under the id of the fork.
//!
//! [`Supervisor::lineage`] shows what a session comes from and what comes from it, as streams;
//! [`Query::related`](store::Query::related) lists what comes from a session, also where that is gone.
//!
//! # Rollovers
//!
//! [`SessionHandle::rollover`] and, from inside a run, [`Context::rollover`] end a session and begin its successor in one commit: an
//! agent's `/clear`. The one is `completed` and names the other; that is `pending`, has the place of the one before it under
//! `max_active`, and is `active` next, after a crash too. It begins with a state of its own and inherits kind, name,
//! labels, metadata, a policy of its own and what [stays while a session is paused](Run::hold_while_paused); usage, runs and
//! failures are counted from zero. Inputs that were not worked off move to it, or are left ([`Unread`]).
//!
//! A turn that is under way ends first, or is cancelled after a grace. A stop or an end that is accepted before the commit wins; after it every
//! verb by the old id is refused with [`SessionError::RolledOver`], which names the successor. [`SessionHandle::latest`] goes to the
//! end of the chain, and what is sent by a handle that is [following](Session::following) does too.
//!
//! # Children
//!
//! A session starts others by [`Run::start_child`], once for each key, also where its turn is done again; or a caller does, by
//! [`Start::child_of`]. What becomes of a child when its parent is paused, stopped or ends, its [`OnParent`] says; that is owed from the
//! commit of the parent's move. The parent hears of its end by an input ([`Workload::on_child_end`]), or waits for it ([`Run::child_ended`]).
//!
//! # Groups
//!
//! [`Supervisor::pause_all`], [`resume_all`](Supervisor::resume_all) and [`stop_all`](Supervisor::stop_all) take the [`Query`](store::Query)
//! that [`list`](Supervisor::list) takes, ask each session by itself, and report on each. Other systems' words for states are in [`vocabulary`].
//!
//! # Deleting
//!
//! [`Session::delete`] is for good and durable when it returns; what was kept is removed a little later, bit by bit. Nothing brings the
//! session back, neither a late commit of a run nor a repeated start. By default nothing is ever deleted unasked: [`Builder::retention`]
//! says how long ended sessions are kept, how many events of each session, and how many bytes in all.
//!
//! # Statistics
//!
//! [`Supervisor::counts`] says how many sessions are in each state, and is exact at every moment. With
//! [`Builder::statistics`], [`Supervisor::statistics`] says what happened in a [window](Window) of time, and
//! [`Supervisor::alerts`] what of it a person should hear of. Neither scans anything.
//!
//! # Recovery
//!
//! [`Builder::start`] registers a new worker in the store and looks at what the last one left; the rest goes
//! on in the background, see [`Supervisor::recovered`].
//!
//! | the session was | it is now |
//! | --- | --- |
//! | active | active, in a new run from its last commit (or paused as *interrupted*, by [`RecoverWhat`]) |
//! | waiting out a backoff | the same, for what remains of it |
//! | paused by the shutdown | active (or as it was, by [`RecoverWhat`]) |
//! | asleep | asleep; active if its alarm is due, when there is a place |
//! | paused for another reason, stopped, ended | as it was |
//! | stopping | stopped |
//! | pending | active, when there is a place |
//!
//! A lost worker counts against the sessions that were active; a commit, or a minute of life, clears the
//! count. Sessions with a count are resumed last, one at a time: the next one follows when the one before
//! it has made a commit or come to rest, at the latest after a minute. At a count of three they are
//! quarantined. A session whose kind is not registered, or whose state is from a newer version, stays as
//! it is and is named in the [`RecoveryReport`].
//!
//! Dropping the last clone of a supervisor without [`Supervisor::shutdown`] equals a crash.
//!
//! # Shutdown
//!
//! [`Supervisor::shutdown`] takes nothing new, asks all runs to yield at once, cancels the rest in the last
//! part of the budget (5.5 s of a budget of 20 s or more, about a third of a smaller one), and returns within
//! the budget with one line for each session that was active. Sessions come to rest as paused
//! (*shutdown*) and are resumed by the next start. What did not come to rest is resumed from its last commit.
//!
//! # Stores and durability
//!
//! `SledStore` (feature `sled`) keeps everything in a folder, for one process at a time. With
//! `Durability::Synced`, the default, what was acknowledged survives a power cut; with `Flushed` the end
//! of the process only. It does not survive the loss of the disk.
//! [`MemoryStore`](store::MemoryStore) is for tests: it plays crashes, full disks and damage, and works on
//! tokio's paused time. [`Store`](store::Store) is the contract for others.
//!
//! # Guarantees
//!
//! - **G1, durable before visible.** A transition, checkpoint, accepted input or event is committed before any
//!   caller or watcher can see it.
//! - **G2, nothing acknowledged is lost**, as far as the durability of the store reaches: not by a panic,
//!   `kill -9`, a full disk or a missed deadline.
//! - **G3, one current run for each session**, in this process and across processes on one store. What any
//!   other run writes is refused.
//! - **G4, exactly-once effect on the state**, as said under [turns](#turns). Inputs and results of
//!   [steps](#steps) are kept until the older of the two snapshots covers them.
//! - **G5, control answers** while it has a free thread, whatever the workloads do. Where workloads may
//!   block threads, give them a runtime of their own: [`Builder::workload_runtime`].
//! - **G6, no false expiry.** Silence is counted in worker time, and not while a run is busy within its limit,
//!   idle, or waits for a person.
//! - **G7, no late expiry.** Each run has its own timer; no sweep over all sessions delays a verdict.
//! - **G8, bad sessions are alone.** A corrupt record, an unreadable snapshot, a crash loop or a full inbox
//!   stops neither another session nor the worker from starting.
//! - **G9, events without gaps.** Numbered from 1 for each session, in the order of their commits. A subscriber is given each
//!   once and in order, across reconnects and restarts of the worker, or is told which are gone.
//! - **G10, shutdown fits its budget**, and says of each active session what became of it.
//!
//! Not promised: exactly-once effects outside of the state (a step says where it is not known), an order between sessions, that a blocked thread
//! is freed, and any time by which a store commits.
//!
//! # Cancel safety
//!
//! Dropping a future either has no effect or withdraws nothing; there is no half.
//!
//! | future | when it is dropped |
//! | --- | --- |
//! | [`Context::next_input`] | no input is lost; a commit that ends the turn goes on |
//! | [`Context::checkpoint`], [`Context::save_progress`] | the commit goes on |
//! | [`Run::step`], [`Run::retry_step`] | before the call has returned, the step is interrupted; after that, its result is recorded |
//! | [`Run::emit`] | the event was not taken |
//! | [`Run::busy`] | as cancel safe as the future inside |
//! | [`Run::yield_requested`] | nothing |
//! | verbs of [`Session`], rollovers, [`Supervisor::start`], [`Supervisor::fork`], [`Supervisor::shutdown`] | once polled, they go on |
//! | `wait_for`, `settled`, [`StopTicket::ended`], [`Supervisor::recovered`] | nothing |
//! | [`Supervisor::slot`] | the turn in the queue is lost |
//!
//! # Errors
//!
//! Each surface has one enum: [`BuildError`] for the supervisor, [`StartError`], [`ForkError`], [`RolloverError`], [`SendError`] and
//! [`SessionError`] for verbs, [`RunError`], [`StepError`] and [`EmitError`] inside a run, [`StoreError`](store::StoreError)
//! for stores. They name the session and say what became of the request: `nothing was done`, or that it
//! may still take effect ([`SessionError::OutcomeUnknown`], and [`SessionError::Store`] with `under_way`). After
//! such an answer, look at the status, or repeat what can be repeated: starts with a
//! [key](Start::key), inputs with an [id](SessionHandle::send_with_id), and all other verbs, since asking for
//! what already holds succeeds. `Display` shows one level; print the `source` chain too.
//!
//! # Features
//!
//! `sled` (default): the durable `SledStore`, and export, import and repair of stores. `signals`
//! (default): `Supervisor::run_until_signal`. `process`: programs as sessions, on Linux and macOS. `metrics`: counts and
//! measures through the `metrics` facade, see the module `metrics`. `testing`: the module `testing`, for dev-dependencies, with
//! what tests of workloads and stores are made of. Without any, the library has no store that outlives
//! its process but yours. `panic = "abort"` does not compile.

#[cfg(panic = "abort")]
compile_error!(
    "sessionkeeper keeps one broken session from ending the others by catching its panic: \
     build with `panic = \"unwind\"`"
);

mod builder;
mod children;
mod clock;
#[cfg(sessionkeeper_faults)]
#[doc(hidden)]
pub mod faults;
#[cfg(not(sessionkeeper_faults))]
#[expect(unreachable_pub, reason = "tests reach it")]
mod faults;
mod fork;
#[cfg(all(feature = "sled", any(test, fuzzing)))]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
#[cfg(any(doc, doctest))]
pub mod guide;
mod health;
pub mod hooks;
mod lineage;
mod log;
#[cfg(feature = "metrics")]
#[doc = include_str!("../docs/METRICS.md")]
pub mod metrics {}
mod model;
mod policy;
#[cfg(feature = "process")]
pub mod process;
mod report;
mod rollover;
mod runs;
mod runtime;
mod session;
#[cfg(feature = "signals")]
mod signals;
pub mod sink;
mod space;
mod start;
mod statistics;
mod status;
pub mod store;
mod supervisor;
mod sync;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod workload;

pub use builder::{BuildError, Builder};
pub use children::MAX_CHILD_DEPTH;
pub use fork::{Fork, ForkError};
pub use groups::GroupReport;
pub use health::Health;
pub use lineage::{Lineage, Presence, Relative};
pub use log::{LogError, LogFilter, LogFrom, LogUpdate};
pub use model::{
    counts::{Scope, StateCounts},
    deletion::{Deleted, Removal},
    event::{Cause, Event, EventRecord, Fact, FileAction, Lifecycle, RunEnd},
    event_type::{EventType, EventTypes, UnknownEventType},
    family::{ChildEnd, Duty, Family, OnParent, Owed, Untold, WhenParentEnds, WhenParentPauses},
    footprint::{Footprint, StateBytes},
    ids::{
        ChildKey, ExternalId, InputId, InvalidName, Kind, Name, ReaderName, RunId, SessionId,
        StartKey, StepKey, WorkerGeneration,
    },
    inbox::{InHand, Inbox, MovedInput, OnInterrupt, OutOfOrder, OverEarly, OverInputs, Urgent},
    labels::{InvalidLabels, Labels, MAX_NESTING, Metadata},
    lineage::{Forked, ForkedFrom, Links, Relation},
    log_cursor::{InvalidCursor, LogCursor},
    projection::Window,
    record::{
        EndedRun, Failures, Lane, Runs, SessionRecord, SnapshotRef, StartRequest, StoredInput,
        Transition,
    },
    sleep::{Alarm, Sleep, WhileAsleep},
    snapshot::{Codec, SNAPSHOT_FORMAT, SnapshotEnvelope, SnapshotError, SnapshotHeader},
    state::{InvalidTransition, PauseCause, Phase, Restarting, State, Trigger, transition},
    step::{StepProgress, StoredStep, Turn},
    tally::{Durations, Tally},
    time::{LaneTime, SupervisedTime, Timestamp, WorkerTime},
    trimmed::Trimmed,
    usage::Usage,
    vocabulary,
};
pub use policy::{
    Alert, Backoff, InvalidPolicy, Limit, OnExhausted, OnIdle, OnSilence, Policy, PolicyBuilder,
    RecoverWhat, Restart, RestartPolicy, Retention, Thresholds, WhileAbandoned,
};
pub use report::{ShutdownLine, ShutdownOutcome, ShutdownReport};
pub use runs::{RunState, RunStatus};
pub use runtime::{
    error::{ChildError, RolloverError, SendError, SessionError, StartError},
    op::Interruption,
    recovery::RecoveryReport,
    watchdog::BlockedThread,
};
pub use session::{
    Delete, EventPage, EventQuery, NotRunning, Paused, Receipt, Session, SessionHandle, Snapshot,
    StopReport, StopTicket, SubscribeError, Update,
};
pub use space::Space;
pub use start::{Json, Slot, Start};
pub use statistics::{Statistics, StatisticsError, StatisticsOptions};
pub use status::{Activity, Settled, Status};
pub use supervisor::{FindError, Origin, ShuttingDown, StartedSession, Supervisor};
pub use workload::{
    AwaitingGuard, BusyError, BusyGuard, Context, EmitError, FailedStep, Held, IdempotencyKey,
    Input, Interrupted, Outcome, Resource, RolledOver, Rollover, Run, RunError, StepError, Unread,
    UnsupportedVersion, UserCode, Workload, WorkloadError, YieldReason, YieldRequest,
};

/// The code in the README compiles.
#[cfg(all(
    doctest,
    feature = "process",
    feature = "signals",
    feature = "sled",
    feature = "testing"
))]
#[doc = include_str!("../README.md")]
struct Readme;
