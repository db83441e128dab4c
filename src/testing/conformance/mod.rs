//! The conformance suite: the contract of [`store`](crate::store), each clause as claims that
//! every [`Store`] must meet.
//!
//! A claim is an async function over a [`Place`](super::Place); it panics where the store does not meet it.
//! Its documentation names the clause of the contract. [`conformance!`](super::conformance!) makes
//! a test of each:
//!
//! ```
//! use sessionkeeper::{store::MemoryStore, testing::Place};
//!
//! struct Memory(MemoryStore);
//!
//! impl Place for Memory {
//!     type Store = MemoryStore;
//!
//!     fn new() -> Self {
//!         Self(MemoryStore::new())
//!     }
//!
//!     async fn open(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! sessionkeeper::testing::conformance!(Memory);
//! # sessionkeeper::testing::conformance::check(
//! #     sessionkeeper::testing::conformance::a_new_session_must_not_exist::<Memory>(),
//! # );
//! ```
//!
//! Where the place is [`Damageable`](super::Damageable), `conformance!(Memory, damage)` tests clause 5 too.
//!
//! What cannot be tested from outside is not: that a commit survives the end of the process, or
//! a power cut, is for tests of your own; and so is what a store does under faults of its disk.
//! For the tests of what is special about a store, [`fixture`](super::fixture) has the sessions
//! and commits that the claims are made of.

use std::{future::Future, time::Duration};

use crate::{
    SessionId,
    store::{Page, Query, Store},
};

mod cancelled;
mod commits;
mod damage;
mod deleted;
mod keys;
mod listing;
mod log;
#[expect(clippy::indexing_slicing, reason = "a claim that fails may panic")]
mod parts;
mod runs;
mod successors;
mod trimmed;

pub use self::{
    cancelled::*, commits::*, damage::*, deleted::*, keys::*, listing::*, log::*, parts::*,
    runs::*, successors::*, trimmed::*,
};

/// The longest that a claim may take, in real time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one claim on a runtime of its own, in real time.
///
/// # Panics
/// Where the claim does, where it takes more than two minutes, and inside of a runtime.
pub fn check(claim: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(PATIENCE, claim).await.expect("the store answers in time");
    });
}

/// Makes a `#[test]` of each claim of the [conformance suite](mod@crate::testing::conformance) for
/// a [`Place`](crate::testing::Place).
///
/// `conformance!(MyPlace)` tests all but damage; `conformance!(MyPlace, damage)`, for a place that
/// is [`Damageable`](crate::testing::Damageable), that too. For two stores, call it in two modules.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    ($place:ty) => {
        $crate::__conformance!($place:
            what_was_committed_is_there_after_a_crash,
            a_session_that_is_not_there_is_none,
            a_wrong_version_is_refused_and_named,
            a_new_session_must_not_exist,
            a_repeated_commit_is_answered_and_changes_nothing,
            the_same_version_of_another_writer_is_refused,
            a_refused_commit_leaves_nothing_behind,
            a_refused_commit_hinders_no_other_of_its_batch,
            commits_of_one_batch_see_each_other,
            a_successor_is_stored_with_what_it_follows,
            where_a_successor_is_refused_nothing_is_done,
            a_repeated_commit_with_a_successor_changes_nothing,
            a_chain_of_successors_fits_in_one_batch,
            an_empty_batch_moves_the_supervised_time_forward_only,
            a_worker_that_did_not_begin_is_refused,
            a_new_worker_ends_the_one_before,
            a_name_is_held_by_one_session_until_it_ends,
            a_name_is_found_at_its_holder_before_older_ones,
            a_name_that_is_given_up_is_free,
            a_start_key_is_taken_for_ever,
            an_external_id_finds_the_newest,
            an_external_id_follows_its_record,
            an_input_id_is_taken_also_after_the_input_is_gone,
            an_input_id_is_unique_within_its_session_only,
            inputs_come_in_order_and_in_pages,
            inputs_that_every_snapshot_covers_are_gone,
            an_input_that_its_own_commit_covers_is_gone_at_once,
            steps_come_by_their_turns_and_keys,
            a_step_is_replaced_by_what_came_of_it,
            steps_that_every_snapshot_covers_are_gone,
            snapshots_are_kept_as_the_record_names_them,
            a_large_snapshot_comes_back_as_it_was,
            a_large_record_input_and_event_come_back_as_they_were,
            events_come_in_order_and_in_ranges,
            events_are_found_across_many_commits,
            a_listing_is_newest_first_and_pages_meet,
            a_listing_filters_by_state_kind_and_labels,
            a_listing_finds_who_comes_from_a_session,
            a_listing_follows_its_records,
            counters_follow_their_records,
            what_sessions_hold_follows_their_records,
            lanes_give_what_is_due_earliest_first,
            lanes_follow_their_records,
            a_run_is_found_where_it_began_and_ended,
            the_runs_of_a_purged_session_are_gone,
            the_log_has_all_events_in_the_order_of_their_commits,
            the_log_is_read_by_type_and_by_session,
            a_repeated_commit_is_in_the_log_once,
            a_bookmark_is_kept_and_replaced_by_the_next,
            a_bookmark_of_an_ended_worker_is_not_kept,
            a_deleted_session_is_found_by_its_start_key_only,
            nothing_brings_a_deleted_session_back,
            a_tombstone_removes_nothing,
            a_purge_leaves_nothing_of_a_deleted_session,
            a_purge_takes_no_session_apart_that_is_not_deleted,
            a_session_that_is_forgotten_never_was,
            the_events_of_a_purged_session_are_a_gap_in_the_log,
            the_oldest_events_go_and_the_newest_stay,
            only_what_its_record_says_is_trimmed,
            a_trim_of_what_is_not_there_does_nothing,
            what_was_trimmed_is_a_gap_in_the_log,
            a_run_is_known_as_long_as_its_end_is_there,
            an_unharmed_store_reports_no_damage,
            healing_an_unharmed_store_does_nothing,
            a_closed_store_says_so,
            closing_twice_is_harmless,
            many_tasks_commit_at_once,
            a_dropped_commit_can_be_repeated,
            a_dropped_read_is_harmless,
        );
    };
    ($place:ty, damage) => {
        $crate::__conformance!($place);
        $crate::__conformance!($place:
            a_damaged_record_is_reported_and_never_replaced,
            a_damaged_record_harms_no_other_session,
            the_log_is_read_past_a_damaged_session,
        );
    };
    ($place:ty: $($claim:ident),* $(,)?) => {
        $(
            #[test]
            fn $claim() {
                $crate::testing::conformance::check(
                    $crate::testing::conformance::$claim::<$place>(),
                );
            }
        )*
    };
}

/// The numbers of the sessions on a page of the store.
async fn listed(store: &impl Store, query: Query) -> Vec<u128> {
    numbers(&store.list(query).await.expect("a page"))
}

fn numbers(page: &Page) -> Vec<u128> {
    page.records.iter().map(|record| number(record.id)).collect()
}

fn number(session: SessionId) -> u128 {
    session.as_uuid().as_u128()
}
