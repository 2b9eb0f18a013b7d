//! Files that only their owner may read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use crate::identity_error::Error;

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { operation, path: path.to_path_buf(), source }
}

/// Make a directory for its owner only, unless it is there.
pub(crate) fn directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

/// Write a file that must not be there yet.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let mut file = match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::Exists { path: path.to_path_buf() });
        }
        opened => opened.map_err(failed("create", path))?,
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// Write a file in place of one that may be there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    // One that a crash left.
    let _ = fs::remove_file(&temporary);
    create(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(failed("write", path))
}

/// Read a file with a secret: others must not be able to.
pub(crate) fn read(path: &Path, hint: &'static str) -> Result<String, Error> {
    let mut file = open(path, hint)?;
    let mode = file.metadata().map_err(failed("read", path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Mode { path: path.to_path_buf(), mode });
    }
    content(&mut file, path)
}

/// Read a file that anyone may read.
pub(crate) fn read_open(path: &Path, hint: &'static str) -> Result<String, Error> {
    content(&mut open(path, hint)?, path)
}

fn open(path: &Path, hint: &'static str) -> Result<File, Error> {
    File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { path: path.to_path_buf(), hint },
        _ => Error::Io { operation: "read", path: path.to_path_buf(), source },
    })
}

fn content(file: &mut File, path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    // More than any of these files has, so that a wrong name does not fill the memory.
    file.take(1 << 20).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
