//! What tests of workloads and of stores are made of (feature `testing`, for dev-dependencies).
//!
//! - [A first workload, tested against crashes](#a-first-workload-tested-against-crashes)
//! - [A worker in hand](#a-worker-in-hand): the [`Harness`]
//! - [Time](#time): [`block_on`], [`WallClock`]
//! - [A store that fails](#a-store-that-fails): [`FaultyStore`]
//! - [A store of your own](#a-store-of-your-own): the [conformance suite](mod@conformance)
//! - [`Scripted`], a workload that does what its inputs say
//!
//! ```toml
//! [dev-dependencies]
//! sessionkeeper = { version = "0.1", features = ["testing"] }
//! ```
//!
//! # A first workload, tested against crashes
//!
//! The library promises that the effect of an input on the state happens once, wherever the worker
//! crashes. Whether that is so for *your* workload depends on what it saves and when, and on how
//! its callers repeat what was not acknowledged. [`crash_at_every_commit`] finds out: it runs a
//! scenario again and again, loses the worker at each of its commits, and lets you check what the
//! next worker makes of it.
//!
//! ```
//! use sessionkeeper::{
//!     Context, Outcome, Start, Workload, WorkloadError,
//!     store::BoxError,
//!     testing::{Harness, crash_at_every_commit},
//! };
//!
//! struct Sum;
//!
//! impl Workload for Sum {
//!     const KIND: &'static str = "sum";
//!     const STATE_VERSION: u32 = 1;
//!     type State = i64;
//!     type Input = i64;
//!
//!     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
//!         while let Some(number) = cx.next_input().await? {
//!             *cx.state_mut() += *number;
//!         }
//!         Ok(Outcome::Yielded)
//!     }
//! }
//!
//! /// What a caller does, and does again when it cannot know what became of it: so the start has
//! /// a key, and each input an id.
//! async fn add_all(harness: &mut Harness, told: &mut i64) -> Result<i64, BoxError> {
//!     let start = Start::<Sum>::new(0).key("the only sum".parse()?);
//!     let session = harness.supervisor().start(start).await?.into_handle();
//!     for number in [1, 10, 100] {
//!         session.send_with_id(number.to_string().parse()?, number).await?;
//!         *told += number; // acknowledged: from here on it must not be lost
//!     }
//!     Ok(harness.drained(&session).await)
//! }
//!
//! # /*
//! #[test]
//! # */
//! fn no_crash_loses_a_number_or_adds_it_twice() {
//!     let commits = crash_at_every_commit(
//!         |builder| builder.workload(Sum),
//!         async |harness, told: &mut i64| add_all(harness, told).await.map(drop),
//!         async |harness, told| {
//!             // The next worker, recovered. What was acknowledged is there …
//!             let all = harness.supervisor().list(Default::default()).await?.records;
//!             if let Some(record) = all.first() {
//!                 let session = harness.supervisor().session(record.id).await?.typed::<Sum>()?;
//!                 assert!(harness.drained(&session).await >= *told);
//!             }
//!             // … and a caller that repeats everything gets what it wanted, no more.
//!             assert_eq!(add_all(harness, &mut 0).await?, 111);
//!             Ok(())
//!         },
//!     );
//!     assert!(commits > 4);
//! }
//! # no_crash_loses_a_number_or_adds_it_twice();
//! ```
//!
//! Save the state in the middle of the turn (`cx.save_progress().await?` after the addition), and
//! the test fails and names the crash, `with a crash at AfterCommit(…)`, which
//! [`CrashSweep::only`] then repeats alone.
//!
//! # A worker in hand
//!
//! A [`Harness`] has one worker at a time, on a store that outlives it.
//! [`crash_and_reopen`](Harness::crash_and_reopen) ends it as a kill would and starts the next on
//! what was durable, [`shutdown_and_reopen`](Harness::shutdown_and_reopen) does it gently.
//! [`again`](Harness::again) finds a session at the next worker. [`until`](Harness::until) waits
//! for a status and [`drained`](Harness::drained) for the end of the work; what they wait for in
//! vain ends the test with a word on what the session does instead.
//!
//! # Time
//!
//! All limits of the library follow tokio's time, so a test on paused time
//! (`#[tokio::test(start_paused = true)]`, or [`block_on`] in a plain `#[test]`) waits out an idle
//! timeout of 30 minutes at once. The wall clock is labels only; a test that cares sets the
//! [`WallClock`] of its workers.
//!
//! A store on disk needs real time; under paused time the clock runs ahead while the disk works.
//!
//! # A store that fails
//!
//! The store of each worker of a harness is behind a [`FaultyStore`]:
//! `harness.store().next(Call::Commit, Interference::LoseAnswer)` lets the next commit be done and
//! its answer get lost. For what a disk does until it is mended, and for damaged sessions, see
//! [`MemoryStore`](crate::store::MemoryStore).
//!
//! # A store of your own
//!
//! Say where it is kept (a [`Place`]) and let [`conformance!`] make a test of each claim of the
//! contract. Then give the place to a [`CrashSweep`] with a [`Scripted`] workload.

mod audit;
pub mod conformance;
mod faulty;
pub mod fixture;
mod harness;
mod place;
mod scripted;
mod sweep;
mod time;

pub use self::{
    audit::{Rule, Violation, audit, audit_log},
    faulty::{Call, CrashPoint, FaultyStore, HeldAnswers, Interference},
    harness::Harness,
    place::{Damageable, Place},
    scripted::{Do, Done, Gate, Probe, Scripted},
    sweep::{CrashSweep, crash_at_every_commit},
    time::block_on,
};
#[doc(inline)]
pub use crate::__conformance as conformance;
pub use crate::clock::wall::WallClock;
