//! G6: the wall clock labels and decides nothing: it may jump by a day or by ten years, forward
//! and back, in a run and between two.

use chrono::{TimeDelta, TimeZone, Utc};
use sessionkeeper::{
    Backoff, Builder, Labels, Limit, Name, Policy, RestartPolicy, SessionId, State,
    store::{Key, Query},
    testing::WallClock,
};

use super::kit::{log, millis, secs};
use crate::support::{Do, Worker, drained};

const DAY: TimeDelta = TimeDelta::days(1);
const DECADE: TimeDelta = TimeDelta::days(3652);
const JUMPS: [TimeDelta; 4] = [DAY, TimeDelta::days(-1), DECADE, TimeDelta::days(-3652)];

fn clock() -> WallClock {
    WallClock::starting_at(Utc.with_ymd_and_hms(2026, 3, 29, 1, 30, 0).unwrap())
}

/// Everything ends after a minute, and a restart waits for one.
fn minute(builder: Builder) -> Builder {
    let restart = RestartPolicy {
        backoff: Backoff { initial: secs(60), max: secs(60), jitter: 0.0, ..Backoff::default() },
        ..RestartPolicy::default()
    };
    let policy = Policy::builder()
        .heartbeat_timeout(secs(60))
        .paused_timeout(secs(60))
        .pending_timeout(secs(60))
        .idle_timeout(Limit::Never)
        .restart(restart);
    builder.policy(policy.build().unwrap()).max_active(4)
}

/// Whether the jump comes while a worker runs, or between two.
#[derive(Debug, Clone, Copy)]
enum When {
    Running,
    BetweenTwo,
}

/// One session of each kind: what waits for what.
struct Waiting {
    beating: SessionId,
    silent: SessionId,
    busy: SessionId,
    failed: SessionId,
    paused: SessionId,
    pending: SessionId,
}

impl Waiting {
    async fn start(worker: &Worker) -> Self {
        let hour = secs(3600);
        let of = async |input| worker.session_with(|start| start.input(input)).await.id();
        let paused = worker.session().await;
        paused.pause().await.unwrap();
        let waiting = Self {
            beating: of(Do::Beat { every: secs(10), times: 1000 }).await,
            silent: of(Do::Silent(hour)).await,
            busy: of(Do::Busy { limit: hour, takes: hour / 2 }).await,
            failed: of(Do::FailTimes(1)).await,
            paused: paused.id(),
            pending: of(Do::Add(1)).await,
        };
        tokio::time::sleep(millis(10)).await;
        waiting
    }

    /// How all of them stand, in the order of the fields.
    async fn states(&self, worker: &Worker) -> [State; 6] {
        let all = [self.beating, self.silent, self.busy, self.failed, self.paused, self.pending];
        let mut states = [State::Pending; 6];
        for (state, session) in states.iter_mut().zip(all) {
            let status = worker.supervisor.status(session).await.unwrap();
            let active = status.record().runs.active_ms;
            assert!(active < 1000 * 3600, "{session} was active for {active} ms");
            *state = status.state();
        }
        states
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_clock_that_jumps_ends_nothing_early_and_nothing_late() {
    use State::{Active, Expired, Paused, Pending};
    for jump in JUMPS {
        for when in [When::Running, When::BetweenTwo] {
            let context = format!("{jump} while {when:?}");
            let clock = clock();
            let set = |builder: Builder| minute(builder).wall_clock(clock.clone());
            let mut worker = Worker::start_with(set).await;
            let waiting = Waiting::start(&worker).await;
            let before = [Active, Active, Active, Active, Paused, Pending];
            assert_eq!(waiting.states(&worker).await, before, "{context}, before");
            tokio::time::sleep(secs(40)).await;
            match when {
                When::Running => clock.jump(jump),
                When::BetweenTwo => {
                    // A commit brings the supervised time along; a crash may lose some of it.
                    let session = worker.supervisor.session(waiting.pending).await.unwrap();
                    session.set_labels(Labels::default()).await.unwrap();
                    clock.jump(jump);
                    worker = worker.crash_and_restart_with(set).await;
                }
            }
            tokio::time::sleep(secs(10)).await;
            assert_eq!(waiting.states(&worker).await, before, "{context}, after 50 s");
            let runs = worker.supervisor.status(waiting.failed).await.unwrap();
            let runs = runs.record().runs.count;
            assert_eq!(runs, 1, "{context}: its backoff is not over");
            tokio::time::sleep(secs(15)).await;
            let states = waiting.states(&worker).await;
            let ended = [states[0], states[2], states[3], states[4], states[5]];
            assert_eq!(ended, [Active, Active, Active, Expired, Expired], "{context}, after 65 s");
            let runs = worker.supervisor.status(waiting.failed).await.unwrap();
            assert_eq!(runs.record().runs.count, 2, "{context}: its backoff is over");
            // A new run has a new minute.
            let left = match when {
                When::Running => secs(0),
                When::BetweenTwo => secs(46),
            };
            tokio::time::sleep(left).await;
            assert_eq!(waiting.states(&worker).await[1], Expired, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_clock_that_jumps_back_breaks_no_report_and_no_log() {
    for jump in JUMPS {
        let clock = clock();
        let set = |builder: Builder| builder.wall_clock(clock.clone());
        let worker = Worker::start_with(set).await;
        let session = worker.session_with(|start| start.input(Do::Add(1))).await;
        for step in 0..6 {
            clock.jump(jump * if step % 2 == 0 { 1 } else { -2 });
            session.send(Do::Emit(2)).await.unwrap();
            session.send(Do::Add(1)).await.unwrap();
            tokio::time::sleep(secs(1)).await;
            session.pause().await.unwrap();
            session.resume().await.unwrap();
        }
        assert_eq!(drained(&session).await.sum, 7, "{jump}");
        let record = session.status().await.unwrap().record().as_ref().clone();
        // Six runs of a second each, and some milliseconds.
        assert!((6000..10_000).contains(&record.runs.active_ms), "{jump}: {:?}", record.runs);
        let events = log(&session).await;
        let numbers = events.iter().map(|event| event.sequence);
        assert!(numbers.eq(1..=record.last_event), "{jump}");
        let report = worker.supervisor.shutdown(secs(20)).await;
        assert!(report.took < secs(20), "{jump}: {report}");
        assert_eq!(report.lines.len(), 1, "{jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_clock_that_jumps_leaves_listings_and_keys_whole() {
    for jump in JUMPS {
        let clock = clock();
        let set = |builder: Builder| builder.wall_clock(clock.clone());
        let mut worker = Worker::start_with(set).await;
        let mut started = Vec::new();
        for number in 0..30 {
            match number % 10 {
                3 => clock.jump(jump),
                6 => clock.jump(-jump),
                9 => {
                    worker = worker.crash_and_restart_with(set).await;
                    clock.jump(jump);
                }
                _ => {}
            }
            let name = Name::new(format!("n-{number}")).unwrap();
            let labels = Labels::new([("of", "all")]).unwrap();
            started.push(worker.session_with(|start| start.name(name).labels(labels)).await.id());
        }
        let mut listed = Vec::new();
        let labels = vec![("of".to_owned(), "all".to_owned())];
        let mut query = Query { labels, limit: 4, ..Query::default() };
        loop {
            let page = worker.supervisor.list(query.clone()).await.unwrap();
            listed.extend(page.records.into_iter().map(|record| (record.created_at, record.id)));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let newest_first = listed.is_sorted_by(|one, next| one > next);
        assert!(newest_first, "{jump}: each once, in the order of its time of creation");
        let mut ids: Vec<_> = listed.into_iter().map(|(_, id)| id).collect();
        ids.sort();
        started.sort();
        assert_eq!(ids, started, "{jump}: all of them");
        for number in 0..30 {
            let key = Name::new(format!("n-{number}")).unwrap();
            let found = worker.supervisor.find(Key::Name(key)).await;
            assert!(found.unwrap().is_some(), "{jump}: session {number}");
        }
    }
}
