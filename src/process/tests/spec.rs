use super::super::{
    spec::{OnPause, ProcessSpec, Silence, Stdin, Value},
    template::{InvalidTemplate, Template},
};
use crate::{ExternalId, Limit, SessionId};

#[test]
fn a_spec_comes_back_from_json_as_it_went() {
    let spec = ProcessSpec::builder("agent")
        .args(["--json", "now"])
        .folder("/srv")
        .env("LANG", "C")
        .env("KEY", Value::secret("agent_key"))
        .stdin(Stdin::Open)
        .terminal(24, 80)
        .success_codes([0, 2])
        .resume(["agent", "--resume={external_id}"])
        .and_then(|spec| spec.on_pause(OnPause::Freeze(Limit::Never)).silence(Silence::Ok).build())
        .expect("a valid spec");
    let json = serde_json::to_string(&spec).expect("a spec can be stored");
    assert_eq!(serde_json::from_str::<ProcessSpec>(&json).ok(), Some(spec), "{json}");
}

#[test]
fn a_spec_is_checked_however_it_comes() {
    for (json, expected) in [
        (r#"{"program":""}"#, "program is empty"),
        (r#"{"program":"a","args":["\u0000"]}"#, "NUL"),
        (r#"{"program":"a","environment":{"set":{"A=B":"c"}}}"#, "environment variable"),
        (r#"{"program":"a","success_codes":[]}"#, "success_codes is empty"),
        (r#"{"program":"a","resume":["{what}"]}"#, "{what} is unknown"),
        (r#"{"program":"a","stop_grace":"soon"}"#, "invalid duration"),
        (r#"{"program":"a","argz":[]}"#, "unknown field"),
    ] {
        let error = serde_json::from_str::<ProcessSpec>(json).expect_err(json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn a_template_is_filled() {
    let session = SessionId::from_uuid(uuid::Uuid::nil());
    let external = ExternalId::new("agent-7").expect("a valid id");
    let fill = |text: &str, external: Option<&ExternalId>| {
        Template::try_from(text.to_owned()).map(|template| template.fill(session, external))
    };
    let filled = fill("{external_id} of {session_id}, {{}}", Some(&external));
    assert_eq!(filled, Ok(Some(format!("agent-7 of {session}, {{}}"))));
    assert_eq!(fill("{external_id}", None), Ok(None));
    assert_eq!(fill("plain", None), Ok(Some("plain".to_owned())));
    let unknown = InvalidTemplate::Unknown { placeholder: "id".to_owned() };
    assert_eq!(fill("{id}", None), Err(unknown));
    for text in ["{", "}", "a { b", "{external_id"] {
        let brace = InvalidTemplate::Brace { text: text.to_owned() };
        assert_eq!(fill(text, None), Err(brace), "{text}");
    }
}
