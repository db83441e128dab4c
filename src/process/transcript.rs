//! What a program prints, as events of its session.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    exit::{ExitCause, ProcessEnd},
    json::{MapJson, Mapped},
    lines::{Flaws, Text},
    output::Chunk,
    spec::{OutputFormat, ProcessSpec, WhenBehind},
};
use crate::{EmitError, Event, ExternalId, Run};

/// How much of the last line is kept.
const LAST_LINE: usize = 200;

/// Turns chunks into events and passes them on, in order. What is not passed on yet waits in it, so it may be
/// interrupted at every `await`.
pub(super) struct Transcript<M> {
    run: Run,
    program: String,
    format: OutputFormat,
    when_behind: WhenBehind,
    mapper: M,
    waiting: VecDeque<Event>,
    dropped: Dropped,
    turns_ended: watch::Sender<u64>,
    has_told_end: bool,
    pub(super) summary: Summary,
}

/// What is known of the output as a whole.
#[derive(Debug, Default, Clone)]
pub(super) struct Summary {
    pub(super) lines: u64,
    pub(super) last_line: Option<String>,
    pub(super) external_id: Option<ExternalId>,
}

#[derive(Debug, Default)]
struct Dropped {
    lines: usize,
    bytes: usize,
}

impl<M: MapJson> Transcript<M> {
    pub(super) fn new(run: Run, program: &str, spec: &ProcessSpec, mapper: M) -> Self {
        Self {
            run,
            program: program.to_owned(),
            format: spec.output(),
            when_behind: spec.when_behind(),
            mapper,
            waiting: VecDeque::new(),
            dropped: Dropped::default(),
            turns_ended: watch::Sender::new(0),
            has_told_end: false,
            summary: Summary::default(),
        }
    }

    /// From now on another run of the session records what is printed.
    pub(super) fn hand_to(&mut self, run: &Run) {
        self.run = run.clone();
    }

    /// How many turns the program has ended.
    pub(super) fn turns_ended(&self) -> watch::Receiver<u64> {
        self.turns_ended.subscribe()
    }

    /// Takes what was printed.
    pub(super) fn take(&mut self, chunk: Chunk) {
        self.summary.lines += chunk.out.lines + chunk.err.lines;
        let text = if chunk.out.text.is_empty() { chunk.errors() } else { chunk.text() };
        if let Some(last) = text.lines().rev().find(|line| !line.trim().is_empty()) {
            self.summary.last_line = Some(last.chars().take(LAST_LINE).collect());
        }
        let flaws = [chunk.out.flaws, chunk.err.flaws];
        match self.format {
            OutputFormat::Lines => self.terminal(chunk.out.text, chunk.err.text),
            OutputFormat::JsonLines => {
                self.objects(&chunk.out);
                self.terminal(String::new(), chunk.err.text);
            }
        }
        self.tell_flaws(flaws);
    }

    fn terminal(&mut self, output: String, errors: String) {
        if output.is_empty() && errors.is_empty() {
            return;
        }
        let error = (!errors.is_empty()).then_some(errors);
        let command = self.program.clone();
        self.waiting.push_back(Event::Terminal { command, output, error, exit_code: None });
    }

    fn objects(&mut self, text: &Text) {
        let mut plain = String::new();
        for line in text.text.split_inclusive('\n') {
            match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(object) => {
                    self.terminal(std::mem::take(&mut plain), String::new());
                    self.object(object);
                }
                Err(_) => plain.push_str(line),
            }
        }
        self.terminal(plain, String::new());
    }

    fn object(&mut self, object: Map<String, Value>) {
        let Some(mapped) = self.mapper.map(&object) else {
            let name = object.get("type").and_then(Value::as_str).unwrap_or("object").to_owned();
            self.waiting.push_back(Event::custom(name, object));
            return;
        };
        let Mapped { events, usage, external_id, ends_turn } = mapped;
        self.waiting.extend(events);
        if let Some(usage) = usage {
            self.run.record_usage(usage);
        }
        if let Some(id) = external_id
            && self.summary.external_id.as_ref() != Some(&id)
        {
            self.run.set_external_id(id.clone());
            self.summary.external_id = Some(id);
        }
        if ends_turn {
            self.turns_ended.send_modify(|turns| *turns += 1);
        }
    }

    fn tell_flaws(&mut self, flaws: [Flaws; 2]) {
        let replaced: u64 = flaws.iter().map(|flaws| flaws.replaced).sum();
        let cut: u64 = flaws.iter().map(|flaws| flaws.cut).sum();
        if replaced + cut > 0 {
            let told = json!({ "lines_not_utf8": replaced, "lines_cut": cut });
            self.waiting.push_back(Event::custom("output_mended", told));
        }
    }

    /// Tells how the program ended, once. Where it failed, that is an error.
    pub(super) fn tell_end(&mut self, end: &ProcessEnd, is_success: bool) {
        if std::mem::replace(&mut self.has_told_end, true) {
            return;
        }
        let told = format!("{} {}", self.program, end.cause);
        let stats = serde_json::to_value(end).unwrap_or_default();
        self.waiting.push_back(match end.cause {
            ExitCause::Stopped { .. } => Event::custom("process_stopped", stats),
            ExitCause::Exited { .. } if is_success => Event::Completion { message: told, stats },
            ExitCause::Exited { .. }
            | ExitCause::Signaled { .. }
            | ExitCause::OutOfMemory
            | ExitCause::Lost => Event::Error { message: told, stats },
        });
    }

    /// Passes on what waits. Cancel safe: what was not passed on waits still.
    pub(super) async fn flush(&mut self) {
        while let Some(event) = self.waiting.front() {
            let refused = match self.run.try_emit(event) {
                Err(EmitError::Full { .. }) if self.may_drop(event) => {
                    self.drop_first();
                    continue;
                }
                // It is not taken if this is interrupted.
                Err(EmitError::Full { .. }) => self.run.emit(event.clone()).await,
                refused => refused,
            };
            self.waiting.pop_front();
            match refused {
                Ok(()) => self.tell_dropped(),
                // A run that is fenced records nothing any more.
                Err(EmitError::Full { .. } | EmitError::Fenced { .. }) => {}
                Err(error @ (EmitError::TooLarge { .. } | EmitError::TooDeep { .. })) => {
                    let told = format!("something that the program printed is not kept: {error}");
                    self.waiting.push_front(Event::error(told));
                }
            }
        }
    }

    /// Whether it is text that may be dropped.
    fn may_drop(&self, event: &Event) -> bool {
        match self.when_behind {
            WhenBehind::Drop => matches!(event, Event::Terminal { .. }),
            WhenBehind::Wait => false,
        }
    }

    fn drop_first(&mut self) {
        if let Some(Event::Terminal { output, error, .. }) = self.waiting.pop_front() {
            let texts = [output, error.unwrap_or_default()];
            self.dropped.lines += texts.iter().map(|text| text.lines().count()).sum::<usize>();
            self.dropped.bytes += texts.iter().map(String::len).sum::<usize>();
        }
    }

    fn tell_dropped(&mut self) {
        let Dropped { lines, bytes } = std::mem::take(&mut self.dropped);
        if lines > 0 {
            let told = json!({ "lines": lines, "bytes": bytes });
            self.waiting.push_front(Event::custom("output_dropped", told));
        }
    }

    /// Passes on what waits, and at the end what is to be said of what was dropped.
    pub(super) async fn finish(&mut self) {
        self.flush().await;
        self.tell_dropped();
        self.flush().await;
    }
}
