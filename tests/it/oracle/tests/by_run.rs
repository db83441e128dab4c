//! Stories of answers about runs that are not true.

use sessionkeeper::RunId;

use super::*;

/// The runs of a session, the first one first, each with its events.
fn runs(found: &Found, id: SessionId) -> Vec<(RunId, Vec<&EventRecord>)> {
    let mut runs: Vec<(RunId, Vec<&EventRecord>)> = Vec::new();
    for event in &found[&id].log {
        let Some(run) = event.run else { continue };
        match runs.iter_mut().find(|(of, _)| *of == run) {
            Some((_, events)) => events.push(event),
            None => runs.push((run, vec![event])),
        }
    }
    runs
}

fn ended(events: &[&EventRecord]) -> RunEnd {
    let end = events.iter().find_map(|event| match &event.fact {
        Fact::Lifecycle(Lifecycle::RunEnded { how }) => Some(how.clone()),
        _ => None,
    });
    end.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_so_of_a_run_is_found() {
    let (store, ledger, id) = life().await;
    let found = find(&store).await.unwrap();
    let runs = runs(&found, id);
    let [(first, events), (second, others)] = &runs[..] else { panic!("{runs:?}") };
    let (began, how) = (events[0].sequence, ended(events));
    let told = |events: &[&EventRecord]| {
        Answer::Events(events.iter().map(|event| (event.sequence, digest(event))).collect())
    };
    let wrong_end = RunEnd::Abandoned;
    let ran = |began, now| Answer::Run { began, now };
    let (stop, look, read) = (Verb::StopRun(*first), Verb::LookRun(*first), Verb::ReadRun(*first));
    for (verb, answer, expected) in [
        (&stop, Answer::NotCurrent(None), ""),
        (&look, ran(began, Ran::Ended(how)), ""),
        (&read, told(&events[..3]), ""),
        (&stop, Answer::Done, "it was not the present run"),
        (&stop, Answer::NotCurrent(Some(*first)), "the present run was None"),
        (&stop, Answer::NotCurrent(Some(*second)), "the present run was None"),
        (&look, ran(began + 1, Ran::Ended(ended(events))), "it began with"),
        (&look, ran(began, Ran::Ended(wrong_end)), "it ended as"),
        (&look, ran(began, Ran::Current), "it ended as"),
        (&look, ran(began, Ran::Ending), "it ended as"),
        (&read, told(others), "its events are"),
        (&read, told(&events[1..]), "its events are"),
        (&read, told(events), "its events are"),
    ] {
        let mut ledger = ledger.clone();
        ledger.0.push(Entry::Asked { call: 1000, session: Some(id), verb: verb.clone() });
        ledger.0.push(Entry::Answered { call: 1000, answer: answer.clone() });
        let wrong = compare(&found, &ledger);
        let is_found = wrong.iter().any(|wrong| wrong.contains(expected));
        assert_eq!(is_found, !expected.is_empty(), "{verb:?}, {answer:?}: {wrong:#?}");
    }
}
