//! The launches of a session's program, as its log tells of them.

use sessionkeeper::{Event, Fact, RunId, process::ProcessEnd};

use crate::oracle::FoundSession;

/// A launch, and what was recorded of it.
#[derive(Debug, Default)]
pub(super) struct Launch {
    /// The run that recorded the last of it.
    run: Option<RunId>,
    pub(super) text: String,
    pub(super) answers: Vec<String>,
    /// How many lines were dropped.
    pub(super) dropped: u64,
    pub(super) ends: Vec<ToldEnd>,
}

/// The end of a program, as an event tells it.
#[derive(Debug)]
pub(super) struct ToldEnd {
    pub(super) run: Option<RunId>,
    pub(super) sequence: u64,
    pub(super) as_what: Told,
    pub(super) end: ProcessEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Success,
    Failure,
    Stop,
}

/// What an event says of a program.
enum Said {
    Started,
    Text(String),
    Answer(String),
    Dropped(u64),
    End(Told, ProcessEnd),
}

pub(super) fn of(found: &FoundSession) -> Vec<Launch> {
    let mut launches: Vec<Launch> = Vec::new();
    for event in &found.log {
        let Fact::Work(work) = &event.fact else { continue };
        let Some(said) = said(work) else { continue };
        let last = launches.last();
        if last.is_none_or(|last| said.begins_after(last, event.run)) {
            launches.push(Launch::default());
        }
        let Some(launch) = launches.last_mut() else { continue };
        launch.run = event.run;
        match said {
            Said::Started => {}
            Said::Text(text) => launch.text.push_str(&text),
            Said::Answer(answer) => launch.answers.push(answer),
            Said::Dropped(lines) => launch.dropped += lines,
            Said::End(as_what, end) => {
                let (run, sequence) = (event.run, event.sequence);
                launch.ends.push(ToldEnd { run, sequence, as_what, end });
            }
        }
    }
    launches
}

fn said(event: &Event) -> Option<Said> {
    let end = |stats: &serde_json::Value| serde_json::from_value::<ProcessEnd>(stats.clone()).ok();
    match event {
        Event::Terminal { output, .. } => Some(Said::Text(output.clone())),
        Event::Completion { message, stats } => Some(match end(stats) {
            Some(end) => Said::End(Told::Success, end),
            None => Said::Answer(message.clone()),
        }),
        Event::Error { stats, .. } => end(stats).map(|end| Said::End(Told::Failure, end)),
        Event::Custom { name, data } => match name.as_str() {
            "process_started" => Some(Said::Started),
            "process_stopped" => end(data).map(|end| Said::End(Told::Stop, end)),
            "output_dropped" => Some(Said::Dropped(data["lines"].as_u64().unwrap_or(0))),
            _ => None,
        },
        Event::Thinking { .. } | Event::FileChange { .. } => None,
        _ => None,
    }
}

impl Said {
    /// Whether it is the first thing that is said of a launch. One whose run was cancelled at once is not announced.
    fn begins_after(&self, last: &Launch, run: Option<RunId>) -> bool {
        let is_other_run = last.run != run;
        let has_ended = !last.ends.is_empty();
        match self {
            Self::Started => true,
            Self::Text(text) => is_other_run && (has_ended || text.starts_with("line 1\n")),
            Self::Answer(answer) => is_other_run && (has_ended || answer.starts_with("answer 1 ")),
            Self::Dropped(_) | Self::End(..) => is_other_run && has_ended,
        }
    }
}
