use serde_json::{Value, json};

use crate::model::labels::{MAX_NESTING, Metadata, is_nested_within, is_too_deep};

#[test]
fn only_lists_and_maps_have_depth() {
    for value in [json!(null), json!(true), json!(1), json!("text")] {
        assert!(is_nested_within(0, &value), "{value}");
    }
    for value in [json!([]), json!({})] {
        assert!(!is_nested_within(0, &value), "{value}");
        assert!(is_nested_within(1, &value), "{value}");
    }
}

#[test]
fn the_deepest_place_counts_wherever_it_is() {
    for value in [json!([1, [2], [[3]]]), json!({ "a": [], "b": { "c": [] } }), json!([[[]], 1])] {
        assert!(!is_nested_within(2, &value), "{value}");
        assert!(is_nested_within(3, &value), "{value}");
    }
}

#[test]
fn metadata_is_the_first_of_its_levels() {
    let lists = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let within = |value: Value| Metadata::from_iter([("key".to_owned(), value)]);
    assert!(!is_too_deep(&within(lists(MAX_NESTING - 1))));
    assert!(is_too_deep(&within(lists(MAX_NESTING))));
}
