//! Artifacts: immutable bytes under their digest.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use bytes::Bytes;
use izna_proto::Digest;

use crate::{
    Error, Store, digest,
    error::At,
    file::{self, absent},
};

const ENDING: &str = ".wasm";

/// A part of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The whole artifact's length in bytes.
    pub length: u64,
    /// The bytes from the offset on; none at or after the end.
    pub bytes: Bytes,
}

impl Store {
    /// Keep `bytes`, on disk when this returns; their digest.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = digest(bytes);
        let path = self.artifact_path(digest);
        // One that is there is kept only if it is good.
        if file::read(&path)?.is_none_or(|there| there != bytes) {
            file::write(&path, bytes)?;
        }
        Ok(digest)
    }

    /// Keep `bytes` that someone gave as those of `expected`.
    ///
    /// # Errors
    /// When they are others, or cannot be written.
    pub fn put_as(&self, expected: Digest, bytes: &[u8]) -> Result<(), Error> {
        let found = digest(bytes);
        if found != expected {
            return Err(Error::Digest { expected, found, length: bytes.len() });
        }
        self.put(bytes).map(|_| ())
    }

    /// The bytes of `digest`, checked, or none.
    ///
    /// # Errors
    /// When they cannot be read, or are damaged; damaged ones are removed, so that the next look
    /// finds none and they are fetched again.
    pub fn artifact(&self, expected: Digest) -> Result<Option<Bytes>, Error> {
        let path = self.artifact_path(expected);
        let Some(bytes) = file::read(&path)? else { return Ok(None) };
        let found = digest(&bytes);
        if found == expected {
            return Ok(Some(bytes.into()));
        }
        file::remove(&path)?;
        let why = format!("its digest is {found}; it was removed");
        Err(Error::Corrupt { path, why })
    }

    /// Up to `length_max` bytes of `digest` from `offset` on, or none. They are not checked: who
    /// puts the pieces together does that.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn piece(
        &self,
        digest: Digest,
        offset: u64,
        length_max: u64,
    ) -> Result<Option<Piece>, Error> {
        let path = self.artifact_path(digest);
        let Some(mut file) = absent(File::open(&path)).at("read", &path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let length = file.metadata().at("read", &path)?.len();
        file.seek(SeekFrom::Start(offset.min(length))).at("read", &path)?;
        file.take(length_max).read_to_end(&mut bytes).at("read", &path)?;
        Ok(Some(Piece { length, bytes: bytes.into() }))
    }

    /// Whether there are bytes for `digest`.
    pub fn has(&self, digest: Digest) -> bool {
        self.artifact_path(digest).is_file()
    }

    /// Forget `digest`; whether it was there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, digest: Digest) -> Result<bool, Error> {
        file::remove(&self.artifact_path(digest))
    }

    /// All digests kept.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn artifacts(&self) -> Result<Vec<Digest>, Error> {
        let names = file::names(&self.artifacts_path())?;
        Ok(names.iter().filter_map(|name| Digest::parse(name.strip_suffix(ENDING)?)).collect())
    }

    fn artifact_path(&self, digest: Digest) -> PathBuf {
        let text = digest.to_string();
        let hex = text.strip_prefix("sha256:").unwrap_or(&text);
        self.artifacts_path().join(format!("{hex}{ENDING}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        (place, store)
    }

    /// If this fails, an artifact does not survive a restart, or cannot be had again.
    #[test]
    fn artifacts_are_kept() {
        let (place, store) = store();
        let (one, two) = (store.put(b"one").unwrap(), store.put(b"two").unwrap());
        assert_eq!(store.put(b"one").unwrap(), one);
        drop(store);
        let store = Store::open(place.path()).unwrap();
        assert_eq!(store.artifact(one).unwrap().as_deref(), Some(&b"one"[..]));
        let mut all = vec![one, two];
        all.sort();
        assert_eq!(store.artifacts().unwrap(), all);
        assert!(store.remove(one).unwrap() && !store.remove(one).unwrap());
        assert!(!store.has(one) && store.has(two));
        assert_eq!(store.artifact(one).unwrap(), None);
    }

    /// If this fails, code other than the one named could be kept, and run.
    #[test]
    fn bytes_must_have_their_digest() {
        let (_place, store) = store();
        let wanted = digest(b"wanted");
        let refused = store.put_as(wanted, b"other").unwrap_err();
        assert!(matches!(refused, Error::Digest { length: 5, .. }), "{refused}");
        assert!(!store.has(wanted));
        store.put_as(wanted, b"wanted").unwrap();
        assert!(store.has(wanted));
    }

    /// If this fails, code damaged on disk runs, or stays in the way of good code.
    #[test]
    fn damage_is_seen_and_mended() {
        let (_place, store) = store();
        let digest = store.put(b"good code").unwrap();
        fs::write(store.artifact_path(digest), b"bad code!").unwrap();
        let seen = store.artifact(digest).unwrap_err();
        assert!(matches!(seen, Error::Corrupt { .. }), "{seen}");
        assert_eq!(store.artifact(digest).unwrap(), None);
        fs::write(store.artifact_path(digest), b"bad code!").unwrap();
        store.put(b"good code").unwrap();
        assert_eq!(store.artifact(digest).unwrap().as_deref(), Some(&b"good code"[..]));
    }

    /// If this fails, other nodes cannot take an artifact in pieces, or an offset reads past it.
    #[test]
    fn pieces_are_cut() {
        let (_place, store) = store();
        let digest = store.put(b"0123456789").unwrap();
        let piece = |offset, max| store.piece(digest, offset, max).unwrap().unwrap();
        assert_eq!(piece(0, 4), Piece { length: 10, bytes: Bytes::from_static(b"0123") });
        assert_eq!(piece(8, 4), Piece { length: 10, bytes: Bytes::from_static(b"89") });
        for past in [10, 11, u64::MAX] {
            assert_eq!(piece(past, 4), Piece { length: 10, bytes: Bytes::new() });
        }
        assert_eq!(store.piece(crate::digest(b"none"), 0, 4).unwrap(), None);
    }
}
