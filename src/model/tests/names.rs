//! Ids, names and labels: what is taken, what is refused, and what the refusal says.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use uuid::Uuid;

use crate::model::{
    ids::{ExternalId, InputId, InvalidName, Kind, Name, RunId, SessionId, StartKey},
    labels::{InvalidLabels, Labels},
};

/// Checks one text against all ways in: `new` (through `FromStr`), and a stored form.
fn check<T>(text: &str, expected: Result<(), &str>)
where
    T: FromStr<Err = InvalidName> + Display + Serialize + DeserializeOwned,
{
    let shown: String = text.chars().take(20).collect();
    match (text.parse::<T>(), expected) {
        (Ok(taken), Ok(())) => {
            assert_eq!(taken.to_string(), text);
            assert_eq!(serde_json::to_value(&taken).unwrap(), json!(text));
        }
        (Err(error), Err(why)) => {
            let error = error.to_string();
            assert!(error.ends_with(why), "{shown:?}: {error}");
            assert!(error.len() < 250, "{shown:?}: a long error: {error}");
        }
        (Ok(_), Err(why)) => panic!("{shown:?} was taken, though {why}"),
        (Err(error), Ok(())) => panic!("{shown:?} was refused: {error}"),
    }
    assert_eq!(
        serde_json::from_value::<T>(json!(text)).is_ok(),
        expected.is_ok(),
        "{shown:?}: its stored form is judged by another rule"
    );
}

fn check_texts<T>(longest: usize, too_long: &str)
where
    T: FromStr<Err = InvalidName> + Display + Serialize + DeserializeOwned,
{
    check::<T>("a", Ok(()));
    check::<T>("tenant/42: Grüße 🦀", Ok(()));
    check::<T>(" ", Ok(()));
    check::<T>(&"x".repeat(longest), Ok(()));
    check::<T>(&"x".repeat(longest + 1), Err(too_long));
    // The limit counts bytes: this has half as many letters.
    check::<T>(&"ü".repeat(longest / 2), Ok(()));
    check::<T>(&"ü".repeat(longest / 2 + 1), Err(too_long));
    check::<T>("", Err("empty"));
    for control in ['\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}'] {
        check::<T>(&format!("a{control}b"), Err("has a control character"));
    }
}

#[test]
fn names_are_short_texts_without_control_characters() {
    check_texts::<Kind>(64, "longer than 64 bytes");
    check_texts::<Name>(256, "longer than 256 bytes");
    check_texts::<ExternalId>(512, "longer than 512 bytes");
    check_texts::<StartKey>(256, "longer than 256 bytes");
    check_texts::<InputId>(256, "longer than 256 bytes");
}

#[test]
fn the_error_of_a_name_says_which_name_it_is() {
    assert_eq!(Kind::new("").unwrap_err().to_string(), r#"invalid Kind "": empty"#);
    assert_eq!(
        StartKey::new("a\nb").unwrap_err().to_string(),
        r#"invalid StartKey "a\nb": has a control character"#
    );
}

#[test]
fn ids_are_uuids() {
    let text = "01890a5d-ac96-774b-bcce-b302099a8057";
    check::<SessionId>(text, Ok(()));
    check::<RunId>(text, Ok(()));
    for wrong in ["", "7", "01890a5d", "not-a-uuid", &"f".repeat(1000)] {
        check::<SessionId>(wrong, Err("not a UUID"));
    }
    let id: SessionId = text.parse().unwrap();
    assert_eq!(format!("{id:?}"), format!("SessionId({text})"));
    assert_eq!(SessionId::from_uuid(id.as_uuid()), id);
}

#[test]
fn ids_are_ordered_as_their_uuids_are() {
    let ids: Vec<SessionId> = [0, 1, u128::from(u64::MAX), u128::MAX]
        .map(|number| SessionId::from_uuid(Uuid::from_u128(number)))
        .into();
    assert!(ids.is_sorted_by(|one, next| one < next));
}

#[derive(Debug)]
enum Judged {
    Taken,
    TooMany,
    BadKey,
    BadValue,
}

fn check_labels(pairs: Vec<(String, String)>, expected: Judged) {
    let found = Labels::new(pairs.clone());
    let as_expected = match &expected {
        Judged::Taken => found.is_ok(),
        Judged::TooMany => matches!(found, Err(InvalidLabels::TooMany { count: 9 })),
        Judged::BadKey => matches!(found, Err(InvalidLabels::Key { .. })),
        Judged::BadValue => matches!(found, Err(InvalidLabels::Value { .. })),
    };
    assert!(as_expected, "{pairs:?}: {found:?}, expected {expected:?}");
    let stored: BTreeMap<_, _> = pairs.into_iter().collect();
    assert_eq!(
        serde_json::from_value::<Labels>(json!(stored)).is_ok(),
        matches!(expected, Judged::Taken),
        "{stored:?}: its stored form is judged by another rule"
    );
}

#[test]
fn labels_are_few_and_short() {
    let one = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let many = |count: u32| {
        (0..count).map(|number| (number.to_string(), String::new())).collect::<Vec<_>>()
    };
    check_labels(many(0), Judged::Taken);
    check_labels(many(8), Judged::Taken);
    check_labels(many(9), Judged::TooMany);
    check_labels(one("repo", ""), Judged::Taken);
    check_labels(one(&"k".repeat(64), &"v".repeat(256)), Judged::Taken);
    check_labels(one("", "value"), Judged::BadKey);
    check_labels(one(&"k".repeat(65), "value"), Judged::BadKey);
    check_labels(one("a\nb", "value"), Judged::BadKey);
    check_labels(one("repo", &"v".repeat(257)), Judged::BadValue);
    check_labels(one("repo", "a\0b"), Judged::BadValue);
}

#[test]
fn a_later_label_of_the_same_key_replaces_the_earlier() {
    let labels = Labels::new([("repo", "old"), ("team", "core"), ("repo", "new")]).unwrap();
    assert_eq!(labels.get("repo"), Some("new"));
    assert_eq!(labels.get("branch"), None);
    let pairs: Vec<_> = labels.iter().collect();
    assert_eq!(pairs, [("repo", "new"), ("team", "core")]);
    let nine_of_one_key = (0..9).map(|number| ("repo", number.to_string()));
    assert_eq!(Labels::new(nine_of_one_key).unwrap().get("repo"), Some("8"));
}

#[test]
fn the_error_of_labels_says_what_to_do() {
    let nine = (0..9).map(|number| (number.to_string(), "x"));
    assert_eq!(
        Labels::new(nine).unwrap_err().to_string(),
        "9 labels, where at most 8 are allowed; put the rest into the metadata"
    );
    let long = Labels::new([("k".repeat(10_000), "x")]).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
}
