//! The time zone of a worker changes nothing.

use sessionkeeper::store::{Query, SledStore, Store};

use super::{
    chain::{Chain, Story},
    child::Work,
};

/// From one end of the world to the other, and one that nobody knows.
const ZONES: [&str; 5] =
    ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu", "Nowhere/At_All"];

#[tokio::test]
async fn g2_workers_in_different_time_zones_see_the_same_sessions_and_times() {
    const TEST: &str = "g2_workers_in_different_time_zones_see_the_same_sessions_and_times";
    let story = Story::new(TEST, "SESSIONKEEPER_ZONES", ZONES.len() as u64);
    let mut rng = story.rng();
    let mut chain = Chain::new(story);
    for zone in ZONES {
        let work = Work { steps: 5, ..chain.next(&mut rng) };
        let mut child = chain.spawn_with(&work, |command| command.env("TZ", zone));
        child.ended().await;
        chain = chain.keep(&work, &child);
    }
    let store = SledStore::open(chain.store()).unwrap();
    let records = store.list(Query { limit: 1000, ..Query::default() }).await.unwrap().records;
    assert!(!records.is_empty());
    let mut times = Vec::new();
    for record in records {
        times.extend([record.created_at, record.updated_at]);
        times.extend(record.history.iter().map(|moved| moved.at));
        let events = store.events(record.id, 1..=u64::MAX, usize::MAX).await.unwrap();
        times.extend(events.iter().map(|event| event.at));
    }
    let span = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    // The zones are a quarter of an hour apart, at the least.
    assert!(span < chrono::TimeDelta::minutes(10), "{span}");
    drop(store);
    chain.close(&mut rng).await;
}
