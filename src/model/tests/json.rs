use serde::Serialize;
use serde_json::{Value, json};

use crate::model::{
    json::{to_vec, to_vec_within},
    labels::MAX_NESTING,
};

fn nested(depth: usize) -> Value {
    (0..depth).fold(
        json!(1),
        |inner, level| {
            if level % 2 == 0 { json!([inner]) } else { json!({ "in": inner }) }
        },
    )
}

#[test]
fn what_is_encoded_is_what_serde_json_encodes() {
    let value = json!({ "a": [1, 2.5, null, "ä\n\"", {}], "b": { "c": [[], [[]]] } });
    assert_eq!(to_vec(&value).unwrap(), serde_json::to_vec(&value).unwrap());
    assert_eq!(to_vec("text").unwrap(), b"\"text\"");
}

#[test]
fn what_is_as_deep_as_allowed_can_be_read_again_and_nothing_is_deeper() {
    let deepest = nested(MAX_NESTING);
    let encoded = to_vec(&deepest).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&encoded).unwrap(), deepest);
    // What the library puts around it leaves it readable.
    let wrapped = (0..27).fold(encoded, |inner, _| [b"[", &*inner, b"]"].concat());
    serde_json::from_slice::<Value>(&wrapped).unwrap();
    let error = to_vec(&nested(MAX_NESTING + 1)).unwrap_err();
    assert!(error.to_string().contains("nested more than 100 deep"), "{error}");
}

#[test]
fn what_is_wide_is_not_deep() {
    let wide = json!({ "in": vec![nested(MAX_NESTING - 2); 3 * MAX_NESTING] });
    assert_eq!(to_vec(&wide).unwrap(), serde_json::to_vec(&wide).unwrap());
}

/// Nested without end: encoded to the end, it would take all of the stack.
struct Endless;

impl Serialize for Endless {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq([Self])
    }
}

#[test]
fn what_has_no_end_is_refused() {
    assert!(to_vec(&Endless).is_err());
}

#[test]
fn what_is_too_large_is_counted_and_not_kept() {
    let value = vec!["0123456789"; 100];
    let whole = serde_json::to_vec(&value).unwrap();
    for (limit, fits) in [(whole.len(), true), (whole.len() - 1, false), (0, false)] {
        let encoded = to_vec_within(&value, limit).unwrap();
        assert_eq!((encoded.bytes, encoded.is_too_large()), (whole.len(), !fits));
        assert_eq!(encoded.kept, if fits { whole.clone() } else { Vec::new() });
    }
    let encoded = to_vec_within(&value, 10).unwrap();
    assert_eq!(encoded.kept.capacity(), 0);
}
