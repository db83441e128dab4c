//! Times in which a worker was there and nothing delayed it: what it did not do in them, it did too late.

use std::time::Duration;

use super::ledger::{Entry, Ledger, Moment};

/// Looks are made once a second: where they are further apart, the process stood still.
const NEXT_LOOK: Duration = Duration::from_secs(2);

/// All looks at the clocks, by the workers beside which they were made.
pub(super) struct Calm {
    workers: Vec<Worker>,
    /// Where something could not be read.
    unreadable: Vec<usize>,
}

/// Places are those in the ledger.
#[derive(Default)]
struct Worker {
    looks: Vec<(usize, Moment)>,
    /// Whether it can resume whoever is to be.
    resumes_all: bool,
    /// Where it was lost, or shut down before.
    lost: Option<usize>,
}

impl Calm {
    pub(super) fn of(ledger: &Ledger) -> Self {
        let (mut workers, mut unreadable) = (vec![Worker::default()], Vec::new());
        for (place, entry) in ledger.0.iter().enumerate() {
            let Some(worker) = workers.last_mut() else { break };
            match entry {
                Entry::Begun { resumes_all } => worker.resumes_all = *resumes_all,
                Entry::Unreadable => unreadable.push(place),
                Entry::Moment(moment) => worker.looks.push((place, *moment)),
                Entry::Lost => {
                    worker.lost = Some(place);
                    workers.push(Worker::default());
                }
                _ => {}
            }
        }
        Self { workers, unreadable }
    }

    /// Whether whoever is resumed at a place in the ledger is so at once: and whoever was to be, since an earlier one.
    pub(super) fn resumes_all(&self, since: usize, place: usize) -> bool {
        let worker = self.workers.iter().find(|worker| worker.lost.is_none_or(|lost| lost > place));
        let is_read = !self.unreadable.iter().any(|at| (since..place).contains(at));
        is_read && worker.is_some_and(|worker| worker.resumes_all)
    }

    /// Where the worker of a call was lost, with what it had not done by then.
    pub(super) fn loss_after(&self, place: usize) -> usize {
        let lost = self.workers.iter().filter_map(|worker| worker.lost);
        lost.filter(|lost| *lost > place).min().unwrap_or(usize::MAX)
    }

    /// A place in the ledger at which there certainly was no event of this number: the last that is known.
    pub(super) fn place_before(&self, event: u64) -> usize {
        let before = self
            .workers
            .iter()
            .flat_map(|worker| &worker.looks)
            .filter(|(_, moment)| moment.events < event);
        before.map(|(place, _)| *place).max().unwrap_or(0)
    }

    /// The first moment at which something had been so for a while in which nothing delayed the worker. Where its wall clock had
    /// jumped, for a longer one.
    pub(super) fn lasting(
        &self,
        [long, after_jump]: [Duration; 2],
        is_so: impl Fn(usize, &Moment) -> bool,
    ) -> Option<Moment> {
        self.workers.iter().find_map(|Worker { looks, .. }| {
            let mut began: Option<Moment> = None;
            let mut last: Option<Moment> = None;
            let mut has_jumped = false;
            let late = looks.iter().find(|(place, moment)| {
                has_jumped |= last.is_some_and(|last| jumps(&last, moment));
                let goes_on = last.is_some_and(|last| follows(&last, moment));
                let begun = began.filter(|_| goes_on).unwrap_or(*moment);
                (last, began) = (Some(*moment), is_so(*place, moment).then_some(begun));
                let lasted = began.map_or(Duration::ZERO, |began| moment.up - began.up);
                lasted >= if has_jumped { after_jump } else { long }
            });
            late.map(|(_, moment)| *moment)
        })
    }
}

/// Whether nothing came between two looks.
fn follows(last: &Moment, next: &Moment) -> bool {
    last.troubles == next.troubles && next.up - last.up < NEXT_LOOK
}

/// Whether the wall clock jumped between two looks.
fn jumps(last: &Moment, next: &Moment) -> bool {
    let passed = (next.wall - last.wall).num_milliseconds();
    let up = i64::try_from((next.up - last.up).as_millis()).unwrap_or(i64::MAX);
    passed.abs_diff(up) > 1
}
