//! The lock and the atomics of those small parts in which threads meet. With
//! `--cfg sessionkeeper_loom` they are loom's in the unit tests, and the tests named `explored` try
//! every interleaving of them: `.ci/explore`.
//!
//! Explored are the ticks of the clock (`clock/ticks.rs`), the signs of life, the slot and the notes
//! of a run (`workload/explored.rs`), its fate (`runtime/live.rs`), and when a read of the sled
//! store may be seen (`store/sled/visible.rs`). Threads are switched wherever one of these is used,
//! and atomics are as weak as they are declared. What tokio and ractor bring along (`Notify`,
//! `watch`, semaphores, mailboxes) knows nothing of it: each call counts as one step and is taken
//! to be right. So what is made of those alone is raced by seeds instead, in `tests/it/races`.

#[cfg(all(test, sessionkeeper_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, sessionkeeper_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

/// Runs two things at once, and gives what they return. Each has a thread of its own: loom does not
/// try every order against the thread that the test itself runs on.
#[cfg(all(test, sessionkeeper_loom))]
pub(crate) fn both<A, B>(
    one: impl FnOnce() -> A + 'static,
    other: impl FnOnce() -> B + 'static,
) -> (A, B)
where
    A: 'static,
    B: 'static,
{
    let (one, other) = (loom::thread::spawn(one), loom::thread::spawn(other));
    (one.join().expect("it ends"), other.join().expect("it ends"))
}
