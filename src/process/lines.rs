//! What a program prints, as lines of text: joined across reads, with what is secret replaced, what is
//! no UTF-8 replaced and counted, and what is too long cut and marked.

use std::sync::Arc;

use super::secrets::Redactor;

/// How many bytes of a line of text are kept.
pub(super) const LONGEST_LINE: usize = 64 << 10;

/// Splits the bytes of one stream into lines.
pub(super) struct Lines {
    redactor: Arc<Redactor>,
    /// How many bytes a line may have that is kept whole; one that is longer is cut to the length of a line of text.
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
        if !self.begun.is_empty()
            && let Some((line, rest)) = split_line(bytes)
        {
            self.keep(line);
            self.end_line(text);
            bytes = rest;
        }
        if self.begun.is_empty() {
            bytes = self.push_plain(bytes, text);
        }
        while let Some((line, rest)) = split_line(bytes) {
            if line.len() <= self.longest {
                self.line(line, 0, text);
            } else {
                self.keep(line);
                self.end_line(text);
            }
            bytes = rest;
        }
        self.keep(bytes);
    }

    /// Takes all whole lines at once where nothing has to be done to any of them, as is usual, and gives what is left.
    fn push_plain<'a>(&self, bytes: &'a [u8], text: &mut Text) -> &'a [u8] {
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1);
        let (lines, rest) = bytes.split_at(end);
        // None of them is too long where all are not.
        let is_short = lines.len() <= self.longest;
        if !is_short || !self.redactor.is_empty() || memchr::memchr(b'\r', lines).is_some() {
            return bytes;
        }
        let Ok(plain) = std::str::from_utf8(lines) else {
            return bytes;
        };
        text.text.push_str(plain);
        text.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
        rest
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
        let is_whole = line.len() <= self.longest && beyond == 0;
        let most = if is_whole { self.longest } else { self.longest.min(LONGEST_LINE) };
        let shown = line.len().min(most);
        let cut = (line.len() - shown) as u64 + beyond;
        let redacted = self.redactor.redact(line, shown);
        text.lines += 1;
        text.flaws.replaced += u64::from(push_lossy(&mut text.text, &redacted, cut > 0));
        if cut > 0 {
            text.flaws.cut += 1;
            mark_cut(&mut text.text, cut);
        }
        text.text.push('\n');
    }
}

/// The first line, without its end, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at(memchr::memchr(b'\n', bytes)?);
    Some((line, rest.get(1..).unwrap_or_default()))
}

/// Appends a line that was kept whole as a line of text, and says whether it had to be cut.
pub(super) fn push_line(text: &mut String, line: &str) -> bool {
    if line.len() <= LONGEST_LINE {
        text.push_str(line);
        return false;
    }
    let shown = first(line, LONGEST_LINE);
    text.push_str(shown);
    mark_cut(text, (line.trim_end().len() - shown.len()) as u64);
    text.push('\n');
    true
}

/// The first so many bytes of a text, or some fewer: whole characters.
pub(super) fn first(text: &str, bytes: usize) -> &str {
    let mut ends = (0..=text.len().min(bytes)).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

fn mark_cut(text: &mut String, bytes: u64) {
    text.push_str(&format!(" [{bytes} bytes cut]"));
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
