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

/// Looks at the clocks, from when a worker has recovered.
pub(super) async fn look(
    supervisor: Supervisor,
    store: MemoryStore,
    clock: WallClock,
    faults: Faults,
    book: Book,
) {
    let began = Instant::now();
    while began.elapsed() < SPAN {
        tokio::time::sleep(SECOND).await;
        // Tokio wakes those who wait for it in a random order.
        let recovered = futures::FutureExt::now_or_never(supervisor.recovered());
        if recovered.is_none_or(|recovered| recovered.is_err()) {
            continue;
        }
        let newest = LogQuery { limit: 1, ..LogQuery::default() };
        let Ok(page) = store.log(newest).await else { continue };
        let (up, wall, events) = (began.elapsed(), clock.now(), page.end.last);
        book.enter(Entry::Moment(Moment { up, wall, events, troubles: faults.troubles() }));
    }
}
