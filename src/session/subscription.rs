//! The events of a session, those that are there and those to come, as one stream.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, StreamExt, stream};

use super::{Session, status};
use crate::{
    model::{event::EventRecord, ids::SessionId},
    runtime::{
        error::SessionError,
        hub::{Follower, Newer},
        reader::sound_events,
    },
    store::StoreError,
};

/// How many events are read from the store at once.
const PAGE: usize = 64;

/// What a subscriber is given next.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// An event.
    Event(Arc<EventRecord>),
    /// These events are not there any more, the last included: only the [newest](crate::Retention::events) are kept, or
    /// they are damaged.
    Gap {
        /// The number of the first.
        from: u64,
        /// The number of the last.
        to: u64,
    },
}

impl Session {
    /// The events of the session from a number on: first those that are there, then each as soon as it is durable, in order, none
    /// twice and none left out. The number is that of the first one wanted: 1 for all of them, and for one who
    /// comes back the last that was seen and one more, also after a restart of the worker.
    ///
    /// Where only the [newest](crate::Retention::events) are kept and the number is that of an older one, what is gone is told first, by
    /// an [`Update::Gap`]; so it is to one who falls so far behind, and where events cannot be read. A subscriber is never waited for, and 64 events at most are kept in
    /// memory for it: one that is slow is served from the store. The stream ends when the worker does, and after an error.
    ///
    /// ```no_run
    /// # use futures::StreamExt;
    /// # use sessionkeeper::{Session, Update};
    /// # async fn example(session: Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut updates = session.subscribe(1).await?;
    /// while let Some(update) = updates.next().await {
    ///     match update? {
    ///         Update::Event(event) => println!("{}: {:?}", event.sequence, event.fact),
    ///         Update::Gap { from, to } => println!("{from} to {to} are gone"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError::Ahead`] where the number is beyond the next event; [`SessionError::NotFound`], or a store that
    /// fails.
    ///
    /// # Cancel safety
    /// Of the stream: wholly.
    pub async fn subscribe(
        &self,
        from: u64,
    ) -> Result<
        impl Stream<Item = Result<Update, SessionError>> + Send + Unpin + use<>,
        SubscribeError,
    > {
        let watch = self.core.hub.watch(self.id);
        let record = status(&self.core, self.id).await?.into_record();
        let newest = record.last_event;
        if from > newest.saturating_add(1) {
            return Err(SubscribeError::Ahead { session: self.id, from, newest });
        }
        let subscription = Subscription {
            session: self.clone(),
            follower: watch.follow(&record),
            next: from.max(1),
            batch: VecDeque::new(),
        };
        let updates = stream::unfold(Some(subscription), async |subscription| {
            let mut subscription = subscription?;
            let update = subscription.update().await?;
            let is_last = update.is_err();
            Some((update, (!is_last).then_some(subscription)))
        });
        Ok(updates.boxed())
    }
}

/// One who follows a session.
struct Subscription {
    session: Session,
    follower: Follower,
    /// The number of the event that is due.
    next: u64,
    /// Those that come next.
    batch: VecDeque<Arc<EventRecord>>,
}

impl Subscription {
    async fn update(&mut self) -> Option<Result<Update, SessionError>> {
        loop {
            if let Some(first) = self.batch.front() {
                let due = std::mem::replace(&mut self.next, first.sequence);
                if due < first.sequence {
                    return Some(Ok(Update::Gap { from: due, to: first.sequence - 1 }));
                }
            }
            if let Some(event) = self.batch.pop_front() {
                self.next = event.sequence + 1;
                return Some(Ok(Update::Event(event)));
            }
            match self.follower.newer(self.next).await {
                Newer::Events(events) => self.batch = events,
                Newer::Stored { newest } => match self.stored(newest).await {
                    Ok(events) if events.is_empty() => {
                        let from = std::mem::replace(&mut self.next, newest + 1);
                        return Some(Ok(Update::Gap { from, to: newest }));
                    }
                    Ok(events) => self.batch = events,
                    // The worker has ended.
                    Err(StoreError::Closed) => return None,
                    Err(error) => return Some(Err(SessionError::read(self.session.id, error))),
                },
                Newer::Over => return None,
            }
        }
    }

    /// The next of those that can be read; none, where none of them can.
    async fn stored(&self, newest: u64) -> Result<VecDeque<Arc<EventRecord>>, StoreError> {
        let Session { core, id, .. } = &self.session;
        let mut first = self.next;
        loop {
            let (events, next) = sound_events(core, *id, first, newest, PAGE).await?;
            if !events.is_empty() || next > newest {
                return Ok(events.into_iter().map(Arc::new).collect());
            }
            first = next;
        }
    }
}

/// Why nothing can be subscribed to.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There are not so many events: the number comes from another store, or from another session.
    #[error(
        "session {session}: there is no event {from}, the newest is {newest}; subscribe from {newest} or before, or from the next"
    )]
    Ahead {
        /// The session.
        session: SessionId,
        /// The number that was given.
        from: u64,
        /// That of the newest event.
        newest: u64,
    },
    /// The session could not be read.
    #[error(transparent)]
    Session(#[from] SessionError),
}
