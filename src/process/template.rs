//! Words of a command with places for what is known when it is run.

use serde::{Deserialize, Serialize};

use crate::{ExternalId, SessionId};

/// A word of a command in which `{session_id}` and `{external_id}` stand for those of the session, and
/// `{{` and `}}` for braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    SessionId,
    ExternalId,
}

impl Template {
    /// The word as it was written.
    pub(super) const fn text(&self) -> &String {
        &self.text
    }

    /// The word with everything in its place. `None` where there is no external id and it asks for one.
    pub(super) fn fill(&self, session: SessionId, external: Option<&ExternalId>) -> Option<String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::SessionId => filled.push_str(&session.to_string()),
                Part::ExternalId => filled.push_str(external?.as_str()),
            }
        }
        Some(filled)
    }
}

impl TryFrom<String> for Template {
    type Error = InvalidTemplate;

    fn try_from(text: String) -> Result<Self, InvalidTemplate> {
        let parts = parse(&text)?;
        Ok(Self { text, parts })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

fn parse(text: &str) -> Result<Vec<Part>, InvalidTemplate> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        plain.push_str(before);
        if let Some(after) = brace.strip_prefix("{{") {
            plain.push('{');
            rest = after;
        } else if let Some(after) = brace.strip_prefix("}}") {
            plain.push('}');
            rest = after;
        } else {
            let (name, after) = brace
                .strip_prefix('{')
                .and_then(|named| named.split_once('}'))
                .ok_or_else(|| InvalidTemplate::Brace { text: text.to_owned() })?;
            let part = match name {
                "session_id" => Part::SessionId,
                "external_id" => Part::ExternalId,
                other => return Err(InvalidTemplate::Unknown { placeholder: other.to_owned() }),
            };
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(part);
            rest = after;
        }
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    Ok(parts)
}

/// A word of a command that cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTemplate {
    /// It names something that there is not.
    #[error("{{{placeholder}}} is unknown; there are {{session_id}} and {{external_id}}")]
    Unknown {
        /// What is in the braces.
        placeholder: String,
    },
    /// A brace has no other.
    #[error("a brace in {text:?} has no other; {{{{ and }}}} stand for braces")]
    Brace {
        /// The word.
        text: String,
    },
}
