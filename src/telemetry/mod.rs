//! Every name that shows in traces and metrics, and what is written with them.

use std::{num::NonZeroU64, time::Duration};

use tracing::{Span, debug, info, info_span, warn};

#[cfg(feature = "process")]
use crate::workload::Run;
use crate::workload::{panics::Mishap, threads::CodeOwner};
use crate::{
    hooks::Hook,
    model::{
        event::{Cause, Fact, Lifecycle},
        ids::{ReaderName, RunId, SessionId},
        record::SessionRecord,
    },
};

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod metrics;

pub(crate) use self::metrics::{Meters, Stamp};

/// The target of every span and line.
pub(crate) const TARGET: &str = "sessionkeeper";

/// The span of one run; the workload's own spans and lines are inside.
pub(crate) fn run_span(session: SessionId, run: RunId, kind: &str) -> Span {
    info_span!(target: TARGET, "session", %session, %run, kind)
}

/// The span of the copying for a fork.
pub(crate) fn fork_span(session: SessionId, fork: SessionId, kind: &str) -> Span {
    info_span!(target: TARGET, "fork", %session, %fork, kind)
}

/// Writes a line for each move that a commit made, and one for a session that ended.
pub(crate) fn committed(record: &SessionRecord, facts: &[crate::model::event::EventRecord]) {
    for event in facts {
        if let Fact::Lifecycle(Lifecycle::Deleted { by, .. }) = &event.fact {
            info!(target: TARGET, session = %record.id, %by, "session deleted");
        }
        let Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, reason, .. }) = &event.fact
        else {
            continue;
        };
        let run = event.run.map(tracing::field::display);
        info!(
            target: TARGET,
            session = %record.id,
            run,
            %from,
            %to,
            reason = reason.as_deref().unwrap_or(Cause::as_str(*cause)),
            "session moved"
        );
        if to.is_terminal() {
            info!(
                target: TARGET,
                session = %record.id,
                state = %to,
                active_ms = record.runs.active_ms,
                runs = record.runs.count,
                restarts = record.runs.restarts,
                input_tokens = record.usage.input_tokens(),
                output_tokens = record.usage.output_tokens(),
                tool_calls = record.usage.tool_calls(),
                "session ended"
            );
        }
    }
}

/// Says that nothing is left of a session that was deleted but its tombstone, or not even that.
pub(crate) fn purged(session: SessionId, forgotten: bool) {
    info!(target: TARGET, %session, forgotten, "what was left of a deleted session is removed");
}

/// Says that the older events of a session are removed.
pub(crate) fn trimmed(session: SessionId, to: u64) {
    debug!(target: TARGET, %session, to, "its events up to this one are removed");
}

/// Says that all sessions hold more than they may, and that none of them may go.
pub(crate) fn no_room(limit: NonZeroU64, excess: u64) {
    let what = "the sessions hold more than they may, and none is left that may be removed";
    warn!(target: TARGET, limit = limit.get(), excess, "{what}");
}

/// Says that the store failed and that commits are being retried.
pub(crate) fn store_failed(error: &(dyn std::error::Error + 'static), attempt: u32) {
    warn!(target: TARGET, error, attempt, "the store failed; commits wait and are retried");
}

/// Says that the store works again.
pub(crate) fn store_healed(attempts: u32) {
    info!(target: TARGET, attempts, "the store works again");
}

/// Says that a run gave no sign of life for too long. It is cancelled, and the session will move.
pub(crate) fn called_silent(session: SessionId) {
    debug!(name: "silent", target: TARGET, %session, "the run is silent and is cancelled");
}

/// Says that a sink failed; it is called again later.
pub(crate) fn sink_failed(name: &str, what: &str, failures: u32) {
    warn!(target: TARGET, sink = name, failures, "the sink failed and is called again later: {what}");
}

/// Says that a sink works again.
pub(crate) fn sink_works_again(name: &str) {
    info!(target: TARGET, sink = name, "the sink works again");
}

/// Says that a hook failed, and what follows.
pub(crate) fn hook_failed(
    session: SessionId,
    hook: Hook,
    what: &str,
    failures: u32,
    is_given_up: bool,
) {
    let hook = hook.as_str();
    if is_given_up {
        warn!(target: TARGET, %session, hook, failures, "the hook is given up: {what}");
    } else {
        warn!(target: TARGET, %session, hook, failures, "the hook failed and is called again: {what}");
    }
}

/// Says that a parent could not be told of the end of a child.
pub(crate) fn child_end_untold(parent: SessionId, child: SessionId, what: &str) {
    warn!(target: TARGET, session = %parent, %child, "the end of its child is told by the next worker: {what}");
}

/// Says what a reader of the log has lost: its place, or what it noted there.
pub(crate) fn reader_lost(reader: &ReaderName, what: &str) {
    warn!(target: TARGET, %reader, "{what}");
}

/// Says that something about one session could not be done; others are not touched.
pub(crate) fn session_trouble(
    session: SessionId,
    what: &str,
    error: &(dyn std::error::Error + 'static),
) {
    warn!(target: TARGET, %session, error, "{what}");
}

/// Says that the clean-up of a run did not go well; the session moves on.
pub(crate) fn clean_up_failed(owner: &CodeOwner, mishap: Mishap) {
    let what = match mishap {
        Mishap::Panicked => "panicked",
        Mishap::TookTooLong => "took too long",
    };
    let run = owner.run.map(tracing::field::display);
    warn!(
        target: TARGET,
        session = %owner.session,
        run,
        code = %owner.code(),
        "the clean-up of a run {what}"
    );
}

/// Says that some of what a closed resource had to say is too large to be recorded.
pub(crate) fn last_words_lost(session: SessionId, lost: usize) {
    warn!(target: TARGET, %session, lost, "last words of what a session held are too large");
}

/// Says how a program of a run ended, and how many of those that it had started had to be killed.
#[cfg(feature = "process")]
pub(crate) fn program_ended(
    run: &Run,
    program: &str,
    cause: impl std::fmt::Display,
    ended_in_ms: u64,
    killed: u32,
) {
    let (session, run) = (run.session(), run.id());
    info!(target: TARGET, %session, %run, program, %cause, ended_in_ms, killed, "a program ended");
}

/// Says that code of a workload does not let go of its thread.
pub(crate) fn thread_blocked(owner: &CodeOwner, thread: &str, lasted: Duration) {
    let run = owner.run.map(tracing::field::display);
    warn!(
        target: TARGET,
        session = %owner.session,
        run,
        kind = owner.kind.as_str(),
        code = %owner.code(),
        thread,
        blocked_ms = millis(lasted),
        "a thread is blocked by a workload"
    );
}

/// Says that such a thread goes on.
pub(crate) fn thread_freed(owner: &CodeOwner, thread: &str, lasted: Duration) {
    let run = owner.run.map(tracing::field::display);
    info!(
        target: TARGET,
        session = %owner.session,
        run,
        kind = owner.kind.as_str(),
        thread,
        blocked_ms = millis(lasted),
        "a blocked thread is free again"
    );
}

/// Says that the runtime of the supervisor gets nothing done.
pub(crate) fn runtime_stalled(by_workloads: bool, lasted: Duration) {
    let cause = if by_workloads {
        "workloads block threads"
    } else {
        "something else than the code of a workload blocks it, or nothing drives it"
    };
    let stalled_ms = millis(lasted);
    warn!(target: TARGET, cause, stalled_ms, "the runtime of the supervisor stands still");
}

/// Says that it does again.
pub(crate) fn runtime_runs_again(lasted: Duration) {
    let stalled_ms = millis(lasted);
    info!(target: TARGET, stalled_ms, "the runtime of the supervisor runs again");
}

/// Says that nobody looks out for blocked threads.
pub(crate) fn no_watchdog(error: &(dyn std::error::Error + 'static)) {
    warn!(target: TARGET, error, "the watchdog cannot be started; blocked threads are not reported");
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
