//! The conformance suite: the clauses of the store's contract, each as a claim that every store
//! must meet.

use sessionkeeper::{
    SessionId,
    store::{Page, Query, Store},
};

mod commits;
mod keys;
mod listing;
mod parts;

pub(crate) use self::{commits::*, keys::*, listing::*, parts::*};

/// Makes a test of every claim for a place.
macro_rules! conformance {
    ($place:ty) => {
        $crate::store::contract::conformance!($place:
            what_was_committed_is_there_after_a_crash,
            a_session_that_is_not_there_is_none,
            a_wrong_version_is_refused_and_named,
            a_new_session_must_not_exist,
            a_repeated_commit_is_answered_and_changes_nothing,
            the_same_version_of_another_writer_is_refused,
            a_refused_commit_leaves_nothing_behind,
            a_refused_commit_hinders_no_other_of_its_batch,
            commits_of_one_batch_see_each_other,
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
            snapshots_are_kept_as_the_record_names_them,
            a_large_snapshot_comes_back_as_it_was,
            a_large_record_input_and_event_come_back_as_they_were,
            events_come_in_order_and_in_ranges,
            events_are_found_across_many_commits,
            a_listing_is_newest_first_and_pages_meet,
            a_listing_filters_by_state_kind_and_labels,
            a_listing_follows_its_records,
            lanes_give_what_is_due_earliest_first,
            lanes_follow_their_records,
            an_unharmed_store_reports_no_damage,
            healing_an_unharmed_store_does_nothing,
            a_closed_store_says_so,
            closing_twice_is_harmless,
            many_tasks_commit_at_once,
        );
    };
    ($place:ty: $($claim:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $claim() {
                $crate::store::contract::$claim::<$place>().await;
            }
        )*
    };
}
pub(crate) use conformance;

/// The numbers of the sessions on a page of the store.
pub(crate) async fn listed(store: &impl Store, query: Query) -> Vec<u128> {
    numbers(&store.list(query).await.expect("a page"))
}

pub(crate) fn numbers(page: &Page) -> Vec<u128> {
    page.records.iter().map(|record| number(record.id)).collect()
}

pub(crate) fn number(session: SessionId) -> u128 {
    session.as_uuid().as_u128()
}
