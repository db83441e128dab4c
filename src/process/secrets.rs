//! What must not be shown: where it comes from, and how it is found in what a program prints.

use std::{borrow::Cow, fmt};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Map, Value};

use crate::faults::{self, Bug};

/// What stands in the place of a secret.
const REDACTED: &[u8] = b"[redacted]";

/// The shortest part of a secret of several lines that is looked for by itself: what is shorter is
/// everywhere.
const SHORTEST_PART: usize = 4;

/// Finds secrets in what a program prints.
#[derive(Default)]
pub(super) struct Redactor {
    /// `None` where there are no secrets.
    patterns: Option<AhoCorasick>,
    longest: usize,
}

impl Redactor {
    /// Looks for these values, as they are and as they stand in JSON. Where one has several lines, each is
    /// looked for.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns: Vec<String> = Vec::new();
        for secret in secrets {
            let json = Value::from(secret).to_string();
            patterns.extend(json.get(1..json.len() - 1).map(str::to_owned));
            patterns.push(secret.to_owned());
            let has_one_line = secret.lines().count() == 1;
            let is_telling = |line: &&str| has_one_line || line.len() >= SHORTEST_PART;
            patterns.extend(secret.lines().filter(is_telling).map(str::to_owned));
        }
        patterns.retain(|pattern| !pattern.is_empty());
        patterns.sort();
        patterns.dedup();
        let longest = patterns.iter().map(String::len).max().unwrap_or(0);
        let patterns = (longest > 0).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns)
                .expect("the secrets of a program are fewer than 2^31 bytes")
        });
        Self { patterns, longest }
    }

    /// A JSON object without secrets, however they were written there.
    pub(super) fn redact_object(&self, object: Map<String, Value>) -> Map<String, Value> {
        if self.is_empty() {
            return object;
        }
        let fields = object.into_iter();
        fields.map(|(name, value)| (self.redact_text(&name), self.redact_value(value))).collect()
    }

    fn redact_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact_text(&text)),
            Value::Array(all) => all.into_iter().map(|value| self.redact_value(value)).collect(),
            Value::Object(object) => Value::Object(self.redact_object(object)),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
        }
    }

    fn redact_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact(text.as_bytes(), text.len())).into_owned()
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.patterns.is_none()
    }

    /// How long the longest of them is, in bytes.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    /// The first so many bytes, without the secrets that begin in them.
    pub(super) fn redact<'a>(&self, bytes: &'a [u8], shown: usize) -> Cow<'a, [u8]> {
        let first = bytes.get(..shown).unwrap_or(bytes);
        let Some(patterns) = self.patterns.as_ref().filter(|_| !faults::planted(Bug::ShowSecrets))
        else {
            return Cow::Borrowed(first);
        };
        let mut redacted = Vec::new();
        let mut done = 0;
        for found in patterns.find_iter(bytes).take_while(|found| found.start() < first.len()) {
            redacted.extend_from_slice(bytes.get(done..found.start()).unwrap_or_default());
            redacted.extend_from_slice(REDACTED);
            done = found.end();
        }
        if done == 0 {
            return Cow::Borrowed(first);
        }
        redacted.extend_from_slice(first.get(done..).unwrap_or_default());
        Cow::Owned(redacted)
    }
}

impl fmt::Debug for Redactor {
    /// Without what it looks for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}
