//! CPU quotas by control groups of either version: how a process is held to a share of a core.
//!
//! The kernel gives a group its quota anew each period and stops it for the rest once it is used
//! up. A period of 20 ms keeps these stops shorter than what nodes take for a failure; a quota of
//! less than 4 ms a period is kept less exactly, because the kernel looks every 4 ms only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::undo::Undo;

const PREFIX: &str = "izna-bench-";
const PERIOD_US: f64 = 20_000.0;
const QUOTA_US_MIN: f64 = 1_000.0;
/// How long the processes of a group may take to be gone once they are killed.
const EMPTY_AFTER: Duration = Duration::from_secs(5);

/// The two kinds of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The group around all groups of this run. Dropping it removes it.
#[derive(Debug)]
pub struct Quotas {
    path: PathBuf,
    version: Version,
    _undo: Undo,
}

/// A group with a quota. Dropping it kills what is in it and removes it.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    version: Version,
    _undo: Undo,
}

/// What the kernel has done to a group so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Periods in which it ran.
    pub periods: u64,
    /// Periods at whose end it was stopped.
    pub stopped: u64,
}

impl Quotas {
    /// The group of this run; an error that says why there can be none.
    pub fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        let (version, base) = hierarchy(&mounts, |base| {
            let controllers = fs::read_to_string(base.join("cgroup.controllers"));
            controllers.is_ok_and(|text| text.split_whitespace().any(|name| name == "cpu"))
        })
        .context("no control groups with the CPU controller are mounted")?;
        sweep(&base);
        let number = unique();
        let path = base.join(format!("{PREFIX}{}-{number}", process::id()));
        let hint = "run as root, or where control groups may be written";
        fs::create_dir(&path).with_context(|| format!("cannot make {}: {hint}", path.display()))?;
        let undo = Undo::new({
            let path = path.clone();
            move || drop(remove(&path))
        });
        // Beside everything else on the machine: a group counts as one process by default.
        match version {
            Version::One => put(&path, "cpu.shares", "262144")?,
            Version::Two => {
                put(&base, "cgroup.subtree_control", "+cpu")?;
                put(&path, "cgroup.subtree_control", "+cpu")?;
                put(&path, "cpu.weight", "10000")?;
            }
        }
        Ok(Self { path, version, _undo: undo })
    }

    /// A group that may use so many cores, such as 0.2.
    pub fn group(&self, name: &str, cores: f64) -> Result<Group> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let undo = Undo::new({
            let path = path.clone();
            move || drop(remove(&path))
        });
        let group = Group { path, version: self.version, _undo: undo };
        group.limit(cores)?;
        Ok(group)
    }
}

impl Group {
    /// Change the quota.
    pub fn limit(&self, cores: f64) -> Result<()> {
        let quota_us = cores * PERIOD_US;
        if quota_us < QUOTA_US_MIN {
            let least = QUOTA_US_MIN / PERIOD_US;
            bail!("a quota of {cores} cores is below the kernel's least of {least}");
        }
        match self.version {
            // The period first: the quota is checked against it.
            Version::One => {
                put(&self.path, "cpu.cfs_period_us", &format!("{PERIOD_US:.0}"))?;
                put(&self.path, "cpu.cfs_quota_us", &format!("{quota_us:.0}"))
            }
            Version::Two => put(&self.path, "cpu.max", &format!("{quota_us:.0} {PERIOD_US:.0}")),
        }
    }

    /// Words to put before a command that is to run in this group from its first instruction.
    pub fn wrapper(&self) -> Vec<String> {
        let procs = self.path.join("cgroup.procs").to_string_lossy().into_owned();
        let script = r#"echo $$ >"$0" && exec "$@""#;
        ["sh", "-c", script, &procs].map(str::to_owned).to_vec()
    }

    /// How often it was stopped so far.
    pub fn throttled(&self) -> Throttled {
        let text = fs::read_to_string(self.path.join("cpu.stat")).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
        };
        Throttled { periods: field("nr_periods "), stopped: field("nr_throttled ") }
    }
}

/// The hierarchy with the CPU controller: an old one first, for where it is, the new one is without.
fn hierarchy(mounts: &str, has_cpu: impl Fn(&Path) -> bool) -> Option<(Version, PathBuf)> {
    let fields = |line: &str| {
        let mut words = line.split(' ').skip(1).map(str::to_owned);
        Some((PathBuf::from(words.next()?), words.next()?, words.next()?))
    };
    let mounts: Vec<_> = mounts.lines().filter_map(fields).collect();
    let old = mounts.iter().find(|(_, kind, options)| {
        kind == "cgroup" && options.split(',').any(|option| option == "cpu")
    });
    let new = mounts.iter().find(|(path, kind, _)| kind == "cgroup2" && has_cpu(path));
    let old = old.map(|(path, ..)| (Version::One, path.clone()));
    old.or_else(|| new.map(|(path, ..)| (Version::Two, path.clone())))
}

/// Remove what runs that were killed have left.
fn sweep(base: &Path) {
    let Ok(folders) = fs::read_dir(base) else { return };
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let groups = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            for group in groups.filter(|group| group.path().is_dir()) {
                let _ = remove(&group.path());
            }
            let _ = remove(&folder.path());
        }
    }
}

/// Whose run a group of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Kill what is in a group, and remove it.
fn remove(group: &Path) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let pids = fs::read_to_string(group.join("cgroup.procs"))?;
        for pid in pids.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                if begun.elapsed() > EMPTY_AFTER {
                    return Err(error);
                }
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn put(group: &Path, file: &str, text: &str) -> Result<()> {
    let path = group.join(file);
    fs::write(&path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

/// A number that nobody else in this process has.
pub(crate) fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, there are no quotas on machines that have them.
    #[test]
    fn either_version_is_found() {
        let old = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                   cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                   cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                   cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = hierarchy(old, |_| true).unwrap();
        assert_eq!(found, (Version::One, "/sys/fs/cgroup/cpu,cpuacct".into()));
        let new = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let found = hierarchy(new, |_| true).unwrap();
        assert_eq!(found, (Version::Two, "/sys/fs/cgroup".into()));
        assert_eq!(hierarchy(new, |_| false), None);
        assert_eq!(hierarchy("", |_| true), None);
    }

    /// If this fails, the groups of a run that goes on are removed, with the nodes in them.
    #[test]
    fn a_group_names_its_owner() {
        assert_eq!(owner("izna-bench-17-0"), Some(17));
        assert_eq!(owner("izna-bench-x"), None);
        assert_eq!(owner("somebody-else"), None);
    }

    /// If this fails, a process is not held to its quota, or is left behind.
    #[test]
    fn a_process_is_held_to_its_quota() {
        let quotas = crate::skipped::without("CPU quotas", Quotas::new());
        let Some(quotas) = quotas else { return };
        let group = quotas.group("spin", 0.2).unwrap();
        let mut words = group.wrapper().into_iter();
        let mut command = process::Command::new(words.next().unwrap());
        command.args(words).args(["sh", "-c", "while :; do :; done"]);
        let mut child = command.spawn().unwrap();
        let stopped = || (group.throttled().stopped > 20).then_some(());
        crate::wait::until("the group to be stopped", stopped).unwrap();
        let cpu = crate::usage::cpu(child.id()).unwrap();
        let allowed = group.throttled().periods as f64 * PERIOD_US / 1e6 * 0.2;
        assert!(cpu.as_secs_f64() < allowed * 1.5 + 0.05, "{cpu:?} of {allowed} s");
        let path = group.path.clone();
        drop(group);
        assert!(!path.exists());
        assert!(!child.wait().unwrap().success());
    }
}
