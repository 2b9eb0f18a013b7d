//! What a process of this machine has used, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time of all threads that live, by the scheduler's own clock.
pub fn cpu(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("no process {pid}"))?;
    let mut nanos = 0;
    for task in tasks {
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? << 10)
}

/// Bytes received and sent so far on the network devices of the process's namespace, but for
/// loopback.
pub fn traffic(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev"))?;
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, counts)) = line.split_once(':') else { continue };
        let mut counts = counts.split_whitespace().map_while(|count| count.parse::<u64>().ok());
        if name.trim() != "lo" {
            sum.0 += counts.next().unwrap_or(0);
            sum.1 += counts.nth(7).unwrap_or(0);
        }
    }
    Ok(sum)
}
