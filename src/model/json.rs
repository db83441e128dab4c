//! How everything of a user's becomes JSON: never so deep that it could not be read again, and in
//! no more memory than it may have.

use std::{
    io::{self, Write},
    sync::Arc,
};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::labels::MAX_NESTING;

/// Encodes a value.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    to_vec_within(value, usize::MAX).map(|encoded| encoded.kept)
}

/// A value as JSON, or why it has none.
pub(crate) type Encoded = Result<Vec<u8>, Arc<dyn std::error::Error + Send + Sync>>;

/// Encodes a value for later, when its error is told with the session that it was for.
pub(crate) fn encode<T: Serialize>(value: &T) -> Encoded {
    match to_vec(value) {
        Ok(encoded) => Ok(encoded),
        Err(error) => Err(Arc::new(error)),
    }
}

/// A value as JSON, as far as its limit allowed.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    /// The whole, or nothing of it if that is more than the limit.
    pub(crate) kept: Vec<u8>,
    /// How many bytes the whole has.
    pub(crate) bytes: usize,
    limit: usize,
}

/// Encodes a value, and keeps the result only if it has at most `limit` bytes.
pub(crate) fn to_vec_within<T: Serialize + ?Sized>(
    value: &T,
    limit: usize,
) -> serde_json::Result<Limited> {
    let mut encoded = Limited { limit, ..Limited::default() };
    value.serialize(&mut Serializer::with_formatter(&mut encoded, Shallow::default()))?;
    Ok(encoded)
}

impl Limited {
    /// Whether it has more bytes than it may.
    pub(crate) fn is_too_large(&self) -> bool {
        self.bytes > self.limit
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.is_too_large() {
            // Only counted from here on.
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compact JSON that is refused where it gets too deep, before the encoder runs out of stack.
#[derive(Default)]
struct Shallow {
    depth: usize,
}

impl Shallow {
    fn enter<W: Write + ?Sized>(&mut self, writer: &mut W, with: &[u8]) -> io::Result<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            let why = format!("nested more than {MAX_NESTING} deep");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        writer.write_all(with)
    }

    fn leave<W: Write + ?Sized>(&mut self, writer: &mut W, with: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(with)
    }
}

impl Formatter for Shallow {
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter(writer, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.leave(writer, b"]")
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter(writer, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.leave(writer, b"}")
    }
}
