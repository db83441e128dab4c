//! The conformance suite finds stores that break the contract: each claim fails for one that does.

use std::{
    ops::RangeInclusive,
    panic::catch_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sessionkeeper::{
    EventRecord, InputId, Lane, LaneTime, RunId, Scope, SessionId, SessionRecord, StateBytes,
    StateCounts, StoredInput, StoredStep, SupervisedTime, Turn, WorkerGeneration,
    store::{
        AcceptedInput, Batch, Bookmark, Damage, Due, Key, LogPage, LogQuery, MemoryStore, Opened,
        Page, Purge, Purged, Query, Refusal, Store, StoreError, StoreFuture, StoredRun, Trim,
    },
    testing::{Damageable, Place, conformance},
};

/// What is wrong with a [`Broken`] store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    DropsAllEvents,
    TakesAnyVersion,
    RefusesRepetition,
    MixesAnswersUp,
    ForgetsTheTime,
    LetsEverybodyCommit,
    KeepsOneSnapshot,
    CutsLargeSnapshots,
    ForgetsAnInput,
    ForgetsAStep,
    IgnoresLimits,
    IgnoresTheEndOfARange,
    IgnoresLabels,
    GivesOnePage,
    IsDueTooSoon,
    NeverWakesUp,
    FindsNothing,
    ForgetsInputIds,
    LosesTheUnread,
    SpoilsListings,
    MakesUpDamage,
    CannotHeal,
    StaysOpen,
    LosesItsPlace,
    CountsAllForEach,
    BlocksWhenDropped,
}

/// A place for a store in memory that has one thing wrong.
struct Broken<const WRONG: usize>(MemoryStore, Arc<AtomicBool>);

/// The store there.
struct Bent {
    inner: MemoryStore,
    wrong: Wrong,
    busy: Arc<AtomicBool>,
    begun: std::sync::Mutex<Option<WorkerGeneration>>,
}

const ALL: [Wrong; 27] = [
    Wrong::Nothing,
    Wrong::DropsAllEvents,
    Wrong::TakesAnyVersion,
    Wrong::RefusesRepetition,
    Wrong::MixesAnswersUp,
    Wrong::ForgetsTheTime,
    Wrong::LetsEverybodyCommit,
    Wrong::KeepsOneSnapshot,
    Wrong::CutsLargeSnapshots,
    Wrong::ForgetsAnInput,
    Wrong::ForgetsAStep,
    Wrong::IgnoresLimits,
    Wrong::IgnoresTheEndOfARange,
    Wrong::IgnoresLabels,
    Wrong::GivesOnePage,
    Wrong::IsDueTooSoon,
    Wrong::NeverWakesUp,
    Wrong::FindsNothing,
    Wrong::ForgetsInputIds,
    Wrong::LosesTheUnread,
    Wrong::SpoilsListings,
    Wrong::MakesUpDamage,
    Wrong::CannotHeal,
    Wrong::StaysOpen,
    Wrong::LosesItsPlace,
    Wrong::CountsAllForEach,
    Wrong::BlocksWhenDropped,
];

impl<const WRONG: usize> Place for Broken<WRONG> {
    type Store = Bent;

    fn new() -> Self {
        Self(MemoryStore::new(), Arc::default())
    }

    async fn open(&self) -> Bent {
        let inner = self.0.clone();
        Bent { inner, wrong: ALL[WRONG], busy: Arc::clone(&self.1), begun: Default::default() }
    }
}

impl<const WRONG: usize> Damageable for Broken<WRONG> {
    async fn damage_record(&self, store: Bent, session: SessionId) -> Bent {
        self.0.damage(session, sessionkeeper::store::Part::Record);
        store
    }
}

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable { what: "it is broken".to_owned(), source: None })
}

impl Bent {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }
}

impl Store for Bent {
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened> {
        Box::pin(async move {
            let mut opened = self.inner.begin(generation).await?;
            *self.begun.lock().unwrap() = Some(generation);
            if self.is(Wrong::ForgetsTheTime) {
                opened.supervised = SupervisedTime::default();
            }
            Ok(opened)
        })
    }

    fn commit(&self, mut batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        Box::pin(async move {
            let begun = *self.begun.lock().unwrap();
            if let (Some(begun), Wrong::LetsEverybodyCommit) = (begun, self.wrong) {
                batch.generation = begun;
            }
            for commit in &mut batch.commits {
                let commit = Arc::make_mut(commit);
                if self.is(Wrong::DropsAllEvents) {
                    commit.events.clear();
                }
                if self.is(Wrong::TakesAnyVersion) {
                    let stored = self.inner.load(commit.record.id).await?;
                    commit.record_mut().version = stored.map_or(0, |record| record.version) + 1;
                }
                if self.is(Wrong::RefusesRepetition) {
                    let stored = self.inner.load(commit.record.id).await?;
                    let found = stored.map(|record| record.version);
                    if found == Some(commit.record.version) {
                        return Ok(vec![Err(Refusal::Version { found })]);
                    }
                }
            }
            let mut answers = self.inner.commit(batch).await?;
            if self.is(Wrong::MixesAnswersUp) {
                answers.sort_by_key(Result::is_err);
            }
            Ok(answers)
        })
    }

    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        Box::pin(async move {
            if self.is(Wrong::BlocksWhenDropped) {
                if self.busy.swap(true, Ordering::SeqCst) {
                    return broken();
                }
                tokio::task::yield_now().await;
                self.busy.store(false, Ordering::SeqCst);
            }
            match self.inner.load(session).await {
                Err(StoreError::Damaged { .. }) if self.is(Wrong::LosesTheUnread) => Ok(None),
                loaded => loaded,
            }
        })
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>> {
        Box::pin(async move {
            let found = self.inner.find(key).await?;
            Ok(found.filter(|_| !self.is(Wrong::FindsNothing)))
        })
    }

    fn run(&self, run: RunId) -> StoreFuture<'_, Option<StoredRun>> {
        Box::pin(async move {
            let found = self.inner.run(run).await?;
            Ok(found.filter(|_| !self.is(Wrong::FindsNothing)))
        })
    }

    fn list(&self, mut query: Query) -> StoreFuture<'_, Page> {
        Box::pin(async move {
            if self.is(Wrong::SpoilsListings) && !self.inner.damaged().await?.is_empty() {
                return broken();
            }
            if self.is(Wrong::IgnoresLabels) {
                query.labels.clear();
            }
            let mut page = self.inner.list(query).await?;
            if self.is(Wrong::GivesOnePage) {
                page.next = None;
            }
            Ok(page)
        })
    }

    fn held(&self) -> StoreFuture<'_, StateBytes> {
        self.inner.held()
    }

    fn due(&self, lane: Lane, until: LaneTime, limit: usize) -> StoreFuture<'_, Vec<Due>> {
        let until =
            if self.is(Wrong::IsDueTooSoon) { LaneTime::from_millis(u64::MAX) } else { until };
        Box::pin(async move {
            let mut due = self.inner.due(lane, until, limit).await?;
            if self.is(Wrong::NeverWakesUp) && lane == Lane::Ready {
                due.clear();
            }
            Ok(due)
        })
    }

    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        Box::pin(async move {
            let bytes = self.inner.snapshot(session, sequence).await?;
            if self.is(Wrong::KeepsOneSnapshot) {
                let record = self.inner.load(session).await?;
                let newest = record.and_then(|record| record.snapshot().map(|s| s.sequence));
                return Ok(bytes.filter(|_| newest == Some(sequence)));
            }
            if self.is(Wrong::CutsLargeSnapshots) {
                return Ok(bytes.map(|bytes| bytes.iter().copied().take(65_535).collect()));
            }
            Ok(bytes)
        })
    }

    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>> {
        Box::pin(async move {
            let limit = if self.is(Wrong::IgnoresLimits) { usize::MAX } else { limit };
            let mut inputs = self.inner.inputs(session, after, limit).await?;
            if self.is(Wrong::ForgetsAnInput) {
                inputs.retain(|input| input.sequence != 3);
            }
            Ok(inputs)
        })
    }

    fn steps(&self, session: SessionId, after: Turn) -> StoreFuture<'_, Vec<StoredStep>> {
        Box::pin(async move {
            let mut steps = self.inner.steps(session, after).await?;
            if self.is(Wrong::ForgetsAStep) {
                steps.retain(|step| step.key.as_str() != "second");
            }
            Ok(steps)
        })
    }

    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        Box::pin(async move {
            let known = self.inner.accepted(session, id).await?;
            Ok(known.filter(|_| !self.is(Wrong::ForgetsInputIds)))
        })
    }

    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        let end = if self.is(Wrong::IgnoresTheEndOfARange) { u64::MAX } else { *range.end() };
        self.inner.events(session, *range.start()..=end, limit)
    }

    fn log(&self, query: LogQuery) -> StoreFuture<'_, LogPage> {
        self.inner.log(query)
    }

    fn count(&self, scope: Scope) -> StoreFuture<'_, StateCounts> {
        Box::pin(async move {
            let scope = if self.is(Wrong::CountsAllForEach) { Scope::All } else { scope };
            self.inner.count(scope).await
        })
    }

    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>> {
        Box::pin(async move {
            let mut bookmarks = self.inner.bookmarks().await?;
            if self.is(Wrong::LosesItsPlace) {
                bookmarks.clear();
            }
            Ok(bookmarks)
        })
    }

    fn purge(&self, purge: Purge) -> StoreFuture<'_, Result<Purged, Refusal>> {
        self.inner.purge(purge)
    }

    fn trim(&self, trim: Trim) -> StoreFuture<'_, Result<Purged, Refusal>> {
        self.inner.trim(trim)
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        Box::pin(async move {
            let mut damaged = self.inner.damaged().await?;
            if self.is(Wrong::MakesUpDamage) {
                damaged.push(Damage::new(None, "made up", b""));
            }
            Ok(damaged)
        })
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        if self.is(Wrong::CannotHeal) {
            return Box::pin(async { broken() });
        }
        self.inner.heal()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        if self.is(Wrong::StaysOpen) {
            return Box::pin(async { Ok(()) });
        }
        self.inner.close()
    }
}

/// Makes a test for each claim: it holds for the store with nothing wrong, and not for this one.
macro_rules! found {
    ($($wrong:ident: $claim:ident),* $(,)?) => {
        $(
            #[test]
            fn $claim() {
                const WRONG: usize = Wrong::$wrong as usize;
                conformance::check(conformance::$claim::<Broken<{ Wrong::Nothing as usize }>>());
                let broken = catch_unwind(|| {
                    conformance::check(conformance::$claim::<Broken<WRONG>>());
                });
                assert!(broken.is_err(), "{:?} is not found", Wrong::$wrong);
            }
        )*
    };
}

found!(
    DropsAllEvents: what_was_committed_is_there_after_a_crash,
    TakesAnyVersion: a_wrong_version_is_refused_and_named,
    RefusesRepetition: a_repeated_commit_is_answered_and_changes_nothing,
    MixesAnswersUp: a_refused_commit_hinders_no_other_of_its_batch,
    ForgetsTheTime: an_empty_batch_moves_the_supervised_time_forward_only,
    LetsEverybodyCommit: a_new_worker_ends_the_one_before,
    KeepsOneSnapshot: snapshots_are_kept_as_the_record_names_them,
    CutsLargeSnapshots: a_large_snapshot_comes_back_as_it_was,
    ForgetsAnInput: inputs_that_every_snapshot_covers_are_gone,
    ForgetsAStep: steps_come_by_their_turns_and_keys,
    IgnoresLimits: inputs_come_in_order_and_in_pages,
    IgnoresTheEndOfARange: events_come_in_order_and_in_ranges,
    IgnoresLabels: a_listing_filters_by_state_kind_and_labels,
    GivesOnePage: a_listing_is_newest_first_and_pages_meet,
    IsDueTooSoon: lanes_give_what_is_due_earliest_first,
    NeverWakesUp: lanes_follow_their_records,
    FindsNothing: a_name_is_found_at_its_holder_before_older_ones,
    ForgetsInputIds: an_input_id_is_taken_also_after_the_input_is_gone,
    LosesTheUnread: a_damaged_record_is_reported_and_never_replaced,
    SpoilsListings: a_damaged_record_harms_no_other_session,
    MakesUpDamage: an_unharmed_store_reports_no_damage,
    CannotHeal: healing_an_unharmed_store_does_nothing,
    StaysOpen: a_closed_store_says_so,
    CountsAllForEach: counters_follow_their_records,
    LosesItsPlace: a_bookmark_is_kept_and_replaced_by_the_next,
    BlocksWhenDropped: a_dropped_read_is_harmless,
);

#[test]
fn every_number_is_that_of_its_variant() {
    for (number, wrong) in ALL.into_iter().enumerate() {
        assert_eq!(wrong as usize, number, "{wrong:?}");
    }
}
