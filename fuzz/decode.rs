//! Gives a decoder whatever the fuzzer thinks of: `.ci/fuzz` runs it for each of them.
//!
//! The decoders and what is checked of them are in `src/fuzzing`. Here their memory is bounded: an
//! allocation that a small input has no right to fails, which ends the process and is a finding.
#![no_main]

use std::{alloc::System, env, sync::LazyLock};

use cap::Cap;
use libfuzzer_sys::fuzz_target;
use sessionkeeper::fuzzing::{TARGETS, Target};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// How many bytes of memory one byte of input may take: much JSON is many small values.
const PER_BYTE: usize = 512;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("DECODER").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    found.unwrap_or_else(|| panic!("DECODER is {name:?} and must be one of {names:?}"))
});

fuzz_target!(|bytes: &[u8]| {
    let target = *TARGET;
    let allowed = target.memory + PER_BYTE * bytes.len();
    MEMORY.set_limit(MEMORY.allocated() + allowed).expect("a limit above what is allocated");
    (target.check)(bytes);
    MEMORY.set_limit(usize::MAX).expect("no limit");
});
