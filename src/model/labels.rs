//! What callers write on a session: indexed labels and free metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Free JSON on a session; not indexed, and nested no deeper than [`MAX_NESTING`].
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// How deep JSON may be nested: states, inputs, the metadata of a session, and the data of its
/// events. What is nested deeper than a reader of JSON goes could be stored and never be read again.
pub const MAX_NESTING: usize = 100;

/// Whether a value is nested no deeper than this.
pub(crate) fn is_nested_within(levels: usize, value: &Value) -> bool {
    let inside = |value| is_nested_within(levels - 1, value);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(list) => levels > 0 && list.iter().all(inside),
        Value::Object(map) => levels > 0 && map.values().all(inside),
    }
}

/// Whether metadata is nested deeper than [`MAX_NESTING`].
pub(crate) fn is_too_deep(metadata: &Metadata) -> bool {
    // The metadata itself is the first level.
    !metadata.values().all(|value| is_nested_within(MAX_NESTING - 1, value))
}

/// Indexed key-value pairs on a session, at most [`Labels::MAX`] of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The most labels a session may carry.
    pub const MAX: usize = 8;
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = 64;
    /// The longest value, in bytes.
    pub const MAX_VALUE: usize = 256;

    /// Checks and takes pairs; a later value of the same key replaces the earlier.
    ///
    /// # Errors
    /// [`InvalidLabels`] says which rule was broken.
    pub fn new<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, InvalidLabels> {
        let map: BTreeMap<String, String> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if map.len() > Self::MAX {
            return Err(InvalidLabels::TooMany { count: map.len() });
        }
        for (key, value) in &map {
            let bad =
                |text: &str, max: usize| text.len() > max || text.chars().any(char::is_control);
            if key.is_empty() || bad(key, Self::MAX_KEY) {
                return Err(InvalidLabels::Key { key: key.chars().take(40).collect() });
            }
            if bad(value, Self::MAX_VALUE) {
                return Err(InvalidLabels::Value { key: key.clone() });
            }
        }
        Ok(Self(map))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = InvalidLabels;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        Self::new(map)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// Labels that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLabels {
    /// More than [`Labels::MAX`].
    #[error(
        "{count} labels, where at most {} are allowed; put the rest into the metadata",
        Labels::MAX
    )]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// A key that is empty, too long or has control characters.
    #[error("invalid label key {key:?}: 1 to {} bytes without control characters", Labels::MAX_KEY)]
    Key {
        /// The beginning of the key.
        key: String,
    },
    /// A value that is too long or has control characters.
    #[error(
        "invalid value of label {key:?}: at most {} bytes without control characters",
        Labels::MAX_VALUE
    )]
    Value {
        /// The key.
        key: String,
    },
}
