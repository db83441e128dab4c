//! Every interleaving of what a run and its session do to one another, see [`crate::sync`].

use std::sync::Arc;

use loom::{
    future::block_on,
    model,
    sync::atomic::{AtomicUsize, Ordering},
};
use uuid::Uuid;

use super::{
    inbox::Delivery,
    line::{Port, Request, RunParts},
    run::Run,
    signs::Signs,
};
use crate::{
    clock::{Clock, wall::Wall},
    model::{
        ids::{Kind, RunId, SessionId},
        record::StoredInput,
        step::Turn,
        time::{SupervisedTime, Timestamp, WorkerTime},
        usage::Usage,
    },
    policy::liveness::Doing,
    sync::both,
};

/// Counts what a run tells.
#[derive(Clone, Default)]
struct Told(Arc<AtomicUsize>);

impl Port for Told {
    fn send(&self, _: Request) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Told {
    /// How often the session was told: adding nothing reads the newest.
    fn count(&self) -> usize {
        self.0.fetch_add(0, Ordering::AcqRel)
    }
}

/// A run that nobody listens to.
pub(crate) fn explored_run() -> Run {
    run(Told::default())
}

fn run(port: Told) -> Run {
    let parts = RunParts {
        session: SessionId::from_uuid(Uuid::nil()),
        run: RunId::from_uuid(Uuid::nil()),
        kind: Kind::new("explored").expect("a valid kind"),
        clock: Clock::new(SupervisedTime::default(), Wall::System),
        port: Box::new(port),
        worker: std::sync::Weak::<()>::new(),
        threads: Arc::default(),
        max_snapshot_bytes: 1,
    };
    Run::new(parts, Turn::default(), Vec::new())
}

fn input() -> Delivery {
    let input = StoredInput {
        sequence: 1,
        id: None,
        at: Timestamp::default(),
        state_version: 1,
        payload: Arc::default(),
    };
    Delivery::Input { input: Arc::new(input), attempt: 1, urgent: false }
}

/// G6: who looks at a run while it ends a declaration sees the declaration, or a fresh sign.
#[test]
fn a_declaration_that_ends_leaves_a_fresh_sign() {
    model(|| {
        let signs = Arc::new(Signs::default());
        let (until, end) = (WorkerTime::from_millis(50), WorkerTime::from_millis(40));
        let token = signs.begin_busy(until);
        let ending = Arc::clone(&signs);
        match both(move || ending.end(token, end), move || signs.doing()).1 {
            Doing::Busy { until: seen } => assert_eq!(seen, until),
            Doing::Working { last_sign } => assert_eq!(last_sign, end),
            doing => panic!("{doing:?}"),
        }
    });
}

/// G6: the same of a run that rested.
#[test]
fn a_rest_that_ends_leaves_a_fresh_sign() {
    model(|| {
        let signs = Arc::new(Signs::default());
        signs.begin_next(true, WorkerTime::from_millis(10));
        let ending = Arc::clone(&signs);
        let end = move || ending.end_next(WorkerTime::from_millis(40));
        let since = match both(end, move || signs.doing()).1 {
            Doing::Resting { since } | Doing::Working { last_sign: since } => since.as_millis(),
            doing => panic!("{doing:?}"),
        };
        assert!(since == 10 || since == 40, "{since}");
    });
}

/// A run that asks for its input and is told that there is none rests, in whatever order: else
/// it would never be idle.
#[test]
fn a_run_without_an_input_rests() {
    model(|| {
        let run = run(Told::default());
        let (session, asking) = (run.clone(), run.clone());
        both(move || session.park(), move || asking.begin_next());
        assert!(matches!(run.doing(), Doing::Resting { .. }), "{:?}", run.doing());
    });
}

/// A run that waits for a delivery wakes for it, and for the end.
#[test]
fn a_waiting_run_wakes() {
    for fenced in [false, true] {
        model(move || {
            let run = run(Told::default());
            let session = run.clone();
            let wake = move || {
                if fenced { session.end() } else { session.deliver(Delivery::Yield) }
            };
            let delivery = both(wake, move || block_on(run.delivery())).1;
            assert_eq!(delivery.is_err(), fenced);
        });
    }
}

/// G4: an input that is taken back while the run picks it up goes one way only.
#[test]
fn an_input_is_picked_up_or_taken_back() {
    model(|| {
        let run = run(Told::default());
        run.deliver(input());
        let session = run.clone();
        let (back, picked_up) = both(move || session.take_back(), move || run.take_delivery());
        assert!(back.is_some() != picked_up.is_some(), "{back:?}, {picked_up:?}");
    });
}

/// G2: while notes wait that no commit took, the session was told of them.
#[test]
fn no_note_waits_untold() {
    model(|| {
        let told = Told::default();
        let run = run(told.clone());
        let (session, noting) = (run.clone(), run.clone());
        let take = move || {
            // What the session is told from here on makes it take again.
            let heard = told.count();
            session.take_notes();
            (told, heard)
        };
        let note = move || {
            noting.record_usage(Usage::tokens(1, 0));
            noting.record_usage(Usage::tokens(1, 0));
        };
        let ((told, heard), ()) = both(take, note);
        let told_since = told.count() > heard;
        assert!(told_since || run.take_notes().is_empty());
    });
}
