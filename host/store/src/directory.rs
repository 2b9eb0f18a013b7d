//! Opening a data directory: its lock, its format, its count of restarts.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Error, Store,
    error::At,
    file::{self, absent},
};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
const FORMAT_WORD: &str = "izna-data";

const LOCK: &str = "lock";
const FORMAT_FILE: &str = "format";
const INCARNATION: &str = "incarnation";
const ARTIFACTS: &str = "artifacts";
const APPS: &str = "apps";

impl Store {
    /// Open the directory, which is made if there is none; then nobody else can until this is
    /// dropped. Counts one restart.
    ///
    /// # Errors
    /// When it is in use, of a newer format, something else, or cannot be written. In the first
    /// three cases nothing in it was changed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = path.into();
        let is_made = make(&root)?;
        if !is_made {
            check_known(&root)?;
        }
        let mut lock = lock(&root)?;
        // Who held the lock until now may have changed it.
        check_known(&root)?;
        sign(&mut lock).at("write", root.join(LOCK))?;
        for directory in [root.clone(), root.join(ARTIFACTS), root.join(APPS)] {
            make(&directory)?;
            file::clean(&directory)?;
        }
        let format = root.join(FORMAT_FILE);
        if file::read(&format)?.is_none() {
            file::write(&format, format!("{FORMAT_WORD} {FORMAT}\n").as_bytes())?;
        }
        let incarnation = incarnate(&root)?;
        Ok(Self { root, incarnation, _lock: lock })
    }

    /// This start's incarnation: higher than that of every earlier one of this directory. It was
    /// on disk before anyone could see it.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    pub(crate) fn artifacts_path(&self) -> PathBuf {
        self.root.join(ARTIFACTS)
    }

    pub(crate) fn apps_path(&self) -> PathBuf {
        self.root.join(APPS)
    }
}

/// Make a directory for its owner only, with those above it; whether it was missing.
fn make(path: &Path) -> Result<bool, Error> {
    if path.is_dir() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).at("make", path)?;
    Ok(true)
}

/// Check that the directory is one of ours, of a format known here, or empty.
fn check_known(root: &Path) -> Result<(), Error> {
    let foreign = |why: String| Error::Foreign { path: root.to_path_buf(), why };
    let Some(bytes) = file::read(&root.join(FORMAT_FILE))? else {
        // A crash in the first start can leave these.
        let ours = [LOCK, ARTIFACTS, APPS];
        let is_other = |name: &&String| {
            !ours.contains(&name.as_str()) && !name.starts_with(&format!("{FORMAT_FILE}."))
        };
        return match file::names(root)?.iter().find(is_other) {
            Some(name) => Err(foreign(format!("it holds \"{name}\" and no format file"))),
            None => Ok(()),
        };
    };
    let text = String::from_utf8_lossy(&bytes);
    let format =
        text.trim_end().strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim().parse().ok());
    match format {
        Some(1..=FORMAT) => Ok(()),
        Some(found) if found > FORMAT => {
            Err(Error::Newer { path: root.to_path_buf(), found, known: FORMAT })
        }
        _ => Err(foreign("its format file is invalid".to_string())),
    }
}

/// Take the lock of the directory.
fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).at("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Without a process id the message is still true.
            let _ = file.read_to_string(&mut text);
            let pid = text.trim().parse().ok();
            Err(Error::InUse { path: root.to_path_buf(), pid })
        }
        Err(TryLockError::Error(source)) => Err(source).at("lock", &path),
    }
}

/// Leave our process id in the lock file, for the message of who comes second.
fn sign(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", process::id())
}

/// Count this start: above every earlier one, and at least the time in seconds, so that a lost
/// directory does not set a node back.
fn incarnate(root: &Path) -> Result<u64, Error> {
    let path = root.join(INCARNATION);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let last = match absent(fs::read_to_string(&path)).at("read", &path)? {
        None => 0,
        Some(text) => text.trim().parse::<u64>().map_err(|_| Error::Corrupt {
            path: path.clone(),
            why: "expected one number; if the clock is right, the file can be removed".to_string(),
        })?,
    };
    let next = last.saturating_add(1).max(now);
    file::write(&path, format!("{next}\n").as_bytes())?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        (place, path)
    }

    /// If this fails, others on the machine can read what a node keeps.
    #[test]
    fn a_new_directory_is_its_owners_only() {
        let (_place, path) = place();
        drop(Store::open(&path).unwrap());
        for part in ["", ARTIFACTS, APPS] {
            let mode = fs::metadata(path.join(part)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{part}");
        }
    }

    /// If this fails, two nodes can write to one directory.
    #[test]
    fn a_directory_belongs_to_one() {
        let (_place, path) = place();
        let store = Store::open(&path).unwrap();
        let refused = Store::open(&path).unwrap_err();
        assert!(
            matches!(refused, Error::InUse { pid: Some(pid), .. } if pid == process::id()),
            "{refused}"
        );
        drop(store);
        Store::open(&path).unwrap();
    }

    /// If this fails, an old binary can spoil what a newer one wrote.
    #[test]
    fn a_newer_format_is_left_alone() {
        let (_place, path) = place();
        fs::create_dir(&path).unwrap();
        fs::write(path.join(FORMAT_FILE), "izna-data 2\n").unwrap();
        fs::write(path.join("left.tmp"), "").unwrap();
        let refused = Store::open(&path).unwrap_err();
        assert!(matches!(refused, Error::Newer { found: 2, known: 1, .. }), "{refused}");
        assert_eq!(file::names(&path).unwrap(), [FORMAT_FILE, "left.tmp"]);
    }

    /// If this fails, a wrong path in the configuration mixes a node's files with someone's own.
    #[test]
    fn another_directory_is_left_alone() {
        let (_place, path) = place();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("letter.txt"), "dear").unwrap();
        let refused = Store::open(&path).unwrap_err().to_string();
        assert!(refused.contains("it holds \"letter.txt\" and no format file"), "{refused}");
        assert_eq!(file::names(&path).unwrap(), ["letter.txt"]);
        for content in ["", "izna-data", "izna-data x", "izna-data 0", "other 1", "\u{0}\u{1}"] {
            fs::write(path.join(FORMAT_FILE), content).unwrap();
            let refused = Store::open(&path).unwrap_err();
            assert!(matches!(refused, Error::Foreign { .. }), "{content:?}: {refused}");
        }
    }

    /// If this fails, a node that restarts looks like the one before, and others drop what it
    /// says.
    #[test]
    fn incarnations_rise() {
        let (_place, path) = place();
        let first = Store::open(&path).unwrap().incarnation();
        assert!(first > 1_700_000_000);
        assert!(Store::open(&path).unwrap().incarnation() > first);
        let far = u64::MAX / 2;
        fs::write(path.join(INCARNATION), far.to_string()).unwrap();
        assert_eq!(Store::open(&path).unwrap().incarnation(), far + 1);
        fs::write(path.join(INCARNATION), "many").unwrap();
        let refused = Store::open(&path).unwrap_err();
        assert!(refused.to_string().contains("incarnation is damaged"), "{refused}");
    }

    /// If this fails, crashes fill the disk with half-written files.
    #[test]
    fn what_a_crash_left_is_removed() {
        let (_place, path) = place();
        drop(Store::open(&path).unwrap());
        for part in ["", ARTIFACTS, APPS] {
            fs::write(path.join(part).join("x.1-1.tmp"), "half").unwrap();
        }
        drop(Store::open(&path).unwrap());
        for part in ["", ARTIFACTS, APPS] {
            assert!(!path.join(part).join("x.1-1.tmp").exists(), "{part}");
        }
    }
}
