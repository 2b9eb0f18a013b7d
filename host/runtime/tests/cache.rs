//! The cache of compiled components: that it is used, and that nothing in it is trusted that this
//! node did not write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests run this")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::*;
use izna_proto::{Digest, StepEnd};
use izna_runtime::{CacheCounts, Config, Error, Runtime};

fn cached(folder: &Folder) -> Runtime {
    Runtime::new(Config { steps_max: 2, cache: Some(folder.0.clone()), ..Config::default() })
        .unwrap()
}

/// Load echo and run it: what comes out of the cache must also work.
fn use_it(runtime: &Runtime) {
    let echo = guest(runtime, "echo");
    assert_eq!(end(&echo, "value", &[7]), StepEnd::Done(number(7).into()));
}

fn counts(runtime: &Runtime) -> (u64, u64, u64, u64) {
    let CacheCounts { hits, misses, rejected, failed, .. } = runtime.cache_counts();
    (hits, misses, rejected, failed)
}

fn file(folder: &Path, extension: &str) -> PathBuf {
    let mut files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension));
    let file = files.next().unwrap();
    assert!(files.next().is_none());
    file
}

/// If this failed, a restarted node would compile everything again.
#[test]
fn the_second_load_is_from_disk() {
    let folder = Folder::new("cache-second");
    let runtime = cached(&folder);
    use_it(&runtime);
    assert_eq!(counts(&runtime), (0, 1, 0, 0));
    use_it(&runtime);
    assert_eq!(counts(&runtime), (1, 1, 0, 0));
    let restarted = cached(&folder);
    use_it(&restarted);
    assert_eq!(counts(&restarted), (1, 0, 0, 0));
}

/// If this failed, another user of the machine could read the key, or put code into the node.
#[test]
fn the_folder_is_its_owners_alone() {
    let folder = Folder::new("cache-owner");
    fs::create_dir_all(&folder.0).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
    use_it(&cached(&folder));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    for file in fs::read_dir(&folder.0).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

/// If this failed, a damaged file would be run as machine code.
#[test]
fn damaged_files_are_compiled_again() {
    let folder = Folder::new("cache-damaged");
    use_it(&cached(&folder));
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("cwasm", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("cwasm", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("cwasm", |path| fs::write(path, b"").unwrap()),
        ("cwasm", |path| fs::remove_file(path).unwrap()),
        ("seal", |path| fs::write(path, [0; 32]).unwrap()),
        ("seal", |path| fs::write(path, b"short").unwrap()),
        ("seal", |path| fs::remove_file(path).unwrap()),
    ];
    for (round, (extension, damage)) in damages.into_iter().enumerate() {
        damage(&file(&folder.0, extension));
        let runtime = cached(&folder);
        use_it(&runtime);
        let found = runtime.cache_counts();
        assert_eq!((found.hits, found.misses + found.rejected, found.failed), (0, 1, 0), "{round}");
        use_it(&runtime);
        assert_eq!(runtime.cache_counts().hits, 1, "{round}");
    }
}

/// If this failed, code sealed by another node, or by someone who guesses, would be trusted.
#[test]
fn another_key_is_another_node() {
    let (one, other) = (Folder::new("cache-one"), Folder::new("cache-other"));
    use_it(&cached(&one));
    use_it(&cached(&other));
    for extension in ["cwasm", "seal"] {
        let name = file(&one.0, extension);
        fs::copy(&name, other.0.join(name.file_name().unwrap())).unwrap();
    }
    let runtime = cached(&other);
    use_it(&runtime);
    assert_eq!(counts(&runtime), (0, 0, 1, 0));
    fs::write(one.0.join("key"), b"too short").unwrap();
    let runtime = cached(&one);
    use_it(&runtime);
    assert_eq!(counts(&runtime), (0, 0, 1, 0));
}

/// If this failed, a component could be run in place of another one.
#[test]
fn sealed_code_is_one_components_alone() {
    let folder = Folder::new("cache-swapped");
    let runtime = cached(&folder);
    use_it(&runtime);
    let (code, seal) = (file(&folder.0, "cwasm"), file(&folder.0, "seal"));
    let misbehave = runtime.admit(&guest_bytes("misbehave")).unwrap().component;
    let hex: String = digest(&misbehave).0.iter().map(|byte| format!("{byte:02x}")).collect();
    for path in [code, seal] {
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::copy(&path, folder.0.join(format!("{hex}{}", &name[64..]))).unwrap();
    }
    let loaded = runtime.load(digest(&misbehave), &misbehave).unwrap();
    assert_eq!(counts(&runtime), (0, 1, 1, 0));
    assert!(matches!(end(&loaded, "spin_ms", &[0]), StepEnd::Done(_)));
}

/// If this failed, deploys would fill the disk.
#[test]
fn the_folder_is_bounded() {
    let folder = Folder::new("cache-bounded");
    let config = Config {
        steps_max: 2,
        cache: Some(folder.0.clone()),
        cache_bytes_max: 1,
        ..Config::default()
    };
    let runtime = Runtime::new(config).unwrap();
    guest(&runtime, "misbehave");
    use_it(&runtime);
    file(&folder.0, "cwasm");
    file(&folder.0, "seal");
    use_it(&runtime);
    assert_eq!(counts(&runtime), (1, 2, 0, 0));
}

/// If this failed, a crash while writing would fill the disk bit by bit.
#[test]
fn unfinished_files_are_swept() {
    let folder = Folder::new("cache-swept");
    drop(cached(&folder));
    let unfinished = folder.0.join("abc.1-0.tmp");
    fs::write(&unfinished, b"half").unwrap();
    drop(cached(&folder));
    assert!(!unfinished.exists());
}

/// If this failed, a folder that cannot be used would be found out by the first deploy, or not at
/// all.
#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = Folder::new("cache-file");
    fs::write(&folder.0, b"a file").unwrap();
    let config = Config { steps_max: 1, cache: Some(folder.0.clone()), ..Config::default() };
    let refused = Runtime::new(config).unwrap_err();
    assert!(matches!(refused, Error::Cache { operation: "create the directory", .. }), "{refused}");
    fs::remove_file(&folder.0).unwrap();
}

/// If this failed, a node could be made to run other code than the manifest pins.
#[test]
fn the_digest_is_checked() {
    let runtime = runtime();
    let component = runtime.admit(&guest_bytes("misbehave")).unwrap().component;
    let refused = runtime.load(Digest([7; 32]), &component).unwrap_err();
    assert!(matches!(refused, Error::Digest { .. }), "{refused}");
}

/// If this failed, bytes that were never admitted could end the node that loads them.
#[test]
fn what_is_not_a_component_does_not_load() {
    let runtime = runtime();
    let refused = runtime.load(digest(b"hello"), b"hello").unwrap_err();
    assert!(matches!(refused, Error::Compile { .. }), "{refused}");
    let empty = wat::parse_str("(component)").unwrap();
    let refused = runtime.load(digest(&empty), &empty).unwrap_err();
    assert!(matches!(refused, Error::Link { .. }), "{refused}");
}
