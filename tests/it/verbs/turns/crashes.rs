//! A worker is lost at each of its commits, while inputs overtake one another and turns are cut short.

use sessionkeeper::{
    InputId, Interruption, OnInterrupt, Start,
    store::BoxError,
    testing::{Harness, crash_at_every_commit},
};

use super::{Diarist, Tell};
use crate::verbs::SECOND;

/// What callers were told.
#[derive(Default)]
struct Told {
    accepted: u64,
    dropped: Vec<u64>,
}

/// Sends and interrupts, each input under an id of its own: again and again the same.
async fn play(harness: &mut Harness, told: &mut Told) -> Result<(), BoxError> {
    let start = Start::<Diarist>::new(Vec::new()).key("one".parse()?);
    let session = harness.supervisor().start(start).await?.into_handle();
    let ordinary = [Tell::Ask, Tell::Note, Tell::Busy(SECOND), Tell::Deaf(SECOND), Tell::Note];
    for (number, input) in ordinary.into_iter().enumerate() {
        let sent = session.send_with_id(InputId::new(format!("o{number}"))?, input).await?;
        told.accepted = told.accepted.max(sent.sequence);
    }
    for (number, input) in [Tell::Note, Tell::Answer, Tell::Answer].into_iter().enumerate() {
        let sent = session.send_urgent_with_id(InputId::new(format!("u{number}"))?, input).await?;
        told.accepted = told.accepted.max(sent.sequence);
        tokio::time::sleep(SECOND / 4).await;
    }
    for then in [OnInterrupt::Redeliver, OnInterrupt::Drop] {
        if let Interruption::Turn { input, then, .. } = session.interrupt(then).await?
            && then == OnInterrupt::Drop
        {
            told.dropped.push(input);
        }
        tokio::time::sleep(SECOND / 4).await;
    }
    Ok(())
}

#[test]
fn g4_a_crash_at_any_commit_neither_loses_nor_repeats_what_overtakes() {
    let commits = crash_at_every_commit(
        |builder| builder.workload(Diarist::default()),
        play,
        async |harness: &mut Harness, before: &Told| {
            let mut told = Told::default();
            play(harness, &mut told).await?;
            let page = harness.supervisor().list(Default::default()).await?;
            let session = harness.supervisor().session(page.records[0].id).await?;
            let session = session.typed::<Diarist>()?;
            let diary = harness.drained(&session).await;
            tokio::time::sleep(2 * SECOND).await;
            assert_eq!(told.accepted, 8);
            let number = |entry: &str| {
                entry.trim_start_matches("took ").split('@').next().and_then(|it| it.parse().ok())
            };
            let begun: Vec<u64> = diary.iter().filter_map(|entry| number(entry)).collect();
            for input in 1..=told.accepted {
                let times = begun.iter().filter(|seen| **seen == input).count();
                // One that was interrupted is in the diary again, as its workload left it.
                let most = if [1, 3, 4].contains(&input) { 3 } else { 1 };
                let dropped = told.dropped.contains(&input) || before.dropped.contains(&input);
                let least = usize::from(!dropped);
                assert!((least..=most).contains(&times), "{input}: {diary:?}");
            }
            // Whatever was dropped before the crash was in hand then, and is not given out again.
            for input in &before.dropped {
                let again = diary.iter().filter(|entry| number(entry) == Some(*input)).count();
                assert!(again <= 2, "{input} was dropped: {diary:?}");
            }
            Ok(())
        },
    );
    assert!(commits > 12, "{commits} commits only");
}
