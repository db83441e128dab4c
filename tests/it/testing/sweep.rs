//! The crash at every commit of a scenario.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::{
    Builder, Context, Outcome, Start, Workload, WorkloadError,
    store::BoxError,
    testing::{CrashPoint, CrashSweep, Do, Harness, Place, Scripted, crash_at_every_commit},
};

use super::{harness::Folder, said};

/// Adds its inputs, and does something wrong about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Nothing.
    Nothing,
    /// The state with the effect is saved while the input is still in hand.
    SavesBeforeTheEnd,
}

struct Adder(Wrong);

impl Workload for Adder {
    const KIND: &'static str = "adder";
    const STATE_VERSION: u32 = 1;
    type State = u64;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            *cx.state_mut() += *number;
            if self.0 == Wrong::SavesBeforeTheEnd {
                cx.save_progress().await?;
            }
        }
        Ok(Outcome::Yielded)
    }
}

/// Adds 1, 2, 4 and so on, each under its own id.
async fn add_all(harness: &mut Harness, told: &mut u64) -> Result<(), BoxError> {
    let start = Start::<Adder>::new(0).key("sum".parse()?);
    let session = harness.supervisor().start(start).await?.into_handle();
    for power in 0..4 {
        session.send_with_id(format!("{power}").parse()?, 1 << power).await?;
        *told += 1 << power;
    }
    let sum = harness.drained(&session).await;
    assert_eq!(sum, 15, "after {told} were acknowledged");
    Ok(())
}

fn sweep(wrong: Wrong) -> u64 {
    crash_at_every_commit(
        move |builder| builder.workload(Adder(wrong)),
        add_all,
        async |harness, _| add_all(harness, &mut 0).await,
    )
}

#[test]
fn a_workload_that_is_right_passes() {
    assert!(sweep(Wrong::Nothing) > 5);
}

#[test]
fn a_workload_that_applies_an_input_twice_is_found_with_the_crash_that_shows_it() {
    let found = catch_unwind(|| sweep(Wrong::SavesBeforeTheEnd)).unwrap_err();
    let found = said(&*found);
    assert!(found.starts_with("with a crash at AfterCommit("), "{found}");
    assert!(found.contains("after 15 were acknowledged"), "{found}");

    // That crash alone shows it too, and the one before it does not.
    let number: u64 = found.split(['(', ')']).nth(1).unwrap().parse().unwrap();
    let only = |point| {
        catch_unwind(AssertUnwindSafe(|| {
            CrashSweep::new().only(point).run(
                |builder: Builder| builder.workload(Adder(Wrong::SavesBeforeTheEnd)),
                add_all,
                async |harness, _| add_all(harness, &mut 0).await,
            )
        }))
    };
    only(CrashPoint::AfterCommit(number)).unwrap_err();
    only(CrashPoint::BeforeCommit(number)).unwrap();
    let said = said(&*only(CrashPoint::AfterCommit(999)).unwrap_err());
    assert!(said.contains("commits only"), "{said}");
}

#[test]
fn each_commit_is_crashed_at_before_and_after_and_the_witness_outlives_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let commits = crash_at_every_commit(
        |builder| builder.workload(Scripted::default()),
        async |harness: &mut Harness, told: &mut u64| {
            let session = harness.supervisor().start(Scripted::start()).await?.into_handle();
            for _ in 0..3 {
                *told = session.send(Do::Add(1)).await?.sequence;
            }
            Ok(())
        },
        async move |harness, told| {
            let page = harness.supervisor().list(Default::default()).await?;
            let accepted = page.records.first().map(|record| record.inbox.accepted);
            assert!(accepted.unwrap_or(0) >= *told);
            sees.lock().unwrap().push((*told, accepted));
            Ok(())
        },
    );
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len() as u64, 2 * commits + 1, "twice each, and once without a crash");
    assert_eq!(seen[0], (0, None), "before the first: there is no session");
    assert_eq!(seen[1], (0, Some(0)), "after the first: nobody heard of it");
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&(3, Some(3))));
}

#[test]
fn the_commits_of_a_recovery_are_crashed_at_too() {
    let scenario = async |harness: &mut Harness, reopened: &mut u64| {
        let start = Scripted::start().key("one".parse()?).input(Do::Add(1));
        let session = harness.supervisor().start(start).await?.into_handle();
        harness.drained(&session).await;
        let before = harness.commits();
        harness.shutdown_and_reopen().await;
        *reopened = harness.commits() - before;
        Ok(())
    };
    let commits = crash_at_every_commit(
        |builder| builder.workload(Scripted::default()),
        scenario,
        async |harness, reopened| {
            let start = Scripted::start().key("one".parse()?).input(Do::Add(1));
            let session = harness.supervisor().start(start).await?.into_handle();
            assert_eq!(harness.drained(&session).await.seen, [1]);
            assert!(matches!(reopened, 0 | 2..), "a shutdown and a recovery have commits");
            Ok(())
        },
    );
    assert!(commits >= 4, "{commits}");
}

#[test]
fn tasks_of_the_callers_die_with_their_worker() {
    let living = Arc::new(());
    let lives = Arc::clone(&living);
    crash_at_every_commit(
        |builder| builder.workload(Scripted::default()),
        async move |harness: &mut Harness, _: &mut ()| {
            let life = Arc::clone(&lives);
            tokio::spawn(async move {
                let _life = life;
                std::future::pending::<()>().await;
            });
            harness.supervisor().start(Scripted::start()).await?;
            Ok(())
        },
        async |_, ()| {
            assert_eq!(Arc::strong_count(&living), 2, "a caller has outlived the crash");
            Ok(())
        },
    );
}

#[test]
fn a_scenario_or_check_that_fails_or_hangs_is_told_with_its_crash() {
    let failing = |scenario: bool, hangs: bool| {
        let ran = catch_unwind(|| {
            crash_at_every_commit(
                |builder| builder.workload(Scripted::default()),
                async |harness: &mut Harness, _: &mut ()| {
                    harness.supervisor().start(Scripted::start()).await?;
                    match (scenario, hangs) {
                        (true, true) => std::future::pending().await,
                        (true, false) => Err("no luck".into()),
                        (false, _) => Ok(()),
                    }
                },
                async |_, ()| match (scenario, hangs) {
                    (false, true) => std::future::pending().await,
                    (false, false) => Err("no luck".into()),
                    (true, _) => Ok(()),
                },
            )
        });
        said(&*ran.unwrap_err())
    };
    let table = [
        (true, false, "the scenario failed: no luck"),
        (true, true, "the scenario comes to an end"),
        (false, false, "the check failed: no luck"),
        (false, true, "the check comes to an end"),
    ];
    for (scenario, hangs, text) in table {
        let said = failing(scenario, hangs);
        assert!(said.starts_with("with a crash at "), "{said}");
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_sweep_goes_over_a_store_on_disk() {
    let commits = CrashSweep::new().at(<Folder as Place>::new).run(
        |builder| builder.workload(Scripted::default()).resume_jitter(Duration::ZERO),
        async |harness, told: &mut i64| {
            let start = Scripted::start().key("one".parse()?);
            let session = harness.supervisor().start(start).await?.into_handle();
            session.send(Do::Add(1)).await?;
            *told = 1;
            Ok(())
        },
        async |harness, told| {
            let start = Scripted::start().key("one".parse()?);
            let session = harness.supervisor().start(start).await?.into_handle();
            let sum = harness.drained(&session).await.sum;
            assert!((*told..=1).contains(&sum), "{told} was acknowledged, and the sum is {sum}");
            Ok(())
        },
    );
    assert!(commits >= 2, "{commits}");
}
