//! What a program prints, as lines of text: joined across reads, with what is secret replaced, what is
//! no UTF-8 replaced and counted, and what is too long cut and marked.

use std::sync::Arc;

use super::secrets::Redactor;

/// Splits the bytes of one stream into lines.
pub(super) struct Lines {
    redactor: Arc<Redactor>,
    /// How many bytes a line may have; what follows is cut.
    longest: usize,
    /// The beginning of the line that has not ended yet.
    begun: Vec<u8>,
    /// How many bytes of it are not kept.
    beyond: u64,
}

/// Whole lines, each with a line feed at its end, and what is to be said of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) lines: u64,
    pub(super) flaws: Flaws,
}

/// What was done to lines so that they could be kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flaws {
    /// In how many of them bytes that are no UTF-8 were replaced.
    pub(super) replaced: u64,
    /// How many were cut.
    pub(super) cut: u64,
}

impl Lines {
    pub(super) fn new(redactor: Arc<Redactor>, longest: usize) -> Self {
        Self { redactor, longest, begun: Vec::new(), beyond: 0 }
    }

    /// Takes what was read, and gives the lines that ended with it.
    pub(super) fn push(&mut self, mut bytes: &[u8], text: &mut Text) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.begun.is_empty() && line.len() <= self.longest {
                self.line(line, 0, text);
            } else {
                self.keep(line);
                self.end_line(text);
            }
        }
        self.keep(bytes);
    }

    /// Gives the last line, which nothing ended.
    pub(super) fn finish(&mut self, text: &mut Text) {
        if !self.begun.is_empty() {
            self.end_line(text);
        }
    }

    /// Keeps a part of a line, as far as it may be needed: a secret that begins in what is kept must be found.
    fn keep(&mut self, part: &[u8]) {
        let room = (self.longest + self.redactor.longest()).saturating_sub(self.begun.len());
        let (kept, left) = part.split_at(room.min(part.len()));
        self.begun.extend_from_slice(kept);
        self.beyond += left.len() as u64;
    }

    fn end_line(&mut self, text: &mut Text) {
        let line = std::mem::take(&mut self.begun);
        let beyond = std::mem::take(&mut self.beyond);
        self.line(&line, beyond, text);
        // Its room serves the next one, unless it was an unusual line.
        if line.capacity() <= self.longest {
            self.begun = line;
            self.begun.clear();
        }
    }

    fn line(&self, line: &[u8], beyond: u64, text: &mut Text) {
        let line = if beyond == 0 { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        let shown = line.len().min(self.longest);
        let cut = (line.len() - shown) as u64 + beyond;
        let redacted = self.redactor.redact(line, shown);
        text.lines += 1;
        text.flaws.replaced += u64::from(push_lossy(&mut text.text, &redacted, cut > 0));
        if cut > 0 {
            text.flaws.cut += 1;
            text.text.push_str(&format!(" [{cut} bytes cut]"));
        }
        text.text.push('\n');
    }
}

/// Appends bytes as text and says whether some of them are none. Where the end was cut off, a character that
/// is not whole there is left away.
fn push_lossy(text: &mut String, bytes: &[u8], is_cut: bool) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(valid) => {
            text.push_str(valid);
            false
        }
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            if is_cut && error.error_len().is_none() {
                return false;
            }
            text.push_str(&String::from_utf8_lossy(rest));
            true
        }
    }
}
