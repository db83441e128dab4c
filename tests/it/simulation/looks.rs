//! One who looks at the clocks of a worker once a second: what a worker does late can be judged by that.

use std::time::Duration;

use sessionkeeper::{
    Supervisor,
    store::{LogQuery, MemoryStore, Store},
    testing::WallClock,
};
use tokio::time::Instant;

use super::{deeds::SECOND, faults::Faults};
use crate::oracle::ledger::{Book, Entry, Moment};

/// For how long: what is to happen in a life happens in the first minute.
const SPAN: Duration = Duration::from_secs(60);

/// Who looks at the clocks of one worker.
pub(super) struct Looker {
    pub(super) supervisor: Supervisor,
    pub(super) store: MemoryStore,
    pub(super) clock: WallClock,
    pub(super) faults: Faults,
    pub(super) book: Book,
    pub(super) began: Instant,
}

impl Looker {
    /// Looks again and again, from when the worker has recovered.
    pub(super) async fn go_on(self) {
        while self.began.elapsed() < SPAN {
            tokio::time::sleep(SECOND).await;
            // Tokio wakes those who wait for it in a random order.
            let recovered = futures::FutureExt::now_or_never(self.supervisor.recovered());
            if recovered.is_some_and(|recovered| recovered.is_ok()) {
                self.look().await;
            }
        }
    }

    /// Looks once. Before anybody else does anything, so that each jump of the wall clock is seen.
    pub(super) async fn look(&self) {
        let newest = LogQuery { limit: 1, ..LogQuery::default() };
        let Ok(page) = self.store.log(newest).await else { return };
        let (up, wall, events) = (self.began.elapsed(), self.clock.now(), page.end.last);
        let troubles = self.faults.troubles();
        self.book.enter(Entry::Moment(Moment { up, wall, events, troubles }));
    }
}
