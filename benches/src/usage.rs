//! What a process of this machine has used, from `/proc`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time of all threads that live, by the scheduler's own clock.
pub fn cpu(pid: u32) -> Result<Duration> {
    Ok(threads(pid)?.values().sum())
}

/// The same of threads whose name begins so.
pub fn cpu_of(pid: u32, name: &str) -> Result<Duration> {
    let named = |thread: &OsString| {
        let path = Path::new("/proc").join(pid.to_string()).join("task").join(thread).join("comm");
        fs::read_to_string(path).is_ok_and(|comm| comm.starts_with(name))
    };
    let threads = threads(pid)?;
    Ok(threads.iter().filter(|(thread, _)| named(thread)).map(|(_, used)| *used).sum())
}

/// Processor time of each thread that lives.
pub fn threads(pid: u32) -> Result<HashMap<OsString, Duration>> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("no process {pid}"))?;
    let mut threads = HashMap::new();
    for task in tasks {
        let task = task?;
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let nanos = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
        threads.insert(task.file_name(), Duration::from_nanos(nanos.unwrap_or(0)));
    }
    Ok(threads)
}

/// What threads used since `before`. What one used that has ended is not known.
pub fn since(before: &HashMap<OsString, Duration>, now: &HashMap<OsString, Duration>) -> Duration {
    let used = |(thread, now): (&OsString, &Duration)| {
        now.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    now.iter().map(used).sum()
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
