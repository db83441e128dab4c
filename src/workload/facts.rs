//! What a run has noted and no commit holds yet: bounded, in order, drained by every commit.

use std::io;

use serde::Serialize;

use crate::model::{
    event::{Event, Fact},
    ids::ExternalId,
    labels::{MAX_NESTING, is_nested_within},
    time::Timestamp,
    usage::Usage,
};

/// The most bytes of notes that may wait. What waits goes in one commit: with half of it, a program that prints much is recorded a
/// tenth slower.
const BUFFER_BYTES: usize = 512 << 10;

/// The most bytes of one event.
pub(crate) const EVENT_BYTES: usize = 256 << 10;

/// One note of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Note {
    Event(Event),
    Usage(Usage),
    ExternalId(ExternalId),
}

/// A note with its time and the input that was in hand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Noted {
    pub(crate) at: Timestamp,
    pub(crate) input: Option<u64>,
    pub(crate) note: Note,
}

/// The notes that wait.
#[derive(Debug, Default)]
pub(crate) struct FactBuffer {
    notes: Vec<Noted>,
    bytes: usize,
}

/// Those of some events that together have room in a buffer.
pub(crate) fn fitting(events: Vec<Event>) -> Vec<Event> {
    let mut room = BUFFER_BYTES;
    let mut fits = |event: &Event| {
        let left = Weight::of(event).ok().and_then(|weight| room.checked_sub(weight.0));
        room = left.unwrap_or(room);
        left.is_some()
    };
    events.into_iter().filter(|event| fits(event)).collect()
}

/// Why a note was not taken.
pub(crate) enum NotTaken {
    Full,
    TooLarge { bytes: usize },
    TooDeep,
}

impl FactBuffer {
    /// Takes an event of a weight if there is room.
    pub(crate) fn push_event(
        &mut self,
        at: Timestamp,
        input: Option<u64>,
        weight: Weight,
        event: impl FnOnce() -> Event,
    ) -> Result<(), NotTaken> {
        if self.bytes + weight.0 > BUFFER_BYTES {
            return Err(NotTaken::Full);
        }
        self.bytes += weight.0;
        self.notes.push(Noted { at, input, note: Note::Event(event()) });
        Ok(())
    }

    /// Adds usage. It takes no room: usage in a row for the same input is one note, also with an
    /// external id in between.
    pub(crate) fn push_usage(&mut self, at: Timestamp, input: Option<u64>, usage: Usage) {
        let last =
            self.notes.iter_mut().rev().find(|noted| !matches!(noted.note, Note::ExternalId(_)));
        if let Some(Noted { input: last, note: Note::Usage(sum), .. }) = last
            && *last == input
        {
            *sum = sum.plus(&usage);
        } else {
            self.notes.push(Noted { at, input, note: Note::Usage(usage) });
        }
    }

    /// Sets the external id. A later one replaces one that still waits.
    pub(crate) fn push_external_id(&mut self, at: Timestamp, input: Option<u64>, id: ExternalId) {
        self.notes.retain(|noted| !matches!(noted.note, Note::ExternalId(_)));
        self.notes.push(Noted { at, input, note: Note::ExternalId(id) });
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Whether so much waits that a commit should not: who emits faster would wait for it.
    pub(crate) const fn is_pressing(&self) -> bool {
        self.bytes > BUFFER_BYTES / 2
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<Noted> {
        self.bytes = 0;
        std::mem::take(&mut self.notes)
    }
}

/// What an event weighs in the buffer: its encoded size, which is no more than one may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight(usize);

impl Weight {
    /// In bytes.
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }

    pub(crate) fn of(event: &Event) -> Result<Self, NotTaken> {
        if event.data().is_some_and(|data| !is_nested_within(MAX_NESTING, data)) {
            return Err(NotTaken::TooDeep);
        }
        let bytes = match event {
            // Nothing else is so much: it is counted without being encoded.
            Event::Terminal { command, output, error, exit_code } => {
                let errors = error.as_deref().unwrap_or_default();
                let frame = Event::Terminal {
                    command: command.clone(),
                    output: String::new(),
                    error: error.as_ref().map(|_| String::new()),
                    exit_code: *exit_code,
                };
                encoded(&frame) + encoded_text(output) + encoded_text(errors)
            }
            Event::Thinking { .. }
            | Event::FileChange { .. }
            | Event::Completion { .. }
            | Event::Error { .. }
            | Event::Custom { .. } => encoded(event),
        };
        if bytes > EVENT_BYTES {
            return Err(NotTaken::TooLarge { bytes });
        }
        Ok(Self(bytes))
    }
}

/// How many logical bytes a fact holds in the store: those of its JSON.
pub(crate) fn bytes_of(fact: &Fact) -> u64 {
    let bytes = match fact {
        Fact::Work(event) => Weight::of(event).map_or(0, Weight::bytes),
        Fact::Lifecycle(what) => encoded(what),
        Fact::Usage(usage) => encoded(usage),
    };
    bytes as u64
}

/// How many bytes something has as JSON.
fn encoded(value: &impl Serialize) -> usize {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value).map_or(usize::MAX, |()| counted.0)
}

/// How many bytes a text has in JSON, without its quotes.
fn encoded_text(text: &str) -> usize {
    // As many as a byte can count, which is quick.
    let more = text.as_bytes().chunks(32).map(|some| some.iter().map(more).sum::<u8>());
    text.len() + more.map(usize::from).sum::<usize>()
}

/// How many bytes more than itself a byte of a text has in JSON.
const fn more(byte: &u8) -> u8 {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    }
}

/// Keeps nothing of what is written to it but how much that is.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, encoded, encoded_text};

    #[test]
    fn what_a_text_has_in_json_is_counted() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        let texts =
            [all.clone(), String::new(), "\n".repeat(1000), "\0".repeat(1000), all.repeat(9)];
        for text in texts {
            let json = serde_json::to_string(&text).expect("a text");
            assert_eq!(encoded_text(&text), json.len() - 2, "{text:?}");
        }
    }

    #[test]
    fn an_event_weighs_what_it_has_as_json() {
        let errors = [None, Some(String::new()), Some("an \"error\"\n".to_owned())];
        for error in errors {
            let (command, output) = ("a\tprogram".to_owned(), "\u{1b}[1mline\u{e9}\n".repeat(500));
            let event = Event::Terminal { command, output, error, exit_code: Some(3) };
            assert_eq!(
                super::Weight::of(&event).ok().map(|weight| weight.0),
                Some(encoded(&event))
            );
        }
    }
}
