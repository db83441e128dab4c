use tempfile::TempDir;
use uuid::Uuid;

use super::*;

#[test]
fn a_part_that_cannot_be_read_at_all_is_noted_and_given_up() {
    let folder = TempDir::new().expect("a folder");
    let engine = Engine::open(folder.path(), CACHE, Arc::default());
    let mut engine = engine.expect("open");
    engine.break_trees();
    let session = SessionId::from_uuid(Uuid::from_u128(1));
    // Numbers can be counted on from; other keys cannot.
    for table in [Table::Events, Table::InputIds] {
        rows(&engine, table, session, &mut |_, _| unreachable!("nothing can be read"))
            .expect("it goes on with the next part");
    }
    let noted: Vec<_> = engine.damages.all().into_iter().map(|damage| damage.session).collect();
    assert_eq!(noted, [Some(session)]);
}
