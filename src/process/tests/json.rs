use serde_json::{Map, Value, json};

use super::super::json::{MapJson, Mapped, StreamJson};
use crate::{Event, FileAction, Usage};

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).expect("an object")
}

fn map(mapper: &mut StreamJson, value: Value) -> Mapped {
    mapper.map(&object(value)).expect("it is known")
}

#[test]
fn an_agent_says_who_it_is_what_it_did_and_what_it_cost() {
    let mut agent = StreamJson::default();
    let begun = map(&mut agent, json!({"type": "system", "subtype": "init", "session_id": "a7"}));
    assert_eq!(begun.external_id.as_ref().map(|id| id.as_str()), Some("a7"));
    let round = json!({"type": "assistant", "message": {"content": [
        {"type": "text", "text": "I edit it."},
        {"type": "tool_use", "name": "Edit", "input": {"file_path": "src/lib.rs"}},
        {"type": "tool_use", "name": "Bash", "input": {"command": "make"}},
    ]}});
    let events = map(&mut agent, round).events;
    assert_eq!(
        events,
        [
            Event::thinking(1, ["Edit", "Bash"]),
            Event::file_change("src/lib.rs", FileAction::Modified),
            Event::custom("message", "I edit it."),
        ]
    );
    let result = json!({"type": "result", "is_error": false, "result": "done",
        "usage": {"input_tokens": 5, "output_tokens": 7}});
    let done = map(&mut agent, result);
    assert!(done.ends_turn);
    assert_eq!(done.events, [Event::completion("done")]);
    assert_eq!(done.usage, Some(Usage::tokens(5, 7)));
    let failed = map(&mut agent, json!({"type": "result", "is_error": true, "result": "no"}));
    assert_eq!(failed.events, [Event::error("no")]);
}

#[test]
fn what_is_unknown_is_not_guessed() {
    let mut agent = StreamJson::default();
    for unknown in [
        json!({}),
        json!({"type": 1}),
        json!({"type": "rate_limit_event"}),
        json!({"type": "system"}),
        json!({"type": "assistant", "message": "none"}),
    ] {
        assert!(agent.map(&object(unknown.clone())).is_none(), "{unknown}");
    }
}
