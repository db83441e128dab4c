//! The workload: each line is a turn, and a tool that always does the same answers it. In its place could be a model.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sessionkeeper::{Context, Event, Outcome, Usage, Workload, WorkloadError};

/// A conversation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Conversation {
    pub(crate) turns: Vec<Turn>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) asked: String,
    pub(crate) answered: String,
}

pub(crate) struct Texts;

impl Workload for Texts {
    const KIND: &'static str = "chat";
    const STATE_VERSION: u32 = 1;
    type State = Conversation;
    type Input = String;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(line) = cx.next_input().await? {
            let (tool, text) = line.split_once(' ').unwrap_or((&line, ""));
            if tool == "slow" {
                // Time for Ctrl-C: the turn is done again by the next run.
                cx.busy(Duration::from_secs(60), tokio::time::sleep(Duration::from_secs(5)))
                    .await?;
            }
            let answered = answer(tool, text, cx.state());
            cx.record_usage(Usage::tokens(words(&line), words(&answered)).with_tool_calls(1));
            cx.emit(Event::completion(answered.clone())).await?;
            cx.state_mut().turns.push(Turn { asked: line.to_string(), answered });
            // The answer shows when the next input is asked for: that commits the turn.
        }
        Ok(Outcome::Yielded)
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn answer(tool: &str, text: &str, before: &Conversation) -> String {
    match tool {
        "upper" | "slow" => text.to_uppercase(),
        "reverse" => text.chars().rev().collect(),
        "sort" => {
            let mut words: Vec<_> = text.split_whitespace().collect();
            words.sort_unstable();
            words.join(" ")
        }
        "sum" => {
            let numbers = text.split_whitespace().map(str::parse::<f64>);
            match numbers.sum::<Result<f64, _>>() {
                Ok(sum) => sum.to_string(),
                Err(_) => format!("{text:?} are not all numbers"),
            }
        }
        "again" => match before.turns.last() {
            Some(turn) => turn.answered.clone(),
            None => "nothing was said before".to_owned(),
        },
        _ => "I know upper, reverse, sort, sum and again, each with a text; and slow, which takes 5 s"
            .to_owned(),
    }
}
