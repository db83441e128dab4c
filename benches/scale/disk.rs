//! What the kernel says about this process and its files.

use std::{fs, path::Path};

use anyhow::Context;

/// The resident memory of this process, in bytes.
pub(crate) fn resident() -> anyhow::Result<f64> {
    Ok(field("/proc/self/status", "VmRSS:")? * 1024.0)
}

/// The bytes that this process has handed to the system for its disks.
pub(crate) fn written() -> anyhow::Result<f64> {
    field("/proc/self/io", "wchar:")
}

fn field(path: &str, name: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(path).context("needs Linux")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("{path} has no {name}"))?.parse()?)
}

/// The bytes that a folder takes on its disk.
pub(crate) fn taken(folder: &Path) -> anyhow::Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0.0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            bytes += taken(&entry.path())?;
        } else {
            bytes += meta.blocks() as f64 * 512.0;
        }
    }
    Ok(bytes)
}
