//! What the `lifecycle` and `worker` examples share: a workload, and a way to show it at work.

pub(crate) mod folder_count;
pub(crate) mod follow;
pub(crate) mod screen;
