//! Panics: those that were planned are quiet, all others are remembered.

use std::{cell::RefCell, sync::Once};

thread_local! {
    static UNPLANNED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From now on the panics of this thread are looked at.
pub(super) fn begin() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            let looked_at = UNPLANNED.with(|unplanned| match &mut *unplanned.borrow_mut() {
                Some(_) if text.contains("told to panic") => true,
                Some(unplanned) => {
                    unplanned.push(text);
                    true
                }
                None => false,
            });
            if !looked_at {
                before(info);
            }
        }));
    });
    UNPLANNED.with(|unplanned| *unplanned.borrow_mut() = Some(Vec::new()));
}

/// The panics that nobody planned.
pub(super) fn unplanned() -> Vec<String> {
    UNPLANNED.with(|unplanned| unplanned.borrow_mut().take()).unwrap_or_default()
}
