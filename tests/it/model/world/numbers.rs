//! Sessions in numbers: how many there are, and what happened to them.

use std::time::Duration;

use sessionkeeper::{
    Durations, EventRecord, EventType, Fact, Kind, Lifecycle, Scope, State, Statistics, Timestamp,
    Window, Workload,
};

use super::{World, same};
use crate::model::{
    player::{Player, ms},
    reference::{Ms, Numbers, Reference, Span},
};

/// How much later than in the model something may happen.
const LATE: Ms = 20;

/// Whose numbers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The sessions of the life, and the beacon.
    All,
    Life,
    Team(u8),
}

impl Whose {
    const EACH: [Self; 5] = [Self::All, Self::Life, Self::Team(0), Self::Team(1), Self::Team(2)];

    fn scope(self) -> Scope {
        match self {
            Self::All => Scope::All,
            Self::Life => Scope::Kind(Kind::new(Player::KIND).unwrap()),
            Self::Team(team) => Scope::label("team", team.to_string()),
        }
    }

    const fn team(self) -> Option<u8> {
        match self {
            Self::All | Self::Life => None,
            Self::Team(team) => Some(team),
        }
    }
}

impl World {
    pub(super) async fn compare_numbers(&self, model: &Reference) -> Result<(), String> {
        let beacon = self.beacon_events().await;
        for whose in Whose::EACH {
            let (scope, team) = (whose.scope(), whose.team());
            let counts = self.supervisor().counts(scope.clone()).await.unwrap();
            for state in State::ALL {
                let of_beacon = whose == Whose::All && state == State::Completed;
                let what = format!("how many sessions of {whose:?} are {state}");
                same(&what, counts.of(state), model.count(state, team) + u64::from(of_beacon))?;
            }
            for span in [Span::SinceTheBeginning, Span::Minutes(1), Span::Minutes(61)] {
                let Some(mut should) = model.numbers(team, span) else { continue };
                if whose == Whose::All {
                    add_beacon(&mut should, &beacon, span, self.clock.now());
                }
                let window = match span {
                    Span::SinceTheBeginning => Window::SinceTheBeginning,
                    Span::Minutes(minutes) => Window::Last(Duration::from_secs(60 * minutes)),
                };
                let is = self.supervisor().statistics(scope.clone(), window).await.unwrap();
                same("what is counted by state", is.states, counts)?;
                same("how many events are not counted yet", is.behind, 0)?;
                let what = format!("what happened to {whose:?} in {span:?}");
                took(&format!("{what}: completed"), is.completed(), &should.took[0])?;
                took(&format!("{what}: failed"), is.failed(), &should.took[1])?;
                same(&what, numbers(&is, &should), should)?;
            }
        }
        Ok(())
    }
}

/// What happened to the beacon is no part of the life, and counts among all.
fn add_beacon(numbers: &mut Numbers, log: &[EventRecord], span: Span, now: Timestamp) {
    let minute = |at: Timestamp| at.timestamp() / 60;
    let since = match span {
        Span::SinceTheBeginning => 0,
        Span::Minutes(minutes) => minute(now) - i64::try_from(minutes).unwrap(),
    };
    for event in log.iter().filter(|event| minute(event.at) >= since) {
        numbers.lifecycle += 1;
        match &event.fact {
            Fact::Lifecycle(Lifecycle::Created { .. }) => numbers.started += 1,
            Fact::Lifecycle(Lifecycle::StateChanged { to: State::Completed, .. }) => {
                numbers.ended[0] += 1;
                let took = (event.at - log[0].at).num_milliseconds();
                numbers.took[0].push(u64::try_from(took).unwrap());
            }
            _ => {}
        }
    }
}

/// What was counted, but for how long something took.
fn numbers(counted: &Statistics, should: &Numbers) -> Numbers {
    let usage = counted.usage();
    assert_eq!(usage.input_tokens(), usage.output_tokens(), "as much of the one as of the other");
    assert_eq!(usage.input_tokens(), counted.events(EventType::Usage), "one of each at a time");
    Numbers {
        started: counted.started(),
        ended: Numbers::ENDS.map(|end| counted.ended(end)),
        took: should.took.clone(),
        lifecycle: counted.events(EventType::Lifecycle),
        usage: usage.input_tokens(),
        custom: counted.events(EventType::Custom),
    }
}

/// The mean is exact; a percentile is that of the nearest rank, to within 5 %.
fn took(what: &str, is: &Durations, should: &[Ms]) -> Result<(), String> {
    let count = should.len() as u64;
    same(&format!("{what}, how many"), is.count(), count)?;
    let sum = should.iter().sum();
    near(&format!("{what}, in all"), is.sum(), sum, LATE * count)?;
    let Some(mean) = sum.checked_div(count) else {
        same(&format!("{what}, on average"), is.mean(), None)?;
        return same(&format!("{what}, the median"), is.percentile(50.0), None);
    };
    let some = |took: Option<Duration>| took.ok_or_else(|| format!("{what}: there are some"));
    near(&format!("{what}, on average"), some(is.mean())?, mean, LATE)?;
    let mut ranked = should.to_vec();
    ranked.sort_unstable();
    for percent in [0, 10, 25, 50, 75, 90, 95, 100_u32] {
        let rank = (count * u64::from(percent)).div_ceil(100).max(1);
        let about = ranked[rank as usize - 1];
        let is = some(is.percentile(percent.into()))?;
        near(&format!("{what}, {percent} % of them"), is, about, about / 20 + LATE)?;
    }
    Ok(())
}

fn near(what: &str, is: Duration, should: Ms, apart: Ms) -> Result<(), String> {
    if is.abs_diff(ms(should)) <= ms(apart) {
        Ok(())
    } else {
        Err(format!("{what}: it is {is:?}, and should be {:?} or near", ms(should)))
    }
}
