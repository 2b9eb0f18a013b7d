//! Files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Error, error::At};

/// How a file ends that a crash left half written.
const TEMPORARY: &str = "tmp";

/// Write `bytes` to `path`: synced, and never visible in part.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{count}.{TEMPORARY}", process::id()));
    let written = fill(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path).at("write", path))
        .and_then(|()| sync_parent(path));
    if written.is_err() {
        // The error that counts is the first; what stays is removed at the next start.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn fill(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = open.at("create", path)?;
    file.write_all(bytes).at("write", path)?;
    file.sync_all().at("write", path)
}

fn sync_parent(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|directory| directory.sync_all()).at("sync", parent)
}

/// The content of `path`, or none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    absent(fs::read(path)).at("read", path)
}

/// Remove `path`; whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, Error> {
    let removed = absent(fs::remove_file(path)).at("remove", path)?.is_some();
    if removed {
        sync_parent(path)?;
    }
    Ok(removed)
}

/// The names in a directory, in order.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let list = || {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    };
    list().at("list", directory)
}

/// Remove what a crash left half written in a directory.
pub(crate) fn clean(directory: &Path) -> Result<(), Error> {
    let is_left = |name: &String| name.rsplit_once('.').is_some_and(|(_, end)| end == TEMPORARY);
    names(directory)?
        .iter()
        .filter(|name| is_left(name))
        .try_for_each(|name| remove(&directory.join(name)).map(|_| ()))
}

/// None in place of "no such file".
pub(crate) fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a full disk shows as an unknown error, or leaves half a file in place.
    #[test]
    fn a_full_disk_is_named() {
        let full = fill(Path::new("/dev/full"), b"code").unwrap_err();
        assert!(matches!(full, Error::Full { .. }), "{full:?}");
        assert_eq!(
            full.to_string(),
            "cannot write /dev/full: no space or quota left; free some and try again"
        );
    }

    /// If this fails, a write that failed leaves its temporary file, or touches the old content.
    #[test]
    fn a_failed_write_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("occupied");
        fs::create_dir(&path).unwrap();
        assert!(matches!(write(&path, b"new"), Err(Error::Io { operation: "write", .. })));
        assert_eq!(names(place.path()).unwrap(), ["occupied"]);
    }
}
