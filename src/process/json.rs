//! Agents that print a JSON object on each line.

use serde_json::{Map, Value};

use crate::{Event, ExternalId, FileAction, Usage};

/// Says what the objects mean that an agent prints.
///
/// Each program that is started has a clone of its own, so it may count.
///
/// ```
/// use sessionkeeper::{Event, process::{MapJson, Mapped}};
/// use serde_json::{Map, Value};
///
/// #[derive(Clone)]
/// struct MyAgent;
///
/// impl MapJson for MyAgent {
///     fn map(&mut self, object: &Map<String, Value>) -> Option<Mapped> {
///         match object.get("event")?.as_str()? {
///             "done" => Some(Mapped::event(Event::completion("done")).ends_turn()),
///             _ => None,
///         }
///     }
/// }
/// ```
pub trait MapJson: Clone + Send + Sync + 'static {
    /// What an object says. One that is unknown (`None`) becomes [`Event::Custom`] as it is.
    fn map(&mut self, object: &Map<String, Value>) -> Option<Mapped>;

    /// Whether the agent says when it is done with an input (default: it does not). Then an input stays in hand
    /// until [`Mapped::ends_turn`], so that it is given again to the next run if the worker is lost before that; and
    /// a program that waits for one is at rest. Else it is done when it is written.
    fn tells_turns(&self) -> bool {
        false
    }
}

/// What an object says.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Mapped {
    pub(super) events: Vec<Event>,
    pub(super) usage: Option<Usage>,
    pub(super) external_id: Option<ExternalId>,
    pub(super) ends_turn: bool,
}

impl Mapped {
    /// Nothing that is to be kept.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// An event.
    pub fn event(event: Event) -> Self {
        Self::nothing().and_event(event)
    }

    /// An event more.
    pub fn and_event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// What was used.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// The agent's own id of the session, for its resume command.
    pub fn external_id(mut self, id: ExternalId) -> Self {
        self.external_id = Some(id);
        self
    }

    /// The agent is done with the input.
    pub fn ends_turn(mut self) -> Self {
        self.ends_turn = true;
        self
    }
}

/// Maps nothing: each object becomes [`Event::Custom`] as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepJson;

impl MapJson for KeepJson {
    fn map(&mut self, _object: &Map<String, Value>) -> Option<Mapped> {
        None
    }
}

/// The objects of `--output-format stream-json`, as agent CLIs print them today: `system` with the agent's session
/// id, `assistant` with text and uses of tools, and `result` with what it cost.
#[derive(Debug, Clone, Default)]
pub struct StreamJson {
    /// How many rounds of thought there were in this turn.
    rounds: u64,
}

impl MapJson for StreamJson {
    fn map(&mut self, object: &Map<String, Value>) -> Option<Mapped> {
        match text(object, "type")? {
            "system" => {
                let id = ExternalId::new(text(object, "session_id")?).ok()?;
                Some(Mapped::nothing().external_id(id))
            }
            "assistant" => Some(self.round(object.get("message")?.as_object()?)),
            "result" => Some(self.result(object)),
            _ => None,
        }
    }

    fn tells_turns(&self) -> bool {
        true
    }
}

impl StreamJson {
    fn round(&mut self, message: &Map<String, Value>) -> Mapped {
        self.rounds += 1;
        let content = message.get("content").and_then(Value::as_array);
        let parts = || content.into_iter().flatten().filter_map(Value::as_object);
        let tools = || parts().filter(|part| text(part, "type") == Some("tool_use"));
        let names = tools().filter_map(|tool| text(tool, "name"));
        let mut mapped = Mapped::event(Event::thinking(self.rounds, names));
        for tool in tools() {
            if let Some((path, action)) = file_change(tool) {
                mapped = mapped.and_event(Event::file_change(path, action));
            }
        }
        let said: Vec<&str> = parts().filter_map(|part| text(part, "text")).collect();
        if !said.is_empty() {
            mapped = mapped.and_event(Event::custom("message", said.join("\n")));
        }
        mapped
    }

    fn result(&mut self, object: &Map<String, Value>) -> Mapped {
        self.rounds = 0;
        let message = text(object, "result").unwrap_or_default();
        let has_failed = object.get("is_error").and_then(Value::as_bool) == Some(true);
        let event = if has_failed { Event::error(message) } else { Event::completion(message) };
        let mut mapped = Mapped::event(event).ends_turn();
        if let Some(used) = object.get("usage").and_then(Value::as_object) {
            let count = |name: &str| used.get(name).and_then(Value::as_u64).unwrap_or(0);
            mapped = mapped.usage(Usage::tokens(count("input_tokens"), count("output_tokens")));
        }
        mapped
    }
}

/// The file that a tool touches, where it is one of the usual tools.
fn file_change(tool: &Map<String, Value>) -> Option<(String, FileAction)> {
    let action = match text(tool, "name")? {
        "Write" => FileAction::Created,
        "Edit" | "MultiEdit" => FileAction::Modified,
        _ => return None,
    };
    let path = text(tool.get("input")?.as_object()?, "file_path")?;
    Some((path.to_owned(), action))
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}
