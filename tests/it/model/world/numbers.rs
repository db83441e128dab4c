//! Sessions in numbers: how many there are, and what happened to them.

use std::time::Duration;

use sessionkeeper::{EventType, Kind, Scope, State, Statistics, Window, Workload};

use super::{World, same};
use crate::model::{
    player::Player,
    reference::{Numbers, Reference, Span},
};

/// How much later than in the model something may happen.
const LATE: u64 = 20;

impl World {
    /// Of all sessions of the life, and of those with a label.
    pub(super) async fn compare_numbers(&self, model: &Reference) -> Result<(), String> {
        for team in [None, Some(0), Some(1), Some(2)] {
            let scope = match team {
                None => Scope::Kind(Kind::new(Player::KIND).unwrap()),
                Some(team) => Scope::label("team", team.to_string()),
            };
            let counts = self.supervisor().counts(scope.clone()).await.unwrap();
            for state in State::ALL {
                let what = format!("how many sessions of team {team:?} are {state}");
                same(&what, counts.of(state), model.count(state, team))?;
            }
            for span in [Span::SinceTheBeginning, Span::Minutes(1), Span::Minutes(61)] {
                let Some(should) = model.numbers(team, span) else { continue };
                let window = match span {
                    Span::SinceTheBeginning => Window::SinceTheBeginning,
                    Span::Minutes(minutes) => Window::Last(Duration::from_secs(60 * minutes)),
                };
                let is = self.supervisor().statistics(scope.clone(), window).await.unwrap();
                same("what is counted by state", is.states, counts)?;
                same("how many events are not counted yet", is.behind, 0)?;
                let what = format!("what happened to team {team:?} in {span:?}");
                same(&what, numbers(&is, &should), should)?;
            }
        }
        Ok(())
    }
}

/// What was counted. How long something took is known roughly.
fn numbers(counted: &Statistics, should: &Numbers) -> Numbers {
    let took = |at: usize| {
        let took = [counted.completed(), counted.failed()][at];
        let (sum, (count, about)) = (took.sum().as_millis(), should.took[at]);
        let sum = u64::try_from(sum).unwrap();
        (took.count(), if sum.abs_diff(about) <= LATE * count { about } else { sum })
    };
    let usage = counted.usage();
    assert_eq!(usage.input_tokens(), usage.output_tokens(), "as much of the one as of the other");
    assert_eq!(usage.input_tokens(), counted.events(EventType::Usage), "one of each at a time");
    Numbers {
        started: counted.started(),
        ended: Numbers::ENDS.map(|end| counted.ended(end)),
        took: [took(0), took(1)],
        lifecycle: counted.events(EventType::Lifecycle),
        usage: usage.input_tokens(),
        custom: counted.events(EventType::Custom),
    }
}
