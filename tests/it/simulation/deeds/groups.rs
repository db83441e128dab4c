//! Verbs for all sessions that match: each line of a report is entered, and judged, as the answer of the verb for one.

use std::collections::{BTreeMap, BTreeSet};

use sessionkeeper::{
    GroupReport, SessionId, State,
    store::{Query, Store, StoreError},
};

use super::{Caller, not_done, statistics::LABEL};
use crate::oracle::ledger::{Answer, Verb};

/// All sessions at some moment: in which version, and whether they match.
type Matching = BTreeMap<SessionId, (u64, bool)>;

impl<const V: u32> Caller<V> {
    /// Asks all sessions that carry a label, or all that there are.
    pub(super) async fn for_group(&mut self, verb: Verb) {
        let label = (LABEL.to_owned(), format!("{}", self.dice.u8(0..4)));
        let all = verb != Verb::Stop && self.dice.bool();
        let labels = if all { Vec::new() } else { vec![label] };
        let Some(before) = self.matching(&labels, states(&verb)).await else { return };
        let asked = self.book.ask_each(before.keys().copied(), &verb);
        let query = Query { labels: labels.clone(), ..Query::default() };
        let answers = match verb {
            Verb::Pause => lines(self.supervisor.pause_all(query).await),
            Verb::Resume => lines(self.supervisor.resume_all(query).await),
            _ => lines(self.supervisor.stop_all(query).await),
        };
        if let (Ok(answers), Some(after)) = (&answers, self.matching(&labels, states(&verb)).await)
        {
            let named: BTreeSet<SessionId> = answers.iter().map(|(id, _)| *id).collect();
            let misnamed = misnamed(&before, &after, &named);
            if named.len() != answers.len() || !misnamed.is_empty() {
                self.wrong(format!("{verb:?} of all with {labels:?}: {answers:?}, {misnamed:?}"));
            }
        }
        let left_out = match &answers {
            Ok(_) => "it was not among them",
            Err(_) => "the store failed",
        };
        self.book.answer_each(asked, &verb, answers.unwrap_or_default(), left_out);
    }

    /// All sessions, and whether they carry these labels and are in such a state; none where the store fails.
    pub(super) async fn matching(
        &self,
        labels: &[(String, String)],
        states: &[State],
    ) -> Option<Matching> {
        let query = Query { limit: 1000, ..Query::default() };
        let page = self.store.list(query).await.ok()?;
        let all = page.records.iter().map(|record| {
            let carries = labels.iter().all(|(key, value)| record.labels.get(key) == Some(value));
            (record.id, (record.version, carries && states.contains(&record.state())))
        });
        Some(all.collect())
    }
}

/// In which states a verb is for a session, where nobody says so.
const fn states(verb: &Verb) -> &'static [State] {
    match verb {
        Verb::Pause => &[State::Pending, State::Active, State::Paused],
        Verb::Resume => &[State::Paused],
        _ => &[State::Pending, State::Active, State::Paused, State::Stopping],
    }
}

/// Who is named and does not match, or is not and does; as far as they were the same all the time.
pub(super) fn misnamed(
    before: &Matching,
    after: &Matching,
    named: &BTreeSet<SessionId>,
) -> Vec<SessionId> {
    let same = before.iter().filter(|(id, was)| after.get(id) == Some(was));
    same.filter(|(id, (_, matches))| named.contains(id) != *matches).map(|(id, _)| *id).collect()
}

/// The answers of a group.
fn lines<T>(
    report: Result<GroupReport<T>, StoreError>,
) -> Result<Vec<(SessionId, Answer)>, StoreError> {
    let lines = report?.lines.into_iter().map(|(session, answer)| match answer {
        Ok(_) => (session, Answer::Done),
        Err(error) => (session, not_done(&error)),
    });
    Ok(lines.collect())
}

/// The report of a group that is not so is a finding; what changed meanwhile may be in it or not.
#[test]
fn a_report_that_names_others_than_those_that_match_is_noticed() {
    let id = |number| SessionId::from_uuid(uuid::Uuid::from_u128(number));
    let before = BTreeMap::from([(id(1), (1, true)), (id(2), (1, false)), (id(3), (1, true))]);
    let after = BTreeMap::from([(id(1), (1, true)), (id(2), (1, false)), (id(3), (2, true))]);
    for (named, expected) in
        [(vec![1], vec![]), (vec![1, 3], vec![]), (vec![], vec![id(1)]), (vec![1, 2], vec![id(2)])]
    {
        let named: BTreeSet<SessionId> = named.into_iter().map(id).collect();
        assert_eq!(misnamed(&before, &after, &named), expected, "{named:?}");
    }
}
