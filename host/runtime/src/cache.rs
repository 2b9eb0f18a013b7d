//! Compiled components on disk, so that a restarted node need not compile again. Only what this
//! node wrote itself is taken: machine code is trusted by its seal, an HMAC with a key that never
//! leaves the folder.
//!
//! A component has two files, `<digest>-<engine>.cwasm` with the code and the same name with
//! `.seal`. `<engine>` is the hash of everything that the code depends on: version, settings,
//! processor. Files are written under another name and renamed, code before seal; whatever does not
//! agree is compiled again.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use izna_proto::Digest;
use ring::rand::SecureRandom;
use ring::{digest, hmac, rand};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Error;
use crate::deserialize::{self, Sealed};

const MAGIC: &[u8; 8] = b"IZNASEAL";
const FORMAT: u8 = 1;
const KEY_BYTES: usize = 32;
/// The longest name of a file being written: `.tmp`, a process id and a count.
const UNFINISHED: &str = ".tmp";

/// How often the cache had what was asked for, since the runtime was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCounts {
    /// Taken from disk.
    pub hits: u64,
    /// Not there.
    pub misses: u64,
    /// There, but not as this node had written it.
    pub rejected: u64,
    /// Compiled, but not kept: the disk refused.
    pub failed: u64,
}

#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: hmac::Key,
    bytes_max: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    written: AtomicU64,
}

impl Cache {
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<Self, Error> {
        let refused = |operation| {
            move |source| Error::Cache { path: folder.to_path_buf(), operation, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(refused("create the directory"))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(refused("restrict the directory to its owner"))?;
        sweep(folder).map_err(refused("list the directory"))?;
        let key = key(folder).map_err(refused("read or create its key"))?;
        let zero = AtomicU64::default;
        Ok(Self {
            folder: folder.to_path_buf(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            bytes_max,
            hits: zero(),
            misses: zero(),
            rejected: zero(),
            failed: zero(),
            written: zero(),
        })
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// The compiled component, if it is there as this node wrote it.
    pub(crate) fn take(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let entry = self.entry(engine, digest);
        let count = match self.read(engine, &entry) {
            Ok(component) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                // Its age decides who goes first when the folder is full; that it stays old does no
                // harm.
                let _ =
                    File::open(&entry.code).and_then(|file| file.set_modified(SystemTime::now()));
                return Some(component);
            }
            Err(Unusable::Absent) => &self.misses,
            Err(Unusable::Wrong(reason)) => {
                tracing::warn!(%digest, %reason, "ignoring a compiled component in the cache");
                &self.rejected
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Keep `code`, which `engine` has just made of the component `digest`, and load it from the
    /// file: mapped, it costs memory only where it runs. None when it cannot be kept.
    pub(crate) fn put(&self, engine: &Engine, digest: Digest, code: &[u8]) -> Option<Component> {
        let entry = self.entry(engine, digest);
        let kept = self.write(&entry, code).map_err(|error| error.to_string()).and_then(|()| {
            self.read(engine, &entry).map_err(|unusable| match unusable {
                Unusable::Absent => "it was removed".into(),
                Unusable::Wrong(reason) => reason,
            })
        });
        match kept {
            Ok(component) => {
                self.make_room(&entry.code);
                Some(component)
            }
            Err(reason) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%digest, %reason, "cannot keep a compiled component in the cache");
                None
            }
        }
    }

    /// The code of a component, if it is there as this node wrote it.
    pub(crate) fn code(&self, engine: &Engine, component: Digest) -> Option<Vec<u8>> {
        let entry = self.entry(engine, component);
        let code = fs::read(&entry.code).ok()?;
        let hash = digest::digest(&digest::SHA256, &code);
        let seal = read_small(&entry.seal).ok()?;
        hmac::verify(&self.key, &entry.over(hash.as_ref()), &seal).ok().map(|()| code)
    }

    /// Whether there is code of a component; it is not checked.
    pub(crate) fn has(&self, engine: &Engine, digest: Digest) -> bool {
        self.entry(engine, digest).seal.is_file()
    }

    fn entry(&self, engine: &Engine, digest: Digest) -> Entry {
        let engine = identity(engine);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let name = format!("{}-{}", hex(&digest.0), hex(engine.get(..8).unwrap_or_default()));
        let mut claim = Vec::with_capacity(MAGIC.len() + 1 + 64);
        claim.extend_from_slice(MAGIC);
        claim.push(FORMAT);
        claim.extend_from_slice(&digest.0);
        claim.extend_from_slice(&engine);
        Entry {
            code: self.folder.join(format!("{name}.cwasm")),
            seal: self.folder.join(format!("{name}.seal")),
            claim,
        }
    }

    fn read(&self, engine: &Engine, entry: &Entry) -> Result<Component, Unusable> {
        let seal = read_small(&entry.seal)?;
        let claim = entry.over(&hash_of_file(&entry.code)?);
        hmac::verify(&self.key, &claim, &seal)
            .map_err(|_| Unusable::Wrong("its seal does not match its bytes".into()))?;
        deserialize::component(engine, &Sealed(&entry.code))
            .map_err(|error| Unusable::Wrong(format!("{error:#}")))
    }

    fn write(&self, entry: &Entry, code: &[u8]) -> io::Result<()> {
        let hash = digest::digest(&digest::SHA256, code);
        let seal = hmac::sign(&self.key, &entry.over(hash.as_ref()));
        self.replace(&entry.code, code)?;
        self.replace(&entry.seal, seal.as_ref())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{}-{count}{UNFINISHED}", std::process::id()));
        let written = write_new(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Remove the components that were not used for the longest time until the rest fits; never
    /// `kept`.
    fn make_room(&self, kept: &Path) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        let mut codes: Vec<(SystemTime, u64, PathBuf)> = files
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|extension| extension == "cwasm"))
            .filter_map(|file| {
                let about = file.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), file.path()))
            })
            .collect();
        codes.sort();
        let mut bytes: u64 = codes.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in codes.iter().filter(|(_, _, path)| path != kept) {
            if bytes <= self.bytes_max {
                break;
            }
            let _ = fs::remove_file(path.with_extension("seal"));
            let _ = fs::remove_file(path);
            bytes = bytes.saturating_sub(*length);
        }
    }
}

struct Entry {
    code: PathBuf,
    seal: PathBuf,
    claim: Vec<u8>,
}

impl Entry {
    /// What is sealed: that code with this hash is this component's for this engine.
    fn over(&self, hash: &[u8]) -> Vec<u8> {
        [&self.claim, hash].concat()
    }
}

enum Unusable {
    Absent,
    Wrong(String),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ => Self::Wrong(error.to_string()),
        }
    }
}

/// Everything that compiled code depends on, as a hash.
pub(crate) fn identity(engine: &Engine) -> [u8; 32] {
    struct Sha(digest::Context);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(digest::Context::new(&digest::SHA256));
    engine.precompile_compatibility_hash().hash(&mut sha);
    let mut identity = [0; 32];
    identity.copy_from_slice(sha.0.finish().as_ref());
    identity
}

/// Files that a crash left half written.
fn sweep(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.to_str().is_some_and(|path| path.ends_with(UNFINISHED)) {
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// The node's key. A missing or damaged one is made anew: what it sealed is then compiled again.
fn key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join("key");
    if let Ok(key) = fs::read(&path)
        && let Ok(key) = <[u8; KEY_BYTES]>::try_from(key)
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    rand::SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| io::Error::other("the system provided no random numbers"))?;
    let unfinished = folder.join(format!("key-{}{UNFINISHED}", std::process::id()));
    let _ = fs::remove_file(&unfinished);
    write_new(&unfinished, &key)?;
    fs::rename(&unfinished, &path)?;
    Ok(key)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hash_of_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(context.finish().as_ref().to_vec()),
            length => context.update(piece.get(..length).unwrap_or_default()),
        }
    }
}
