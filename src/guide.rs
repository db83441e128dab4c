//! Whole integrations that compile, and what the compiler says where one does not.

#[doc = include_str!("../docs/guide/job-processor.md")]
pub mod job_processor {}

#[doc = include_str!("../docs/guide/session-server.md")]
pub mod session_server {}

#[doc = include_str!("../docs/guide/coordinator.md")]
pub mod coordinator {}

#[doc = include_str!("../docs/guide/clear.md")]
pub mod clear {}

#[doc = include_str!("../docs/guide/compiler-errors.md")]
pub mod compiler_errors {}
