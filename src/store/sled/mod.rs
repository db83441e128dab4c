/// placeholder
#[derive(Debug)]
pub struct SledStore;
/// placeholder
#[derive(Debug)]
pub struct SledOptions;
/// placeholder
#[derive(Debug)]
pub enum Durability {}
/// placeholder
#[derive(Debug)]
pub enum OnDamage {}
