//! The end of a session, however it comes.

use sessionkeeper::{Delete, Outcome, Policy, Rollover, Start, Usage, WorkloadError};

use super::*;
use crate::guarantees::kit::{Custom, start_on};

/// What its run records while it is closed comes before the end of the session is told, and after that comes what follows the run.
#[tokio::test(start_paused = true)]
async fn the_end_is_told_once_the_run_is_closed_however_it_came() {
    for way in
        ["complete", "fail", "stop", "delete", "silence", "rollover", "completed", "failed", "late"]
    {
        let workload = Custom::new(|cx| {
            Box::pin(async move {
                match cx.next_input().await?.map(|number| *number) {
                    Some(0) => Ok(Outcome::Completed),
                    Some(1) => Err(WorkloadError::permanent("it was told to")),
                    Some(_) => std::future::pending().await,
                    None => Ok(Outcome::Yielded),
                }
            })
        });
        let workload = workload.closing(|run, _| {
            Box::pin(async move {
                tokio::time::sleep(SECOND / 2).await;
                run.record_usage(Usage::tokens(1, 0));
            })
        });
        let hooks = Memory::new();
        let worker =
            start_on(MemoryStore::new(), workload, |builder| builder.hooks(hooks.clone())).await;
        let policy = Policy::builder().heartbeat_timeout(MINUTE).build().unwrap();
        let start = Start::<Custom>::new(Vec::new()).policy(policy);
        let session = worker.start(start).await.unwrap().into_handle();
        tokio::time::sleep(SECOND).await;
        match way {
            "complete" => session.complete().await.unwrap(),
            "fail" => session.fail("it was told to").await.unwrap(),
            "stop" => drop(session.stop().await.unwrap()),
            "delete" => session.delete(Delete::StopFirst).await.unwrap(),
            "rollover" => drop(session.rollover(Rollover::new(Vec::new())).await.unwrap()),
            "silence" => drop(session.send(2).await.unwrap()),
            "completed" => drop(session.send(0).await.unwrap()),
            "failed" => drop(session.send(1).await.unwrap()),
            // It is cancelled only when its grace is over, as it hears of nothing.
            _ => {
                session.send(2).await.unwrap();
                tokio::time::sleep(SECOND).await;
                session.complete().await.unwrap();
            }
        }
        tokio::time::sleep(MINUTE * 2).await;
        caught_up(&worker).await;
        let calls = hooks.done();
        let of_session = calls.iter().filter(|call| call.session == session.id());
        let order: Vec<Hook> = of_session.clone().map(|call| call.hook).collect();
        let ends = [Hook::StateChanged, Hook::SessionEnd, Hook::AfterRun];
        assert!(order.ends_with(&ends) || way == "stop" || way == "delete", "{way}: {order:?}");
        let end = of_session.clone().find(|call| call.hook == Hook::SessionEnd).expect(way);
        let record = end.record.as_ref().expect(way);
        assert_eq!(record.usage.input_tokens(), 1, "{way}");
        assert_eq!(record.runs.since, None, "{way}");
        worker.shutdown(BUDGET).await;
    }
}
