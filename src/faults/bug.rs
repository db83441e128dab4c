//! The bugs that can be planted: small, and each of a kind that would break a guarantee.
//!
//! Each says what goes wrong, which guarantee that breaks and where it is planted; then which
//! tests notice, by their names, and which other suites ought to. `.ci/planted` reads the names
//! from here, plants one bug after the other and runs the tests.

super::listed! {
    /// A bug that a test must notice.
    pub enum Bug {
        // The sinks.

        /// A batch that a sink refused is taken for delivered (a sink misses nothing, `runtime/sinks.rs`).
        /// Noticed by `a_sink_that_fails_is_given_the_same_again`.
        PassOverFailedSink,
        /// The end of a session is not told at once (`runtime/sinks.rs`).
        /// Noticed by `the_end_of_a_session_is_told_at_once`.
        TellSinksLate,

        // The hooks.

        /// That a session begins is not told (`runtime/draft/moves.rs`).
        /// Noticed by `start_and_end_are_told_once_each_and_in_order`; oracle.
        BeginUntold,
        /// A hook that failed is taken for done (`runtime/hooks.rs`).
        /// Noticed by `a_hook_that_fails_is_called_again_and_delays_no_other_session`.
        PassOverFailedHook,
        /// The end of a session is told while its run is still being closed (`runtime/hooks.rs`).
        /// Noticed by `the_end_is_told_once_the_run_is_closed_however_it_came`.
        EndBeforeClose,
        /// The hooks that were under way are forgotten with their worker (`runtime/hooks.rs`).
        /// Noticed by `what_is_owed_is_called_by_the_next_worker`.
        ForgetOwedHooks,
        /// Where one hook of an event is owed, the next worker calls all that the event calls for (`runtime/hooks.rs`).
        /// Noticed by `what_is_done_is_not_called_again_by_the_next_worker_where_what_follows_it_fails`.
        CallWholeEvent,

        // The readers of the log.

        /// What they had read before their store was put together anew is read again (`runtime/reader.rs`).
        /// Noticed by `whoever_reads_the_log_goes_on_in_a_store_that_was_put_together_anew`.
        ReadCarriedAgain,

        // The store.

        /// Commits are answered before they are flushed (G2, `store/sled/writer.rs`).
        /// Noticed by `what_was_answered_is_there_after_a_kill`; crash loop.
        AcknowledgeBeforeFlush,
        /// Commits are answered though the device did not take them (G2, `store/sled/engine.rs`).
        /// Noticed by `nothing_is_answered_that_the_device_did_not_take`; power cuts.
        SkipSync,
        /// The mark of the last commit is not written (G2, `store/sled/writer.rs`).
        /// Noticed by `a_store_that_was_put_back_is_not_taken_for_the_newest`; power cuts.
        ForgetMark,
        /// After a failed write the writer takes for stored what it planned (G2, `store/sled/writer.rs`).
        /// Noticed by `what_failed_to_be_written_is_written_when_it_is_repeated`; full disk.
        KeepCacheAfterFailure,
        /// A read shows what is not durable yet (G1, `store/sled/shared.rs`).
        /// Noticed by `a_read_waits_until_what_it_saw_is_durable`; oracle.
        ReadBeforeDurable,
        /// A worker that was replaced may go on writing (G3, `store/sled/writer.rs`).
        /// Noticed by `a_new_worker_ends_the_one_before`; crash loop.
        AcceptEndedGeneration,
        /// A commit replaces any version (G3, `store/admit.rs`).
        /// Noticed by `a_wrong_version_is_refused_and_named`; model, oracle.
        SkipVersionCheck,
        /// The checksums of stored values are not compared (G8, `store/codec.rs`).
        /// Noticed by `every_changed_bit_of_a_frame_is_noticed`, `one_damaged_record_harms_no_other`; fuzzing.
        SkipChecksum,
        /// A chunk goes with its snapshot though another one needs it (G2, `store/sled/snapshots.rs`).
        /// Noticed by `both_kept_snapshots_come_back_whatever_the_states_were`, `a_snapshot_that_is_dropped_takes_only_its_own_chunks_along`; power cuts.
        RemoveNeededChunk,
        /// A damaged snapshot is taken to prove that its chunks are stored (G8, `store/sled/snapshots.rs`).
        /// Noticed by `what_a_damaged_snapshot_lost_is_written_again`; damage.
        TrustDamagedSnapshot,
        /// A snapshot is written over a kept one that has the slot (G2, `store/sled/snapshots.rs`).
        /// Noticed by `a_kept_snapshot_is_never_written_over`; power cuts.
        TakeKeptSlot,
        /// Whatever is in its slot is taken for a snapshot (G8, `store/sled/slots.rs`).
        /// Noticed by `a_slot_with_another_snapshot_is_not_taken_for_the_one_that_is_wanted`; damage.
        ReadAnySlot,
        /// The due times that a session had before stay in the index (G7, `store/index.rs`).
        /// Noticed by `lanes_follow_their_records`; simulation.
        LeaveStaleDueTime,
        /// An input id is not known when it comes again (G4, `store/admit.rs`).
        /// Noticed by `an_input_that_is_repeated_under_its_id_counts_once`; oracle.
        ForgetInputId,
        /// The time that passed under supervision is not stored (G7, `store/sled/writer.rs`).
        /// Noticed by `an_empty_batch_moves_the_supervised_time_forward_only`; crash loop.
        ForgetSupervisedTime,
        /// Inputs go when the newest snapshot covers them, not the older (G4, `model/record.rs`).
        /// Noticed by `inputs_are_kept_until_the_older_kept_snapshot_covers_them`; damage.
        DropInputsOfOlderSnapshot,
        /// The older snapshot is not tried where the newest is damaged (G8, `runtime/desk/loaded.rs`).
        /// Noticed by `g4_a_fallback_to_the_older_snapshot_redelivers_what_it_lost`; damage.
        IgnoreOlderSnapshot,

        /// It is not written down which sessions come from a session (`store/index.rs`).
        /// Noticed by `a_listing_finds_who_comes_from_a_session`; simulation.
        ForgetRelations,

        /// A session that was deleted is still listed (`store/index.rs`).
        /// Noticed by `a_deleted_session_is_found_by_its_start_key_only`; simulation.
        ListDeleted,
        /// A late commit brings a deleted session back (G3, `store/admit.rs`).
        /// Noticed by `nothing_brings_a_deleted_session_back`; simulation.
        ReviveDeleted,
        /// Steps are left behind when a deleted session is removed (`store/sled/purge.rs`).
        /// Noticed by `a_purge_leaves_nothing_of_a_deleted_session`; simulation.
        PurgeAllButSteps,
        /// A session that is not at rest is deleted (G3, `runtime/desk/decide.rs`).
        /// Noticed by `a_session_that_is_not_at_rest_is_deleted_only_when_it_is_stopped_first`; simulation.
        DeleteTheLiving,
        /// What is asked behind a delete is decided as if the session were there (`runtime/desk/decide.rs`).
        /// Noticed by `what_is_asked_behind_a_delete_finds_nothing`; races.
        GoOnBehindDelete,
        /// Retention removes what has not ended (`policy/retention.rs`).
        /// Noticed by `what_has_not_ended_is_never_over`; simulation.
        RemoveWhatHasNotEnded,
        /// Where the store cut a look short, the next comes as late as if nothing were due (`runtime/removal.rs`).
        /// Noticed by `retention_goes_on_when_the_store_works_again`.
        RetainMuchLater,
        /// Events go that a sink has not been given (a sink misses nothing, `runtime/removal.rs`).
        /// Noticed by `no_events_go_that_a_sink_has_not_read`.
        TrimUnread,
        /// More events go than may, the newest among them (G9, `policy/retention.rs`).
        /// Noticed by `the_newest_events_of_a_session_are_kept_and_older_ones_go`.
        TrimTheNewest,
        /// Events go of which no record says so (G9, `store/trim.rs`).
        /// Noticed by `only_what_its_record_says_is_trimmed`.
        TrimWhatIsKept,
        /// Sessions that are to be kept for good go where there is no room (`policy/retention.rs`).
        /// Noticed by `none_goes_that_is_to_be_kept`.
        MakeRoomOfTheKept,
        /// What sessions do not hold any more is counted for ever (`model/footprint.rs`).
        /// Noticed by `what_sessions_hold_follows_their_records`, `what_is_held_is_what_there_is`.
        KeepFreedBytes,

        // The checkpointer.

        /// Commits are answered before the store has them (G1, `runtime/checkpointer.rs`).
        /// Noticed by `g1_no_verb_is_answered_or_seen_before_it_is_durable`; simulation.
        AnswerBeforeCommit,
        /// What a failing store did not take is not submitted again (G2, `runtime/checkpointer.rs`).
        /// Noticed by `g2_sessions_keep_running_on_a_full_disk_and_catch_up`; simulation.
        ForgetFailedBatch,
        /// The answers of a batch go to its commits in another order (G1, `runtime/checkpointer.rs`).
        /// Noticed by `of_twenty_starts_with_one_key_one_makes_the_session`; simulation.
        MixAnswersUp,

        // The commits of a session, with an actor and without.

        /// A change is shown before it is committed (G1, `runtime/session/flight.rs`).
        /// Noticed by `g1_whatever_a_watcher_sees_is_in_the_store`; oracle.
        PublishBeforeCommit,
        /// An input is given out before that is committed (G1, `runtime/session/flight.rs`).
        /// Noticed by `g1_a_run_gets_no_further_input_before_its_last_turn_is_durable`; simulation.
        DeliverBeforeCommit,
        /// A state is committed without the input that it covers (G4, `runtime/draft/state.rs`).
        /// Noticed by `g4_every_input_has_its_effect_once_through_crashes_and_panics`; oracle.
        SaveWithoutItsInput,
        /// An input is consumed without the state that covers it (G4, `runtime/draft/state.rs`).
        /// Noticed by `g4_every_input_has_its_effect_once_through_crashes_and_panics`; oracle.
        ConsumeWithoutItsState,
        /// A run that was fenced may commit its state (G3, `runtime/session/flight.rs`).
        /// Noticed by `g3_a_silent_run_that_comes_back_can_change_nothing`; simulation.
        SkipFence,
        /// A dropped request for an input takes the input along (G4, `workload/guards.rs`).
        /// Noticed by `g4_an_input_that_came_for_a_dropped_request_goes_to_the_next_one`; simulation.
        LoseInputOfDroppedRequest,
        /// An attempt is counted for an input that the run never got (G4, `runtime/draft/state.rs`).
        /// Noticed by `an_input_that_never_reached_a_run_is_no_attempt`; model.
        CountUntakenAttempt,
        /// What a run noted in its last turn is lost with the turn (G4, `runtime/session/flight.rs`).
        /// Noticed by `facts_are_kept_however_the_turn_ends`; oracle.
        LoseNotesOfLastTurn,
        /// A refused commit takes the notes along that it carried (G4, `runtime/session/flight.rs`).
        /// Noticed by `facts_outlive_a_commit_that_is_refused`; simulation.
        LoseNotesOfRefusedCommit,
        /// The result of a step is not recorded (G4, `workload/steps/mod.rs`).
        /// Noticed by `g4_a_crash_at_any_commit_repeats_no_step_unasked`; simulation.
        ForgetStepResult,
        /// A step is called before its intent is recorded (G4, `workload/steps/mod.rs`).
        /// Noticed by `g4_a_crash_at_any_commit_repeats_no_step_unasked`; simulation.
        CallBeforeIntent,
        /// Steps go when the newest snapshot covers them, not the older (G4, `model/record.rs`).
        /// Noticed by `g4_a_fallback_to_the_older_snapshot_finds_the_results_of_steps`, `steps_are_kept_until_the_older_kept_snapshot_covers_their_turn`.
        DropStepsOfOlderSnapshot,
        /// A start key that comes with another request gives the old session (G4, `runtime/op.rs`).
        /// Noticed by `a_key_that_comes_with_another_request_is_refused`; model.
        IgnoreStartDigest,

        // Restarts.

        /// One restart fewer than allowed within the window (`policy/restart.rs`).
        /// Noticed by `max_restarts_failures_in_the_window_are_answered_and_the_next_exhausts`; model.
        RestartOnceTooFew,
        /// The wait before a restart grows without end (`policy/restart.rs`).
        /// Noticed by `the_wait_grows_by_its_factor_up_to_the_longest`; model.
        UncapBackoff,
        /// The next worker does not wait out what is left of a backoff (`runtime/desk/keep.rs`).
        /// Noticed by `restart_backoff_goes_on_in_the_next_worker`; simulation.
        ForgetBackoff,

        // Liveness.

        /// The timer of a run is set once and never again (G7, `runtime/alarms.rs`).
        /// Noticed by `g7_the_verdict_on_each_of_thousands_falls_within_100_ms_of_its_deadline`; simulation.
        RingOnce,
        /// The timer is set for the whole limit, not for what is left (G7, `runtime/session/vigil.rs`).
        /// Noticed by `g7_the_verdict_on_each_of_thousands_falls_within_100_ms_of_its_deadline`; simulation.
        RearmForWholeLimit,
        /// A declared silent operation is taken for silence (G6, `workload/signs.rs`).
        /// Noticed by `g6_what_is_declared_or_shown_is_not_silence`; simulation.
        IgnoreBusy,
        /// Time during which the process stood still counts (G6, `clock.rs`).
        /// Noticed by `g6_a_worker_that_stood_still_expires_nothing`; real processes.
        CountLostTime,
        /// A run at rest is taken for silent (G6, `workload/signs.rs`).
        /// Noticed by `g6_an_idle_night_pauses_a_session_and_an_input_wakes_it`; simulation.
        CountRestAsSilence,
        /// A run that waits for its commit is taken for silent (G6, `workload/signs.rs`).
        /// Noticed by `g6_a_run_that_waits_for_a_failing_store_is_not_silent_and_not_idle`; simulation.
        CountCommitAsSilence,
        /// A limit on waiting that comes up is not looked at (G7, `runtime/core.rs`).
        /// Noticed by `g7_a_limit_on_waiting_is_kept_from_the_moment_it_begins`; simulation.
        ForgetNewTimeout,

        // Sleep.

        /// An alarm that is set is not looked at (`runtime/core.rs`).
        /// Noticed by `an_alarm_wakes_a_session_that_sleeps_and_costs_no_actor`.
        ForgetNewAlarm,
        /// The wall clock is read once for each alarm, and jumps go unnoticed (`runtime/agenda.rs`).
        /// Noticed by `a_wall_clock_that_jumps_rings_an_alarm_soon_and_never_early`.
        TrustWallClock,
        /// Inputs that a run gave back wake it from its sleep (`runtime/session/inputs.rs`).
        /// Noticed by `an_input_wakes_a_sleeper_once_and_only_if_it_is_news`.
        WakeForKnownInput,

        // Control.

        /// A session is stopped while its run is alive (G5, `runtime/session/flight.rs`).
        /// Noticed by `a_stopped_session_has_nothing_alive`; oracle.
        StopBeforeRunIsGone,
        /// A completion wins over the stop before it (G5, `runtime/session/settle.rs`).
        /// Noticed by `a_stop_wins_over_a_late_completion`; model.
        CompleteAfterStop,
        /// A pause wins over the resume after it (G5, `runtime/session/control.rs`).
        /// Noticed by `a_later_resume_wins_over_a_pause`; model.
        PauseDespiteLaterResume,
        /// A session at rest keeps its place under `max_active` (G5, `runtime/supervisor.rs`).
        /// Noticed by `several_who_resume_one_session_need_one_place`; simulation.
        KeepPlace,
        /// An input that meets an idle pause half-way wakes nobody (G6, `runtime/core.rs`).
        /// Noticed by `g6_an_input_that_comes_while_an_idle_run_yields_wakes_its_session`; simulation.
        LoseWakeUp,
        /// A run that had to be abandoned is not named (G5, `runtime/draft/moves.rs`).
        /// Noticed by `a_run_that_blocks_its_thread_is_abandoned_and_named_until_it_returns`; oracle.
        HideAbandoned,
        /// A run begins beside one that was abandoned (G3, `runtime/desk/begin.rs`).
        /// Noticed by `a_resume_never_puts_a_run_beside_an_abandoned_one`; oracle.
        ResumeBesideAbandoned,
        /// What a run held is not closed at its end (G5, `runtime/drive.rs`).
        /// Noticed by `g5_every_run_is_cleaned_up_once_however_it_ends`; simulation.
        LeaveHeldOpen,
        /// What a paused session holds is not closed by a stop (G5, `runtime/kept.rs`).
        /// Noticed by `a_stop_of_a_paused_session_waits_for_what_it_holds`; simulation.
        LeaveKeptOpen,

        // The begin and the end of a worker.

        /// The runs of a dropped supervisor go on (G3, `runtime/core.rs`).
        /// Noticed by `g3_no_run_outlives_a_worker_that_is_lost_while_it_starts_them`; simulation.
        LeaveRunsOfDroppedWorker,
        /// A lost worker is not counted against its sessions (G8, `runtime/draft/mod.rs`).
        /// Noticed by `g8_a_checkpoint_or_a_minute_clears_the_count_of_lost_workers`; crash loop.
        ForgetLostWorkers,
        /// A checkpoint does not clear the count of lost workers (G8, `runtime/draft/state.rs`).
        /// Noticed by `g8_a_checkpoint_or_a_minute_clears_the_count_of_lost_workers`; crash loop.
        SuspectAfterCheckpoint,
        /// A suspect is trusted again too soon (G8, `runtime/session/vigil.rs`).
        /// Noticed by `g8_a_checkpoint_or_a_minute_clears_the_count_of_lost_workers`; crash loop.
        ProveTooSoon,
        /// Suspects are resumed together (G8, `runtime/recovery.rs`).
        /// Noticed by `g8_suspects_come_last_and_one_at_a_time`; crash loop.
        RecoverSuspectsTogether,
        /// The next worker does not finish a stop (G2, `policy/recovery.rs`).
        /// Noticed by `recovery_finishes_a_stop_that_was_under_way`; crash loop.
        LeaveStopping,
        /// A shutdown forgets the sessions that wait out a backoff (G10, `runtime/supervisor.rs`).
        /// Noticed by `g10_sessions_without_a_run_are_taken_care_of_too`; simulation.
        ForgetBackoffAtShutdown,
        /// A shutdown waits for the store beyond its budget (G10, `runtime/shutdown.rs`).
        /// Noticed by `g10_a_store_that_stalls_or_fails_does_not_hold_a_shutdown_up`; simulation.
        OverrunBudget,

        // The log of all sessions.

        /// Who goes on in the middle of a group of commits misses the rest of it (G9, `store/journal/page.rs`).
        /// Noticed by `the_log_has_all_events_in_the_order_of_their_commits`, `a_cursor_is_good_through_crashes`.
        LeaveGroupOut,
        /// Who is too far behind is given the newest instead of what is due (G9, `runtime/tail.rs`).
        /// Noticed by `a_thousand_follow_all_and_one_that_does_not_read_hinders_nobody`.
        SkipWhatIsDue,

        // Statistics.

        /// A session that moves is counted where it was, too (indexes follow records, `store/counts.rs`).
        /// Noticed by `counters_follow_their_records`, `counters_follow_whatever_is_done`.
        CountTwice,
        /// What was counted is kept with a place before it, so that it is counted again after a crash (`runtime/statistics.rs`).
        /// Noticed by `what_happens_is_counted_once_through_crashes_and_shutdowns`.
        CountAgain,

        // Forks.

        /// The log of a fork does not say what it was made from (`runtime/draft/forks.rs`).
        /// Noticed by `a_fork_goes_on_from_the_state_and_its_parent_is_as_it_was`; simulation.
        TellNoOrigin,
        /// The inputs that are copied begin with those that the newest snapshot lacks (G4, `fork/parent.rs`).
        /// Noticed by `inputs_are_copied_from_where_the_snapshot_stands`.
        CopyTooFewInputs,
        /// A fork that was asked for by its key is made again (G4, `fork/make.rs`).
        /// Noticed by `a_fork_that_is_repeated_under_its_key_calls_nobody_again`.
        ForkAgain,

        // Runs.

        /// Runs of a session that was purged are still found (`store/runs.rs`).
        /// Noticed by `the_runs_of_a_purged_session_are_gone`.
        LeaveRunsOfPurged,

        // Rollovers.

        /// A session ends for a successor that is not stored (G2, `runtime/draft/mod.rs`).
        /// Noticed by `a_rollover_ends_a_session_and_begins_its_successor`.
        ForgetSuccessor,
        /// What overtook other inputs and is over moves with them (G4, `runtime/session/roll_over.rs`).
        /// Noticed by `g4_an_urgent_input_can_ask_for_the_rollover`.
        MoveWhatIsOver,
        /// What is urgent waits its turn in the successor (`runtime/draft/successor.rs`).
        /// Noticed by `an_urgent_input_that_waits_moves_with_a_rollover_and_still_overtakes`.
        MoveAsOrdinary,
        /// The inputs that wait stay behind (G2, `runtime/draft/successor.rs`).
        /// Noticed by `unread_inputs_move_in_their_order_with_their_ids`.
        LeaveUnreadInputs,
        /// The steps of a turn stay behind where its input moves (G4, `runtime/draft/successor.rs`).
        /// Noticed by `g4_a_turn_goes_on_in_the_successor_with_its_attempts_and_steps`.
        LeaveSteps,
        /// A session that was stopped while it was to be rolled over is (a stop wins, `runtime/session/settle.rs`).
        /// Noticed by `a_stop_wins_over_a_rollover_that_waits`.
        RollOverDespiteStop,
        /// The place of a session is free between it and its successor (`runtime/supervisor/succession.rs`).
        /// Noticed by `a_successor_has_the_place_of_the_session_before_it`.
        FreePlaceBetween,
        /// What a session holds is closed when it is rolled over (`runtime/kept.rs`).
        /// Noticed by `what_is_held_while_paused_passes_to_the_successor`.
        CloseHeldAtRollover,

        // Children.

        /// What the children of a session owe to its move is not kept (G2, `model/family.rs`).
        /// Noticed by `children_follow_their_parent_through_a_crash_at_every_commit`.
        ForgetCascade,
        /// A new child does not look at what its parent did before it was there (`runtime/draft/family.rs`).
        /// Noticed by `a_child_that_is_started_while_its_parent_is_paused_is_paused`.
        IgnoreEarlierMoves,
        /// The end of a child is another input each time it is told (G4, `runtime/family/tell.rs`).
        /// Noticed by `the_end_of_a_child_is_told_once_through_a_crash_at_every_commit`.
        TellEndAgain,
        /// A successor is told what the session in whose place it is was told before (G4, `runtime/family/tell.rs`).
        /// Noticed by `the_end_of_a_child_is_told_once_to_those_who_take_each_others_place`.
        TellSuccessorToo,
        /// A child takes a parent that is gone for one that has ended, however it stood (`runtime/family.rs`).
        /// Noticed by `a_child_heeds_how_its_parent_stood_when_it_was_deleted`.
        HeedAnyEnd,
        /// The end of a child is forgotten that is deleted before its parent is told (G2, `runtime/draft/family.rs`).
        /// Noticed by `a_full_parent_is_told_of_the_ends_of_children_that_are_gone`.
        ForgetUntold,
        /// A successor does not know that a person resumed the session in whose place it is (`model/family.rs`).
        /// Noticed by `a_child_that_is_resumed_since_the_parent_was_stopped_goes_on`.
        ForgetResumeBefore,
        /// Children stay paused when their parent is resumed (`model/family.rs`).
        /// Noticed by `a_resume_resumes_those_that_were_paused_with_the_parent`; simulation.
        LeaveChildrenPaused,
        /// Children stay paused that were so before their parent was stopped, when that is resumed (`model/family.rs`).
        /// Noticed by `who_was_paused_with_its_parent_goes_on_with_that_also_after_a_stop`; simulation.
        ForgetWhoIsPaused,

        // Inputs out of order.

        /// Urgent inputs wait their turn (`model/inbox.rs`).
        /// Noticed by `an_urgent_input_overtakes_those_that_wait`.
        QueueUrgent,
        /// What a turn has taken is not consumed with it (G4, `workload/run/urgent.rs`).
        /// Noticed by `what_a_turn_takes_is_over_with_its_next_commit`.
        LeaveTakenWaiting,
        /// An interrupt that drops an input commits nothing of that (G2, `runtime/draft/state.rs`).
        /// Noticed by `g2_what_was_dropped_is_not_given_again_after_a_crash`.
        ForgetDrop,
        /// What an older snapshot lacks of urgent inputs is taken to be over (G4, `model/inbox.rs`).
        /// Noticed by `g4_a_fallback_gives_urgent_inputs_again`.
        KeepEarlyOfNewerSnapshot,

        /// A stop of a run that is over stops the session's present one (G3, `runtime/draft/mod.rs`).
        /// Noticed by `a_stop_of_a_run_that_is_over_names_the_present_one_and_stops_nothing`.
        StopAnyRun,

        // Programs.

        /// A stop that overtakes a pause does not wait for what its run has left (programs end whole, `runtime/session/settle.rs`).
        /// Noticed by `a_stop_that_overtakes_a_pause_waits_for_what_was_left`.
        SettleBeforeHeldIsClosed,
        /// A stop is finished without the end of the run that its worker left (G3, `runtime/desk/mod.rs`).
        /// Noticed by `the_run_of_a_parent_that_was_being_stopped_by_a_lost_worker_has_its_end`.
        SettleWithoutEnd,
        /// What is just becoming another program is taken for none of ours (programs end whole, `process/survey.rs`).
        /// Noticed by `nobody_is_passed_over_before_it_is_known_whose_it_is`.
        PassOverTheBare,

        /// What has left the group of its program is not looked for (programs end whole, `process/survey.rs`).
        /// Noticed by `what_left_the_group_is_found_and_ended`.
        LeaveStrays,
        /// What does not obey is left alone after the grace (programs end whole, `process/ending.rs`).
        /// Noticed by `what_ignores_the_request_is_killed_after_its_leader_obeyed`.
        NeverForce,
        /// What has a number now is taken for what had it before (no stranger is touched, `process/survey.rs`).
        /// Noticed by `a_process_that_got_a_number_anew_is_never_touched`.
        TouchAnyNumber,
        /// What lost workers have left is not ended (programs end whole, `process/survey.rs`).
        /// Noticed by `what_has_the_mark_of_a_lost_worker_is_found`.
        LeaveLostPrograms,
        /// What a program has started runs on while it is frozen (a pause is one, `process/ending.rs`).
        /// Noticed by `a_stop_ends_what_is_frozen`.
        FreezeProgramAlone,
        /// What is printed while a program is ended is not read to its end (G2, `process/running.rs`).
        /// Noticed by `last_words_are_recorded`.
        MissLastWords,
        /// A program that was frozen over an input is given it again (G4, `process/job.rs`).
        /// Noticed by `an_input_is_given_once_to_a_program_that_is_frozen_over_it`.
        GiveInputAgain,
        /// A death by a signal is a success (`process/job.rs`).
        /// Noticed by `a_death_by_a_signal_is_never_a_success`.
        TakeDeathForSuccess,
        /// Secrets are recorded as they were printed (`process/secrets.rs`).
        /// Noticed by `secrets_are_shown_nowhere`, `secrets_are_replaced_wherever_they_are_split`.
        ShowSecrets,
    }
}
