use std::io::ErrorKind;

use super::*;

fn failed(kind: ErrorKind) -> Error {
    Error::Io(io::Error::from(kind))
}

#[test]
fn what_the_files_hold_can_be_damaged_and_what_the_system_refuses_is_not() {
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::InvalidData, ErrorKind::InvalidInput] {
        let error = classify(failed(kind));
        assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
    }
    for kind in [ErrorKind::PermissionDenied, ErrorKind::StorageFull, ErrorKind::Other] {
        let error = classify(failed(kind));
        assert!(matches!(error, OpenError::Io(_)), "{error:?}");
    }
    let error = classify(Error::ReportableBug("a page is gone".to_owned()));
    assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
    let error = classify(Error::Unsupported("a flag".to_owned()));
    assert!(matches!(error, OpenError::System(_)), "{error:?}");
}

#[test]
fn only_a_device_that_failed_leaves_doubt() {
    let doubts = |error| leaves_doubt(&StoreError::unavailable("flushing failed", error));
    assert!(doubts(failed(ErrorKind::Other)));
    assert!(!doubts(failed(ErrorKind::StorageFull)), "it refused before");
    assert!(!doubts(Error::Unsupported("a flag".to_owned())));
    let synced = SyncFailed(ErrorKind::StorageFull.into());
    assert!(leaves_doubt(&StoreError::unavailable("syncing failed", synced)));
    assert!(!leaves_doubt(&StoreError::unavailable("writing panicked", "a reason".to_owned())));
}
