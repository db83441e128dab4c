//! What a program prints, as events of its session.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    command::Program,
    exit::{ExitCause, ProcessEnd},
    json::{MapJson, Mapped},
    lines::{Flaws, first, push_line},
    output::Chunk,
    secrets::Redactor,
    spec::{OutputFormat, ProcessSpec, WhenBehind},
};
use crate::{EmitError, Event, ExternalId, Run, telemetry};

/// How much text one event has: however it is written in JSON, it has room in the buffer of its run.
const PIECE: usize = 32 << 10;

/// How many events are kept that the run of the program can record no more: with all the text that fits into them they
/// are as much as its session may record of a program that was frozen.
const LAST_WORDS: usize = 12;
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
    redactor: Arc<Redactor>,
    waiting: VecDeque<Event>,
    dropped: Dropped,
    has_told_end: bool,
    /// The last of what was to be told when the run could record nothing any more.
    unsaid: VecDeque<Event>,
    summary: watch::Sender<Summary>,
}

/// What is known of the output as a whole.
#[derive(Debug, Default, Clone)]
pub(super) struct Summary {
    pub(super) lines: u64,
    /// How many turns the program has ended.
    pub(super) turns: u64,
    pub(super) last_line: Option<String>,
    pub(super) external_id: Option<ExternalId>,
}

#[derive(Debug, Default)]
struct Dropped {
    lines: usize,
    bytes: usize,
}

impl<M: MapJson> Transcript<M> {
    pub(super) fn new(run: Run, program: &Program, spec: &ProcessSpec, mapper: M) -> Self {
        Self {
            run,
            program: program.name().to_owned(),
            redactor: Arc::clone(&program.redactor),
            format: spec.output(),
            when_behind: spec.when_behind(),
            mapper,
            waiting: VecDeque::new(),
            dropped: Dropped::default(),
            has_told_end: false,
            unsaid: VecDeque::new(),
            summary: watch::Sender::default(),
        }
    }

    /// From now on another run of the session records what is printed.
    pub(super) fn hand_to(&mut self, run: &Run) {
        self.run = run.clone();
    }

    /// The run that records what is printed.
    pub(super) fn run(&self) -> Run {
        self.run.clone()
    }

    /// What is known of the output.
    pub(super) fn summary(&self) -> watch::Receiver<Summary> {
        self.summary.subscribe()
    }

    /// Takes what was printed.
    pub(super) fn take(&mut self, chunk: Chunk) {
        let text = if chunk.out.text.is_empty() { chunk.errors() } else { chunk.text() };
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.map(|last| last.chars().take(LAST_LINE).collect());
        self.summary.send_modify(|summary| {
            summary.lines += chunk.out.lines + chunk.err.lines;
            summary.last_line = last.or(summary.last_line.take());
        });
        let mut flaws = [chunk.out.flaws, chunk.err.flaws];
        match self.format {
            OutputFormat::Lines => self.terminal(chunk.out.text, chunk.err.text),
            OutputFormat::JsonLines => {
                flaws[0].cut += self.objects(&chunk.out.text);
                self.terminal(String::new(), chunk.err.text);
            }
        }
        self.tell_flaws(flaws);
    }

    fn terminal(&mut self, output: String, errors: String) {
        if output.len() + errors.len() <= PIECE {
            self.terminal_event(output, errors);
            return;
        }
        pieces(&output).for_each(|piece| self.terminal_event(piece.to_owned(), String::new()));
        pieces(&errors).for_each(|piece| self.terminal_event(String::new(), piece.to_owned()));
    }

    fn terminal_event(&mut self, output: String, errors: String) {
        if output.is_empty() && errors.is_empty() {
            return;
        }
        let error = (!errors.is_empty()).then_some(errors);
        let command = self.program.clone();
        self.waiting.push_back(Event::Terminal { command, output, error, exit_code: None });
    }

    /// Takes lines that may be JSON objects, and says how many were cut that are none.
    fn objects(&mut self, lines: &str) -> u64 {
        let mut plain = String::new();
        let mut cut = 0;
        for line in lines.split_inclusive('\n') {
            match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(object) => {
                    self.terminal(std::mem::take(&mut plain), String::new());
                    let object = self.redactor.redact_object(object);
                    self.object(object);
                }
                Err(_) => cut += u64::from(push_line(&mut plain, line)),
            }
        }
        self.terminal(plain, String::new());
        cut
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
            && self.summary.borrow().external_id.as_ref() != Some(&id)
        {
            self.run.set_external_id(id.clone());
            self.summary.send_modify(|summary| summary.external_id = Some(id));
        }
        if ends_turn {
            self.summary.send_modify(|summary| summary.turns += 1);
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
        let ProcessEnd { cause, ended_in_ms, killed, .. } = *end;
        telemetry::program_ended(&self.run, &self.program, cause, ended_in_ms, killed);
        let told = format!("{} {cause}", self.program);
        let stats = serde_json::to_value(end).unwrap_or_default();
        let event = match cause {
            // Why it was not is the error of its run.
            ExitCause::NotStarted => return,
            ExitCause::Stopped { .. } => Event::custom("process_stopped", stats),
            ExitCause::Exited { .. } if is_success => Event::Completion { message: told, stats },
            ExitCause::Exited { .. }
            | ExitCause::Signaled { .. }
            | ExitCause::OutOfMemory
            | ExitCause::Unknown => Event::Error { message: told, stats },
        };
        self.waiting.push_back(event);
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
            let event = self.waiting.pop_front();
            match refused {
                Ok(()) => self.tell_dropped(),
                // A run that is fenced records nothing any more.
                Err(EmitError::Full { .. } | EmitError::Fenced { .. }) => self.leave_unsaid(event),
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
        let first = self.waiting.pop_front();
        self.count_dropped(first);
    }

    /// Counts what is lost of what the program printed.
    fn count_dropped(&mut self, event: Option<Event>) {
        if let Some(Event::Terminal { output, error, .. }) = event {
            let texts = [output, error.unwrap_or_default()];
            self.dropped.lines += texts.iter().map(|text| text.lines().count()).sum::<usize>();
            self.dropped.bytes += texts.iter().map(String::len).sum::<usize>();
        }
    }

    /// Keeps what could not be recorded, and counts what is too much of it.
    fn leave_unsaid(&mut self, event: Option<Event>) {
        self.unsaid.extend(event);
        if self.unsaid.len() > LAST_WORDS {
            let first = self.unsaid.pop_front();
            self.count_dropped(first);
        }
    }

    fn tell_dropped(&mut self) {
        let Dropped { lines, bytes } = std::mem::take(&mut self.dropped);
        if lines > 0 {
            let told = json!({ "lines": lines, "bytes": bytes });
            self.waiting.push_front(Event::custom("output_dropped", told));
        }
    }

    /// What could not be recorded any more, the last of it.
    pub(super) fn take_unsaid(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.unsaid).into()
    }

    /// Passes on what waits, and at the end what is to be said of what was dropped.
    pub(super) async fn finish(&mut self) {
        self.flush().await;
        self.tell_dropped();
        self.flush().await;
    }
}

/// A text in pieces that are not too large, at the ends of lines where there are some.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = first(rest, PIECE);
        let at = match first.rfind('\n') {
            Some(line_feed) if first.len() < rest.len() => line_feed + 1,
            Some(_) | None => first.len(),
        };
        let (piece, left) = rest.split_at(at);
        rest = left;
        Some(piece)
    })
}
