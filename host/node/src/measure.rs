//! What a node measures of itself: processors, memory, network. It reads a few small files of the
//! system, which stay open; where one is missing, that part is as on a machine without a limit.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use izna_core::Measurement;

/// The speed of a network interface that does not tell its own.
const MBITS_DEFAULT: u64 = 1000;
/// Every how many measurements limits and speeds are read again: they seldom change.
const RARELY: u32 = 20;
/// The system counts processor time in hundredths of a second, everywhere that Linux runs.
const TICK: Duration = Duration::from_millis(10);

/// Measures, each time since the time before.
#[derive(Debug)]
pub(crate) struct Gauge {
    root: PathBuf,
    count: u32,
    cores: f64,
    cpus: f64,
    memory_limit: Option<u64>,
    speeds: Vec<(String, u64)>,
    at: Instant,
    machine: Option<Machine>,
    own: Option<Duration>,
    network: Vec<(String, u64)>,
    stat: Option<File>,
    own_stat: Option<File>,
    memory: Option<File>,
    group_memory: Option<File>,
    devices: Option<File>,
    /// The directories of the control groups that this process is in, innermost first.
    groups: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    busy: u64,
    all: u64,
}

impl Gauge {
    pub(crate) fn new() -> Self {
        Self::at(Path::new("/"))
    }

    /// One that reads the files below `root`.
    fn at(root: &Path) -> Self {
        let open = |path: &str| File::open(root.join(path)).ok();
        let groups = groups(root);
        let memory_files = ["memory.current", "memory.usage_in_bytes"];
        let in_groups =
            |name: &str| groups.iter().find_map(|group| File::open(group.join(name)).ok());
        let mut gauge = Self {
            count: 0,
            cores: 1.0,
            cpus: 1.0,
            memory_limit: None,
            speeds: Vec::new(),
            at: Instant::now(),
            machine: None,
            own: None,
            network: Vec::new(),
            stat: open("proc/stat"),
            own_stat: open("proc/self/stat"),
            memory: open("proc/meminfo"),
            group_memory: memory_files.iter().find_map(|name| in_groups(name)),
            devices: open("proc/self/net/dev"),
            root: root.to_path_buf(),
            groups,
        };
        gauge.measure(Instant::now(), 0);
        gauge
    }

    /// The usable cores: a quota and an affinity count.
    pub(crate) fn cores(&self) -> f64 {
        self.cores
    }

    /// Measure what was used since the last time; so much waits in the links.
    pub(crate) fn measure(&mut self, now: Instant, unsent_bytes: usize) -> Measurement {
        if self.count.is_multiple_of(RARELY) {
            self.read_limits();
        }
        self.count = self.count.wrapping_add(1);
        let elapsed = now.saturating_duration_since(self.at);
        self.at = now;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let capacity_milli = (self.cores * 1000.0).round() as u32;
        let (cpu_permille, own) = self.cpu(elapsed);
        Measurement {
            capacity_milli,
            own_cpu_us: u64::try_from(own.as_micros()).unwrap_or(u64::MAX),
            cpu_permille,
            memory_permille: self.memory(),
            network_permille: self.network(elapsed),
            unsent_us: self.sending_us(unsent_bytes),
        }
    }

    /// How long the slowest device takes to send so much, in microseconds.
    fn sending_us(&self, bytes: usize) -> u32 {
        let slowest = self.speeds.iter().map(|(_, mbits)| *mbits).min();
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
        u32::try_from(bits / slowest.unwrap_or(MBITS_DEFAULT).max(1)).unwrap_or(u32::MAX)
    }

    /// The larger of two shares: of the machine that all use, and of the own quota that this
    /// process uses. With it, what this process used.
    fn cpu(&mut self, elapsed: Duration) -> (u16, Duration) {
        let machine = self.stat.as_ref().and_then(read).and_then(|text| machine(&text));
        let own = self.own_stat.as_ref().and_then(read).and_then(|text| own(&text));
        let of_machine = match (self.machine, machine) {
            (Some(old), Some(new)) if new.all > old.all => {
                permille(new.busy.saturating_sub(old.busy), new.all - old.all)
            }
            _ => 0,
        };
        let used = self.own.zip(own).map_or(Duration::ZERO, |(old, new)| new.saturating_sub(old));
        let of_quota = if elapsed.is_zero() {
            0
        } else {
            share(used.as_secs_f64() / (elapsed.as_secs_f64() * self.cores))
        };
        (self.machine, self.own) = (machine, own);
        (of_machine.max(of_quota), used)
    }

    fn memory(&self) -> u16 {
        let of_machine = self.memory.as_ref().and_then(read).and_then(|text| {
            let (total, available) = (field(&text, "MemTotal:")?, field(&text, "MemAvailable:")?);
            Some(permille(total.saturating_sub(available), total))
        });
        let of_group =
            self.memory_limit.zip(self.group_memory.as_ref()).and_then(|(limit, file)| {
                let used: u64 = read(file)?.trim().parse().ok()?;
                let stat = self.group_file("memory.stat");
                // Files that the system could drop at once are not used memory.
                let cached = stat.map_or(0, |text| {
                    field(&text, "total_inactive_file")
                        .or(field(&text, "inactive_file"))
                        .unwrap_or(0)
                });
                Some(permille(used.saturating_sub(cached), limit))
            });
        of_machine.unwrap_or(0).max(of_group.unwrap_or(0))
    }

    /// The busiest direction of the busiest interface.
    fn network(&mut self, elapsed: Duration) -> u16 {
        let text = self.devices.as_ref().and_then(read).unwrap_or_default();
        let new = devices(&text);
        let speed = |name: &str| {
            self.speeds.iter().find(|(known, _)| known == name).map_or(MBITS_DEFAULT, |(_, m)| *m)
        };
        let mut most = 0;
        for (name, bytes) in &new {
            let old = self.network.iter().find(|(known, _)| known == name);
            let Some((_, old)) = old.filter(|_| !elapsed.is_zero()) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a share needs three digits")]
            let bits = bytes.saturating_sub(*old) as f64 * 8.0;
            let name = name.split(' ').next().unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "a share needs three digits")]
            let possible = speed(name) as f64 * 1e6 * elapsed.as_secs_f64();
            most = most.max(share(bits / possible));
        }
        self.network = new;
        most
    }

    fn read_limits(&mut self) {
        // Counts the processors that this process may run on, and whole processors of a quota.
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        self.cpus = f64::from(cpus);
        let quotas = self.groups.iter().filter_map(|group| quota(group));
        self.cores = quotas.fold(self.cpus, f64::min).max(0.01);
        let limits = self.groups.iter().filter_map(|group| memory_limit(group));
        self.memory_limit = limits.min();
        let text = self.devices.as_ref().and_then(read).unwrap_or_default();
        let mut names: Vec<_> = devices(&text).into_iter().map(|(name, _)| name).collect();
        names.retain_mut(|name| {
            let is_one = name.ends_with(" in");
            name.truncate(name.find(' ').unwrap_or(name.len()));
            is_one
        });
        let speed = |name: String| {
            let path = self.root.join("sys/class/net").join(&name).join("speed");
            let mbits = fs::read_to_string(path).ok()?.trim().parse().ok()?;
            (mbits > 0).then_some((name, mbits))
        };
        self.speeds = names.into_iter().filter_map(speed).collect();
    }

    fn group_file(&self, name: &str) -> Option<String> {
        self.groups.iter().find_map(|group| fs::read_to_string(group.join(name)).ok())
    }
}

/// The first 4 KiB of a file of the system, made anew by it.
fn read(file: &File) -> Option<String> {
    let mut bytes = [0; 4096];
    let length = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
}

/// The control groups of this process with those around them, of either version.
fn groups(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let base = root.join("sys/fs/cgroup");
        let bases = match controllers.split(',').find(|name| ["cpu", "memory"].contains(name)) {
            _ if controllers.is_empty() => vec![base.clone(), base.join("unified")],
            Some(controller) => vec![base.join(controller), base.join(controllers)],
            None => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        for base in bases {
            // In a container the path can be one of the host's: the root is the own group then.
            groups
                .extend(path.ancestors().map(|path| base.join(path)).filter(|path| path.is_dir()));
        }
    }
    groups.dedup();
    groups
}

/// The processors that a control group may use, if it is limited.
fn quota(group: &Path) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    if let Ok(text) = fs::read_to_string(group.join("cpu.max")) {
        let (quota, period) = text.trim().split_once(' ')?;
        return Some(number(quota)? / number(period)?);
    }
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    Some(number(&quota)? / number(&period)?)
}

/// The memory that a control group may use, if it is limited.
fn memory_limit(group: &Path) -> Option<u64> {
    let files = ["memory.max", "memory.limit_in_bytes"];
    let text = files.iter().find_map(|name| fs::read_to_string(group.join(name)).ok())?;
    // Version 1 says "no limit" as almost the largest number.
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

/// The busy and all time of the first line of `/proc/stat`.
fn machine(text: &str) -> Option<Machine> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().map_while(|time| time.parse().ok()).collect();
    // What guests of this machine use is counted twice, in the last two.
    let all = times.iter().take(8).sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    (times.len() >= 5).then(|| Machine { busy: u64::saturating_sub(all, idle), all })
}

/// The processor time of this process, of `/proc/self/stat`.
fn own(text: &str) -> Option<Duration> {
    // The name, in brackets, can have spaces and brackets.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user + TICK * system)
}

/// The number after a word at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The bytes of each interface and direction, of `/proc/net/dev`.
fn devices(text: &str) -> Vec<(String, u64)> {
    let mut devices = Vec::new();
    for line in text.lines().skip(2) {
        let Some((name, counts)) = line.split_once(':') else { continue };
        let name = name.trim();
        let mut counts = counts.split_whitespace().map_while(|count| count.parse().ok());
        let (received, sent) = (counts.next(), counts.nth(7));
        if name == "lo" {
            continue;
        }
        devices.extend(received.map(|bytes| (format!("{name} in"), bytes)));
        devices.extend(sent.map(|bytes| (format!("{name} out"), bytes)));
    }
    devices
}

fn permille(part: u64, all: u64) -> u16 {
    let share = u128::from(part) * 1000 / u128::from(all.max(1));
    u16::try_from(share.min(1000)).unwrap_or(1000)
}

fn share(share: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    let permille = (share * 1000.0).clamp(0.0, 1000.0) as u16;
    permille
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), files);
        root
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// If this fails, a node does not know how loaded it is.
    #[test]
    fn the_machine_and_the_own_share_count() {
        let stat = |used| format!("4 (a) b) R {} {used} 0 0", "0 ".repeat(10));
        let root = root(&[
            ("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n"),
            ("proc/self/stat", &stat(50)),
            ("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n"),
            ("proc/self/cgroup", "0::/izna/one\n"),
            ("sys/fs/cgroup/izna/one/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/izna/cpu.max", "10000 100000\n"),
            ("sys/fs/cgroup/izna/one/memory.max", "1000\n"),
            ("sys/fs/cgroup/izna/one/memory.current", "900\n"),
            ("sys/fs/cgroup/izna/one/memory.stat", "anon 1\ninactive_file 200\n"),
            (
                "proc/self/net/dev",
                "a\nb\n lo: 1 0 0 0 0 0 0 0 1 0\n eth0: 0 0 0 0 0 0 0 0 1000 0 0\n",
            ),
            ("sys/class/net/eth0/speed", "100\n"),
        ]);
        let mut gauge = Gauge::at(root.path());
        assert!((gauge.cores() - 0.1).abs() < 1e-9);
        write(
            root.path(),
            &[
                ("proc/stat", "cpu  110 0 110 880 0 0 0 0 0 0\n"),
                ("proc/self/stat", &stat(55)),
                (
                    "proc/self/net/dev",
                    "a\nb\n lo: 9999999999 0 0 0 0 0 0 0 1 0\n eth0: 0 0 0 0 0 0 0 0 6251000 0 0\n",
                ),
            ],
        );
        // 50 ms of a second of a tenth of a core are half of it; a fifth of the machine is busy.
        // 6.25 MB/s are half of 100 Mbit/s.
        let measured = gauge.measure(gauge.at + Duration::from_secs(1), 125_000);
        assert_eq!(
            measured,
            Measurement {
                capacity_milli: 100,
                own_cpu_us: 50_000,
                cpu_permille: 500,
                memory_permille: 700,
                network_permille: 500,
                unsent_us: 10_000,
            }
        );
    }

    /// If this fails, a quota of the older control groups is not seen.
    #[test]
    fn older_control_groups_count() {
        let root = root(&[
            ("proc/self/cgroup", "4:memory:/n1\n3:cpu,cpuacct:/izna/n1\n1:name=systemd:/x\n"),
            ("sys/fs/cgroup/cpu/izna/n1/cpu.cfs_quota_us", "4000\n"),
            ("sys/fs/cgroup/cpu/izna/n1/cpu.cfs_period_us", "40000\n"),
            ("sys/fs/cgroup/cpu/izna/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/izna/cpu.cfs_period_us", "40000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/n1/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/n1/memory.usage_in_bytes", "250\n"),
        ]);
        let mut gauge = Gauge::at(root.path());
        let measured = gauge.measure(gauge.at + Duration::from_secs(1), 0);
        assert_eq!((measured.capacity_milli, measured.memory_permille), (100, 250));
    }

    /// If this fails, a system without these files, or with other ones, stops a node.
    #[test]
    fn missing_and_odd_files_are_as_no_limit() {
        let root = root(&[]);
        let mut gauge = Gauge::at(root.path());
        assert!(gauge.cores() >= 1.0);
        let measured = gauge.measure(gauge.at + Duration::from_secs(1), 0);
        assert_eq!((measured.cpu_permille, measured.memory_permille), (0, 0));
        for odd in ["", "cpu", "cpu x", "4 (", ":", "a:b:c:d\n", "lo", "\u{0}"] {
            let _ = (machine(odd), own(odd), field(odd, "x"), devices(odd));
        }
    }

    /// If this fails, measuring costs an idle node more than it may.
    #[test]
    fn measuring_is_cheap() {
        let mut gauge = Gauge::new();
        let began = Instant::now();
        let best = (0..20).map(|_| {
            let began = Instant::now();
            gauge.measure(began, 0);
            began.elapsed()
        });
        let best = best.min().unwrap();
        assert!(best < Duration::from_millis(2), "{best:?} of {:?}", began.elapsed());
    }
}
