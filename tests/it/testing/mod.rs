//! The test kit for users keeps its own word: a test that it passes or fails is passed or failed
//! for a reason.

mod broken_stores;
mod faulty;
mod harness;
mod sweep;

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap()
}
