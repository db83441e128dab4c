//! What a program printed is recorded: in order, without a gap or a repetition, and whole where the program ended by itself.

use std::collections::BTreeSet;

use sessionkeeper::process::{ExitCause, StoppedBy};

use super::{Fate, Nature, launches::Launch};

/// `is_hurt` says whether somebody has killed a part of it.
pub(super) fn judge(nature: &Nature, is_hurt: bool, launches: &[Launch], wrong: &mut Vec<String>) {
    for launch in launches {
        let is_whole = has_done_all(launch, nature, is_hurt);
        let lines: Vec<_> = launch.text.lines().collect();
        let of_lines = Numbered::read("line ", lines.iter().copied(), launch.dropped);
        let of_answers = Numbered::read("answer ", launch.answers.iter().map(String::as_str), 0);
        for numbered in [of_lines, of_answers] {
            match numbered {
                Ok(numbered) => {
                    let mut found = numbered.judge(is_whole, nature);
                    wrong.append(&mut found);
                }
                Err(odd) => wrong.push(format!("it printed {odd:?}")),
            }
        }
        let mut asked = BTreeSet::new();
        let questions = launch.answers.iter().filter_map(|answer| answer.split_once(" to "));
        for (_, question) in questions {
            if !asked.insert(question) {
                wrong.push(format!("one program was given {question:?} twice"));
            }
        }
    }
}

/// What was numbered.
struct Numbered {
    numbers: Vec<u64>,
    /// How many it says that it printed.
    last: Option<u64>,
    /// How many of them may be missing.
    dropped: u64,
}

impl Numbered {
    fn read<'a>(
        what: &str,
        texts: impl Iterator<Item = &'a str>,
        dropped: u64,
    ) -> Result<Self, String> {
        let mut numbered = Self { numbers: Vec::new(), last: None, dropped };
        for text in texts {
            let number = |text: &str| text.split(' ').next()?.parse().ok();
            let line = text.strip_prefix(what).and_then(number);
            let last = text.strip_prefix("last ").and_then(number);
            match (line, last, numbered.last) {
                (Some(number), None, None) => numbered.numbers.push(number),
                (None, Some(last), None) => numbered.last = Some(last),
                _ => return Err(text.to_owned()),
            }
        }
        Ok(numbered)
    }

    fn judge(&self, is_whole: bool, nature: &Nature) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut missing = 0;
        let mut before = 0;
        for number in &self.numbers {
            if *number <= before {
                wrong.push(format!("{number} was recorded after {before}"));
            }
            missing += number.saturating_sub(before + 1);
            before = *number;
        }
        missing += self.last.unwrap_or(before).saturating_sub(before);
        if self.last.is_some_and(|last| last < before) {
            wrong.push(format!("{before} was recorded of {:?}", self.last));
        }
        // How many were dropped is told later than what follows them.
        if missing > 0 && (!nature.is_dropped || is_whole && missing > self.dropped) {
            wrong.push(format!("{missing} of {before} are missing, {} were dropped", self.dropped));
        }
        if is_whole && before > 0 && self.last.is_none() && self.dropped == 0 {
            wrong.push(format!(
                "it did all that it had to do, and nothing is recorded after {before}"
            ));
        }
        wrong
    }
}

/// Whether a program did all that it had to do: it ended by itself, or as it was asked to.
fn has_done_all(launch: &Launch, nature: &Nature, is_hurt: bool) -> bool {
    let Some(end) = launch.ends.first().map(|told| &told.end) else { return false };
    match (end.cause, nature.fate) {
        (ExitCause::Exited { .. }, Fate::Exits(_)) => true,
        (ExitCause::Exited { .. }, _) => !is_hurt,
        (ExitCause::Signaled { signal }, Fate::Dies(by)) => signal == by,
        (ExitCause::Stopped { by: StoppedBy::Code { code } }, _) => {
            nature.obeys == Some(code) && end.killed == 0 && !is_hurt
        }
        _ => false,
    }
}
