//! What a run holds outside its memory, and how it is let go however the run ends.

use std::{any::Any, fmt, future::Future, ops::Deref, pin::Pin, sync::Arc, time::Duration};

use crate::model::event::{Event, RunEnd};

/// Something outside the memory of a run that must be let go when the run ends: a child process,
/// a lock, a lease.
pub trait Resource: Send + Sync + 'static {
    /// Lets it go. Called once, after the workload's future is gone and before the session is
    /// reported paused, stopped or ended; together with what else is left to clean up
    /// it has nine tenths of `cancel_grace`; past that it is dropped half-way, and the log warns.
    fn close(&self, end: &RunEnd) -> impl Future<Output = ()> + Send;

    /// What is to be recorded of its end, where its run cannot: asked once, after
    /// [`close`](Self::close), of what stayed while its session was paused and is closed because
    /// that is stopped. The events are of no run, and durable in the commit that settles the
    /// stop. Together they may be as large as what a run may note at a time (512 KiB, one 256);
    /// what is larger is left out, and the log warns. Nothing is asked of what is closed for
    /// another reason: its limit was over, the worker shut down, or its session ended otherwise.
    fn last_words(&self) -> Vec<Event> {
        Vec::new()
    }
}

/// A [`Resource`] that its run holds. It derefs to the resource, and clones share it.
pub struct Held<T> {
    resource: Arc<T>,
}

impl<T> Held<T> {
    pub(super) fn new(resource: Arc<T>) -> Self {
        Self { resource }
    }
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self { resource: Arc::clone(&self.resource) }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.resource
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.resource).finish()
    }
}

/// A resource whose type is forgotten.
trait Closable: Send + Sync {
    fn close<'a>(&'a self, end: &'a RunEnd) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    fn last_words(&self) -> Vec<Event>;
}

impl<T: Resource> Closable for T {
    fn close<'a>(&'a self, end: &'a RunEnd) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(Resource::close(self, end))
    }

    fn last_words(&self) -> Vec<Event> {
        Resource::last_words(self)
    }
}

/// A resource in the keeping of a session.
pub(crate) struct Holding {
    resource: Arc<dyn Closable>,
    typed: Arc<dyn Any + Send + Sync>,
    /// How long it may stay while the session is paused; not at all without.
    keeps_for: Option<Duration>,
}

impl Holding {
    pub(super) fn new<T: Resource>(resource: &Arc<T>, keeps_for: Option<Duration>) -> Self {
        Self {
            resource: Arc::clone(resource) as Arc<dyn Closable>,
            typed: Arc::clone(resource) as Arc<dyn Any + Send + Sync>,
            keeps_for,
        }
    }

    /// How long it may stay while the session is paused.
    pub(crate) const fn keeps_for(&self) -> Option<Duration> {
        self.keeps_for
    }

    /// The resource, if it has this type.
    pub(super) fn typed<T: Resource>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.typed).downcast().ok()
    }

    pub(crate) async fn close(&self, end: &RunEnd) {
        self.resource.close(end).await;
    }

    pub(crate) fn last_words(&self) -> Vec<Event> {
        self.resource.last_words()
    }
}
