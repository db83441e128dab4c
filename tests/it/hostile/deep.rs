//! JSON that is nested deeper than the decoder goes.

use serde_json::{Value, json};
use sessionkeeper::{
    Context, EmitError, Event, Outcome, SendError, SessionError, Start, StartError, Supervisor,
    Workload, WorkloadError,
    store::{Durability, SledStore},
};

use super::much::worked_off;
use crate::guarantees::kit::{log, restarting, run_ends, secs, tireless};

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

/// Keeps JSON of any shape.
struct Keeps;

impl Workload for Keeps {
    const KIND: &'static str = "keeps";
    const STATE_VERSION: u32 = 1;
    type State = Value;
    /// How deep the state is to be.
    type Input = usize;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(depth) = cx.next_input().await? {
            let event = Event::custom("deep", nested(*depth));
            let emitted = cx.emit(event).await;
            *cx.state_mut() = nested(*depth);
            if *depth > 100 {
                assert!(matches!(emitted, Err(EmitError::TooDeep { .. })));
            }
        }
        Ok(Outcome::Yielded)
    }
}

/// JSON as deep as can be encoded and no deeper than can be read again, on a store that encodes.
#[tokio::test]
async fn nothing_is_accepted_that_is_too_deep_to_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = || SledStore::options(folder.path().join("store"));
    let open = || options().durability(Durability::Flushed).open();
    let mut restart = tireless();
    restart.max_restarts = 1;
    let policy = restarting(restart);
    let build = |store| Supervisor::builder(store).workload(Keeps).policy(policy.clone()).start();
    let supervisor = build(open().unwrap()).await.unwrap();
    let session = supervisor.start(Start::<Keeps>::new(nested(50))).await.unwrap().into_handle();
    session.send(95).await.unwrap();
    worked_off(&session).await;
    session.send(120).await.unwrap();
    session.settled().await.unwrap();
    let last = run_ends(&session).await.pop().unwrap().to_string();
    assert!(last.contains("cannot be encoded") && last.contains("more than 100 deep"), "{last}");

    let metadata = |depth| json!({ "deep": nested(depth) }).as_object().unwrap().clone();
    session.set_metadata(metadata(95)).await.unwrap();
    for depth in [120, 1000] {
        let error = session.set_metadata(metadata(depth)).await.unwrap_err();
        assert!(matches!(error, SessionError::MetadataTooDeep { .. }), "{error}");
        let error = session.send_json(&nested(depth)).await.unwrap_err();
        assert!(matches!(error, SendError::Invalid { .. }), "{error}");
        let start = Start::<Keeps>::new(json!(1)).metadata(metadata(depth));
        let error = supervisor.start(start).await.unwrap_err();
        assert!(matches!(error, StartError::Session(_)), "{error}");
        let error = supervisor.start(Start::<Keeps>::new(nested(depth))).await.unwrap_err();
        assert!(matches!(error, StartError::Invalid { .. }), "{error}");
    }
    let (id, events) = (session.id(), log(&session).await.len());
    supervisor.shutdown(secs(5)).await;
    drop((session, supervisor));

    let supervisor = build(open().unwrap()).await.unwrap();
    assert!(supervisor.recovered().await.unwrap().damaged.is_empty());
    let session = supervisor.session(id).await.unwrap().typed::<Keeps>().unwrap();
    assert_eq!(session.snapshot().await.unwrap().state, nested(95));
    assert_eq!(session.status().await.unwrap().record().metadata, metadata(95));
    assert_eq!(log(&session).await.len(), events);
}
