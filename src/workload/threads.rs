//! Which threads are in the code of users, and whose code that is: noted by those who call it,
//! read by the watchdog.
//!
//! Threads are noted, not sessions: what the watchdog looks at is as long as the list of threads.
//! To note it costs no reading of a clock; how long it lasts, the watchdog finds out by looking twice.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    thread::Thread,
};

use chrono::DateTime;

use crate::model::{
    ids::{Kind, RunId, SessionId},
    time::Timestamp,
};

/// Code of a workload that a thread can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum UserCode {
    /// [`Workload::run`](super::Workload::run).
    Run,
    /// [`Workload::close`](super::Workload::close).
    Close,
    /// [`Workload::on_fork`](super::Workload::on_fork).
    OnFork,
    /// [`Resource::close`](super::Resource::close).
    CloseResource,
    /// A task of [`Run::spawn`](super::Run::spawn).
    Task,
    /// The `Serialize` of a state or an input.
    Encode,
    /// The `Deserialize` of a state or an input, or its migration.
    Decode,
    /// The `Drop` of a state, of a run's future or of what it held.
    Drop,
}

impl UserCode {
    const ALL: [Self; 8] = [
        Self::Run,
        Self::Close,
        Self::OnFork,
        Self::CloseResource,
        Self::Task,
        Self::Encode,
        Self::Decode,
        Self::Drop,
    ];

    fn of(number: u8) -> Self {
        Self::ALL.into_iter().find(|code| *code as u8 == number).unwrap_or(Self::Run)
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Close => "close",
            Self::OnFork => "on_fork",
            Self::CloseResource => "close of a resource",
            Self::Task => "task",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Drop => "drop",
        })
    }
}

/// Whose code it is.
#[derive(Debug)]
pub(crate) struct CodeOwner {
    pub(crate) session: SessionId,
    pub(crate) run: Option<RunId>,
    pub(crate) kind: Kind,
    code: AtomicU8,
    /// Since when it blocks its thread, as the watchdog says; in milliseconds of wall-clock time.
    blocks_since: AtomicI64,
}

/// What [`CodeOwner::blocks_since`] is while nothing is blocked.
const FREE: i64 = i64::MIN;

impl CodeOwner {
    pub(crate) fn new(
        session: SessionId,
        run: Option<RunId>,
        kind: Kind,
        code: UserCode,
    ) -> Arc<Self> {
        let (code, blocks_since) = (AtomicU8::new(code as u8), AtomicI64::new(FREE));
        Arc::new(Self { session, run, kind, code, blocks_since })
    }

    /// The same session and run, in another code.
    pub(crate) fn elsewhere(&self, code: UserCode) -> Arc<Self> {
        Self::new(self.session, self.run, self.kind.clone(), code)
    }

    pub(crate) fn code(&self) -> UserCode {
        UserCode::of(self.code.load(Ordering::Relaxed))
    }

    pub(crate) fn set_code(&self, code: UserCode) {
        self.code.store(code as u8, Ordering::Relaxed);
    }

    /// Says that a part of the code is entered; what it was in before when this is dropped.
    pub(crate) fn in_part(&self, code: UserCode) -> Part<'_> {
        Part { owner: self, before: self.code.swap(code as u8, Ordering::Relaxed) }
    }

    pub(crate) fn blocks_since(&self) -> Option<Timestamp> {
        match self.blocks_since.load(Ordering::Relaxed) {
            FREE => None,
            millis => DateTime::from_timestamp_millis(millis),
        }
    }

    pub(crate) fn set_blocks_since(&self, since: Option<Timestamp>) {
        let millis = since.map_or(FREE, |since| since.timestamp_millis());
        self.blocks_since.store(millis, Ordering::Relaxed);
    }
}

/// A part of an owner's code that is being executed.
pub(crate) struct Part<'a> {
    owner: &'a CodeOwner,
    before: u8,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.owner.code.store(self.before, Ordering::Relaxed);
    }
}

/// The threads that the code of users was seen on, for one supervisor.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// Those that the watchdog has not taken over yet.
    fresh: Mutex<Vec<Weak<Slot>>>,
}

/// One thread, as the watchdog sees it. The thread itself keeps it alive.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) thread: Thread,
    /// Odd while the thread is in the code of users; another number for each time.
    visit: AtomicU64,
    /// Whose code it is in, or was in last.
    owner: Mutex<Option<Arc<CodeOwner>>>,
}

thread_local! {
    /// The slot of this thread, for each supervisor that it works for.
    static SLOTS: RefCell<Vec<(Weak<Threads>, Arc<Slot>)>> = const { RefCell::new(Vec::new()) };
}

impl Threads {
    /// Notes that this thread enters the code of users, until the guard is dropped. Within such
    /// code it notes nothing: what lasts is the whole.
    pub(crate) fn enter(self: &Arc<Self>, owner: &Arc<CodeOwner>) -> Entered {
        // A thread that is being torn down has no slot any more.
        let slot = SLOTS.try_with(|slots| self.slot(slots)).ok().filter(|slot| !slot.is_inside());
        if let Some(slot) = &slot {
            let mut present = slot.lock_owner();
            if !present.as_ref().is_some_and(|present| Arc::ptr_eq(present, owner)) {
                *present = Some(Arc::clone(owner));
            }
            drop(present);
            slot.turn();
        }
        Entered { slot, _stays_on_its_thread: PhantomData }
    }

    fn slot(self: &Arc<Self>, slots: &RefCell<Vec<(Weak<Self>, Arc<Slot>)>>) -> Arc<Slot> {
        let mut slots = slots.borrow_mut();
        let known = slots.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(self));
        if let Some((_, slot)) = known {
            return Arc::clone(slot);
        }
        slots.retain(|(of, _)| of.strong_count() > 0);
        let thread = std::thread::current();
        let slot = Arc::new(Slot { thread, visit: AtomicU64::new(0), owner: Mutex::new(None) });
        slots.push((Arc::downgrade(self), Arc::clone(&slot)));
        self.lock_fresh().push(Arc::downgrade(&slot));
        slot
    }

    /// Gives out the threads that were not given out before.
    pub(crate) fn take_fresh(&self) -> Vec<Weak<Slot>> {
        std::mem::take(&mut *self.lock_fresh())
    }

    fn lock_fresh(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_inside(&self) -> bool {
        self.visit.load(Ordering::Relaxed) & 1 == 1
    }

    /// Enters or leaves. Only the thread itself does, so that two plain operations are enough.
    fn turn(&self) {
        let visit = self.visit.load(Ordering::Relaxed);
        self.visit.store(visit.wrapping_add(1), Ordering::Release);
    }

    /// Which visit to the code of users the thread is on, and whose that is.
    pub(crate) fn visit(&self) -> Option<(u64, Arc<CodeOwner>)> {
        let visit = self.visit.load(Ordering::Acquire);
        if visit & 1 == 0 {
            return None;
        }
        let owner = self.lock_owner().clone()?;
        // Else the thread went on meanwhile, and this may be the next owner.
        (self.visit.load(Ordering::Acquire) == visit).then_some((visit, owner))
    }

    fn lock_owner(&self) -> MutexGuard<'_, Option<Arc<CodeOwner>>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code of users is being executed on this thread while this lives.
pub(crate) struct Entered {
    slot: Option<Arc<Slot>>,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            slot.turn();
        }
    }
}

/// A future of a user's; each poll of it, and its drop, is noted.
pub(crate) struct Watched<T> {
    threads: Arc<Threads>,
    owner: Arc<CodeOwner>,
    /// Gone when it has ended.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T> Watched<T> {
    pub(crate) fn new(
        threads: &Arc<Threads>,
        owner: &Arc<CodeOwner>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
        Self { threads: Arc::clone(threads), owner: Arc::clone(owner), future: Some(future) }
    }
}

impl<T> Future for Watched<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let _entered = this.threads.enter(&this.owner);
        let future = this.future.as_mut().expect("a future is not polled after its end");
        let output = ready!(future.as_mut().poll(cx));
        this.future = None;
        Poll::Ready(output)
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            let _entered = self.threads.enter(&self.owner);
            self.owner.set_code(UserCode::Drop);
            drop(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn owner() -> Arc<CodeOwner> {
        let session = SessionId::from_uuid(Uuid::from_u128(1));
        CodeOwner::new(session, None, Kind::new("test").unwrap(), UserCode::Run)
    }

    #[test]
    fn a_visit_is_seen_while_it_lasts_and_what_is_nested_belongs_to_it() {
        let (threads, outer, inner) = (Arc::new(Threads::default()), owner(), owner());
        let entered = threads.enter(&outer);
        let slot = threads.take_fresh().remove(0).upgrade().unwrap();
        let (visit, seen) = slot.visit().unwrap();
        assert!(Arc::ptr_eq(&seen, &outer));
        let nested = threads.enter(&inner);
        assert_eq!(slot.visit().unwrap().0, visit);
        drop(nested);
        assert!(Arc::ptr_eq(&slot.visit().unwrap().1, &outer), "the whole goes on");
        drop(entered);
        assert!(slot.visit().is_none());
        let _again = threads.enter(&inner);
        assert!(slot.visit().unwrap().0 > visit, "another visit");
        assert!(threads.take_fresh().is_empty(), "the same thread");
    }

    #[test]
    fn supervisors_do_not_see_one_another_and_leave_nothing_on_a_thread() {
        let slots = || SLOTS.with_borrow(Vec::len);
        let keep = Arc::new(Threads::default());
        let _entered = keep.enter(&owner());
        let kept = keep.take_fresh().remove(0).upgrade().unwrap();
        for _ in 0..100 {
            let threads = Arc::new(Threads::default());
            let visit = kept.visit().unwrap().0;
            drop(threads.enter(&owner()));
            assert_eq!(kept.visit().unwrap().0, visit);
            assert!(slots() <= 2, "{}", slots());
        }
    }

    #[test]
    fn a_part_is_over_when_it_is_left() {
        let owner = owner();
        let part = owner.in_part(UserCode::Decode);
        assert_eq!(owner.code(), UserCode::Decode);
        drop(part);
        assert_eq!(owner.code(), UserCode::Run);
        for code in UserCode::ALL {
            owner.set_code(code);
            assert_eq!(owner.code(), code);
        }
    }
}
