use std::sync::Arc;

use super::super::{
    lines::{Flaws, Lines, Text},
    secrets::Redactor,
};

const LONGEST: usize = 16;

/// What these reads come to.
fn read(secrets: &[&str], reads: &[&[u8]]) -> Text {
    let mut lines = Lines::new(Arc::new(Redactor::new(secrets.iter().copied())), LONGEST);
    let mut text = Text::default();
    for bytes in reads {
        lines.push(bytes, &mut text);
    }
    lines.finish(&mut text);
    text
}

/// Checks what bytes come to, wherever they are split into two reads.
fn check(secrets: &[&str], bytes: &[u8], expected: &str, flaws: Flaws) {
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        let text = read(secrets, &[first, second]);
        assert_eq!(text.text, expected, "split at {at}");
        assert_eq!(text.lines, expected.lines().count() as u64, "split at {at}");
        assert_eq!(text.flaws, flaws, "split at {at}");
    }
    let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(secrets, &one_by_one).text, expected);
}

const NONE: Flaws = Flaws { replaced: 0, cut: 0 };
const CUT: Flaws = Flaws { replaced: 0, cut: 1 };
const REPLACED: Flaws = Flaws { replaced: 1, cut: 0 };

#[test]
fn lines_are_whole_wherever_they_are_split() {
    check(&[], b"", "", NONE);
    check(&[], b"one\ntwo\n", "one\ntwo\n", NONE);
    check(&[], b"one\r\n\r\ntwo", "one\n\ntwo\n", NONE);
    check(&[], "a\u{1f600}b\n".as_bytes(), "a\u{1f600}b\n", NONE);
}

#[test]
fn what_is_no_utf8_is_replaced_and_counted() {
    check(&[], b"a\xffb\nc\n", "a\u{fffd}b\nc\n", REPLACED);
    check(&[], b"\xf0\x9f\x98\n", "\u{fffd}\n", REPLACED);
}

#[test]
fn what_is_too_long_is_cut_and_marked() {
    check(&[], b"0123456789abcdef\n", "0123456789abcdef\n", NONE);
    check(&[], b"0123456789abcdefgh\nx\n", "0123456789abcdef [2 bytes cut]\nx\n", CUT);
    // The character at the cut is left away whole.
    let line = "0123456789abcde\u{e9}\n";
    check(&[], line.as_bytes(), "0123456789abcde [1 bytes cut]\n", CUT);
}

#[test]
fn secrets_are_replaced_wherever_they_are_split() {
    check(&["pass"], b"a pass b\n", "a [redacted] b\n", NONE);
    check(&["pass"], b"passpass\n", "[redacted][redacted]\n", NONE);
    check(&["pass", "password"], b"password\n", "[redacted]\n", NONE);
    check(&["a\"b"], b"{\"a\\\"b\"}\n", "{\"[redacted]\"}\n", NONE);
    check(&["first\nsecond"], b"x first\n", "x [redacted]\n", NONE);
}

#[test]
fn a_secret_at_the_cut_is_replaced_too() {
    for before in 10..LONGEST {
        let line = format!("{}password and more\n", "x".repeat(before));
        let text = read(&["password"], &[line.as_bytes()]).text;
        assert!(text.contains("[redacted]") && !text.contains("pas"), "{before}: {text}");
    }
}
