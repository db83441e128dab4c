//! What happened, counted by a reader of the log. What it has counted is in the note of its bookmark: so what is counted, and up
//! to where, is durable at once, and after a crash nothing counts twice or never.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    core::Core,
    reader::{self, Finish, Left, Reader},
    tail::{Newer, last_of},
};
use crate::{
    faults::{self, Bug},
    model::{
        counts::Scope,
        event::{EventRecord, Fact},
        ids::{ReaderName, SessionId},
        log_cursor::LogCursor,
        projection::{Projection, Whose, Window},
        record::SessionRecord,
        tally::Tally,
        time::Timestamp,
    },
    store::{LogItem, Logged, StoreError, Unread},
};

/// Under which name its place is kept.
const READER: &str = "statistics";
/// How long what was counted may be unknown to the store, for each part of this size that it takes there.
const KEPT_WITHIN: Duration = Duration::from_secs(10);
const PART: usize = 256 << 10;
/// Of how many sessions it is known whose their events are.
const KNOWN: usize = 4096;

/// The statistics of a worker.
pub(crate) struct Statistician {
    reader: ReaderName,
    labels: Vec<String>,
    counted: Mutex<Counted>,
    finish: Finish,
}

#[derive(Default)]
struct Counted {
    projection: Projection,
    /// Everything up to it is counted.
    position: u64,
}

impl Statistician {
    pub(crate) fn new(labels: Vec<String>) -> Self {
        Self {
            reader: ReaderName::new(READER).expect("a name"),
            labels,
            counted: Mutex::default(),
            finish: Finish::default(),
        }
    }

    /// Begins to count.
    pub(crate) fn begin(core: &Arc<Core>) {
        let Some(statistician) = &core.statistician else { return };
        let task = Task {
            statistician: Arc::clone(statistician),
            reader: Reader::new(Arc::clone(core), statistician.reader.clone()),
            place: LogCursor::new(0, 0),
            known: HashMap::new(),
            is_kept: false,
            size: 0,
        };
        core.keep_engine(core.runtime.spawn(task.run()).abort_handle());
    }

    /// Counts everything, and keeps that. Cancel safe.
    pub(crate) async fn finish(&self) {
        self.finish.finish().await;
    }

    /// Under which name its place is kept.
    pub(crate) const fn reader(&self) -> &ReaderName {
        &self.reader
    }

    /// What happened, and up to which position that is known; none where the values of such a label are not counted.
    pub(crate) fn tally(
        &self,
        scope: &Scope,
        window: Window,
        now: Timestamp,
    ) -> Option<(Tally, u64)> {
        // Until the task has begun, nothing is known of any label.
        if let Scope::Label { key, .. } = scope
            && !self.labels.contains(key)
        {
            return None;
        }
        let counted = self.lock();
        let tally = counted.projection.tally(scope, window, now).unwrap_or_default();
        Some((tally, counted.position))
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    statistician: Arc<Statistician>,
    reader: Reader,
    /// Everything up to it is counted.
    place: LogCursor,
    known: HashMap<SessionId, Option<Arc<Whose>>>,
    /// Whether the store knows all this.
    is_kept: bool,
    /// How large it was when it was kept last.
    size: usize,
}

impl Task {
    async fn run(mut self) {
        // It ends early where the store is closed, and then nothing can be done any more.
        let _ = self.serve().await;
        self.statistician.finish.is_over();
    }

    /// Works until it is to finish, or the store is closed.
    async fn serve(&mut self) -> Result<(), StoreError> {
        while let Err(error) = self.begin().await {
            reader::wait_for_store(error).await?;
        }
        let follower = self.reader.follow();
        let mut finish = self.statistician.finish.asked();
        let mut keep_at = Instant::now();
        loop {
            let is_last = *finish.borrow_and_update();
            if is_last {
                while !self.read().await? {}
                return self.keep().await;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(keep_at), if !self.is_kept => {
                    while let Err(error) = self.keep().await {
                        reader::wait_for_store(error).await?;
                    }
                    let parts = u32::try_from(self.size / PART + 1).unwrap_or(u32::MAX);
                    keep_at = Instant::now() + KEPT_WITHIN.saturating_mul(parts);
                }
                _ = finish.changed() => {}
                newer = follower.newer(self.place.position() + 1) => {
                    if matches!(newer, Newer::Over) {
                        return Ok(());
                    }
                    self.read().await?;
                }
            }
        }
    }

    /// Goes on from what was kept, or begins with the first event.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let Left { place, from, note, unread } = self.reader.begin(false).await?;
        // Without what was counted, or where that cannot be read, it has to be counted again.
        let kept = serde_json::from_slice::<Projection>(&note).ok();
        self.place = if kept.is_some() { place } else { LogCursor::new(place.log(), 0) };
        let unread = if kept.is_some() { unread } else { Vec::new() };
        self.is_kept = kept.is_some() && unread.is_empty();
        let mut projection = kept.unwrap_or_default();
        projection.count_labels(&self.statistician.labels);
        let position = self.place.position();
        let known = if unread.is_empty() { position } else { from.position() };
        *self.statistician.lock() = Counted { projection, position: known };
        for Unread { session, first, last } in unread {
            self.count(session, first, last).await?;
        }
        self.statistician.lock().position = position;
        Ok(())
    }

    /// Counts events that are before its place and were not counted.
    async fn count(
        &mut self,
        session: SessionId,
        mut first: u64,
        last: u64,
    ) -> Result<(), StoreError> {
        while first <= last {
            let (events, next) = self.reader.events(session, first, last).await?;
            for event in events {
                let whose = self.whose(session, &event).await?;
                let now = self.reader.core.clock.wall();
                self.statistician.lock().projection.count(&event, whose.as_deref(), now);
            }
            first = next;
        }
        Ok(())
    }

    /// Reads on, and says whether that was all.
    async fn read(&mut self) -> Result<bool, StoreError> {
        let page = self.reader.after_patiently(self.place).await?;
        for item in &page.items {
            let whose = match item {
                LogItem::Event(Logged { session, event, .. }) => {
                    self.whose(*session, event).await?
                }
                LogItem::Gap { .. } => None,
            };
            let now = self.reader.core.clock.wall();
            let mut counted = self.statistician.lock();
            if let LogItem::Event(Logged { event, .. }) = item {
                counted.projection.count(event, whose.as_deref(), now);
            }
            counted.position = last_of(item);
            self.place = LogCursor::new(self.place.log(), counted.position);
            drop(counted);
            self.is_kept = false;
        }
        Ok(page.next > page.end.last)
    }

    /// Whose events those of a session are, if that is known. Labels may change; they are looked at anew when the session moves.
    async fn whose(
        &mut self,
        session: SessionId,
        event: &EventRecord,
    ) -> Result<Option<Arc<Whose>>, StoreError> {
        let moves = match &event.fact {
            Fact::Lifecycle(_) => true,
            Fact::Work(_) | Fact::Usage(_) => false,
        };
        if let Some(whose) = self.known.get(&session).filter(|_| !moves) {
            return Ok(whose.clone());
        }
        let record = reader::load_patiently(&self.reader.core, session).await?;
        let known = self.known.get(&session).cloned().flatten();
        let whose = match record {
            // Of who was purged the labels are gone.
            Some(record) if record.is_deleted() && known.is_some() => known,
            Some(SessionRecord { kind, labels, created_at, .. }) => {
                Some(Arc::new(Whose { kind, labels, created_at }))
            }
            None => None,
        };
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(session, whose.clone());
        Ok(whose)
    }

    /// Keeps what was counted.
    async fn keep(&mut self) -> Result<(), StoreError> {
        let note = serde_json::to_vec(&self.statistician.lock().projection)
            .expect("it holds nothing JSON cannot say");
        self.size = note.len();
        let place = match faults::planted(Bug::CountAgain) {
            true => LogCursor::new(self.place.log(), self.place.position() / 2),
            false => self.place,
        };
        self.reader.keep(place, note.into()).await?;
        self.is_kept = true;
        Ok(())
    }
}
