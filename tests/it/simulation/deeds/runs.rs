//! Verbs for who knows a session by a run that it has seen, which may be over.

use sessionkeeper::{EventQuery, FindError, RunState, SessionError, Status, store::Order};

use super::{Caller, Deed, not_done, nothing};
use crate::oracle::{
    digest,
    ledger::{Answer, Ran, Verb},
};

impl<const V: u32> Caller<V> {
    /// Remembers the present run of a session.
    pub(super) fn see_run(&self, status: &Status) {
        let Some(run) = status.run() else { return };
        let mut shared = self.shared.lock().unwrap();
        if !shared.runs.iter().any(|(known, _)| *known == run) {
            shared.runs.push((run, status.record().id));
        }
    }

    /// Stops a session by a run, or looks at one.
    pub(super) async fn ask_run(&mut self, deed: Deed) {
        let runs = self.shared.lock().unwrap().runs.clone();
        if runs.is_empty() {
            return;
        }
        // The present ones are among the newest.
        let few = runs.len().saturating_sub(4);
        let from = if self.dice.bool() { few } else { 0 };
        let (run, session) = runs[self.dice.usize(from..runs.len())];
        let ask = |verb| self.book.ask(Some(session), verb);
        let (call, answer) = match deed {
            Deed::StopRun => {
                let call = ask(Verb::StopRun(run));
                (call, self.supervisor.stop_run(run).await.map(|_| Answer::Done))
            }
            Deed::LookRun => {
                let call = ask(Verb::LookRun(run));
                let found = self.supervisor.run(run).await;
                let answer = found.map(|found| {
                    if (found.run, found.session.id()) != (run, session) {
                        self.wrong(format!("run {run} of {session} is found as {found:?}"));
                    }
                    let now = match found.state {
                        RunState::Current => Ran::Current,
                        RunState::Ending => Ran::Ending,
                        RunState::Ended(how) => Ran::Ended(how),
                        _ => unreachable!("a run is present, on its way out or over"),
                    };
                    Answer::Run { began: found.began, now }
                });
                (call, answer)
            }
            _ => {
                let call = ask(Verb::ReadRun(run));
                let query = EventQuery {
                    from: 1,
                    order: Order::OldestFirst,
                    limit: self.dice.usize(1..30),
                    ..EventQuery::default()
                };
                let page = self.supervisor.run_events(run, query).await;
                let answer = page.map(|page| match page.gap {
                    Some(gap) if !self.keeps_all_events => Answer::NotDone(format!("{gap:?}")),
                    Some(_) | None => {
                        let events = page.events.iter();
                        Answer::Events(events.map(|e| (e.sequence, digest(e))).collect())
                    }
                });
                (call, answer)
            }
        };
        let answer = answer.unwrap_or_else(|error| match error {
            // It may be gone with the older events of its session.
            FindError::NoSuchRun { .. } if !self.keeps_all_events => nothing(&error),
            FindError::NoSuchRun { .. } => Answer::NotFound(session),
            FindError::Session(SessionError::NotCurrentRun { current, .. }) => {
                Answer::NotCurrent(current)
            }
            FindError::Session(error) => not_done(&error),
            FindError::Store(_) => nothing(&error),
            _ => {
                self.wrong(format!("a verb by its run was refused: {error}"));
                nothing(&error)
            }
        });
        self.book.answer(call, answer);
    }
}
