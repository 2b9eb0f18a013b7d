//! Which changes in an app's folder are its author's. Not here: what is done about them.
//!
//! What changes while the app is built was written by the build, and is known from then on by its
//! time and length: only another content is a change. Where a source is among it, its author may
//! have saved it meanwhile: then one more build tells, once for each file.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs::{self, Metadata},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Folders and files that change while an app is built and run, at any depth.
const NOT_WATCHED: [&str; 7] =
    [".izna", ".git", "target", "node_modules", "__pycache__", "Cargo.lock", "package-lock.json"];
/// What sources of the languages that there are templates for end with.
const SOURCES: [&str; 12] =
    ["rs", "c", "h", "cpp", "hpp", "cc", "js", "ts", "py", "go", "wit", "toml"];

/// The content of a file, as far as it matters here; none where there is no file.
type Stamp = Option<(SystemTime, u64)>;

/// What is known of the files of an app.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    folder: PathBuf,
    known: HashMap<PathBuf, Stamp>,
    /// Sources that changed during a build before.
    doubted: HashSet<PathBuf>,
    /// Where this program writes to itself, by device and number.
    own: Vec<(u64, u64)>,
}

impl Sources {
    pub(crate) fn new(folder: &Path) -> Self {
        let own = [std::io::stdout().as_fd(), std::io::stderr().as_fd()].map(|output| {
            let file = output.try_clone_to_owned().map(fs::File::from);
            file.and_then(|file| file.metadata()).map(|is| (is.dev(), is.ino())).ok()
        });
        Self {
            folder: folder.to_path_buf(),
            own: own.into_iter().flatten().collect(),
            ..Self::default()
        }
    }

    /// The files among `paths` that their author has changed, while nothing was built.
    pub(crate) fn changed(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for path in paths {
            if self.note(&path) {
                changed.push(self.named(&path));
            }
        }
        changed.sort();
        changed.dedup();
        changed
    }

    /// The sources among `paths`, which changed while the app was built, that their author may have
    /// saved meanwhile.
    pub(crate) fn doubtful(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
        let mut doubtful = Vec::new();
        for path in paths {
            let is_source = path.extension().is_some_and(|e| SOURCES.iter().any(|s| e == *s));
            if self.note(&path) && is_source && self.doubted.insert(path.clone()) {
                doubtful.push(self.named(&path));
            }
        }
        doubtful.sort();
        doubtful.dedup();
        doubtful
    }

    /// Remember what a file is now; whether that is another content than before.
    fn note(&mut self, path: &Path) -> bool {
        let Ok(within) = path.strip_prefix(&self.folder) else { return false };
        let mut parts = within.components().map(|part| part.as_os_str());
        if parts.any(|part| NOT_WATCHED.iter().any(|name| part == *name)) || is_by_the_way(path) {
            return false;
        }
        let is = fs::metadata(path).ok();
        if is.as_ref().is_some_and(|is| is.is_dir() || self.own.contains(&(is.dev(), is.ino()))) {
            return false;
        }
        let stamp = is.as_ref().map(stamp);
        self.known.insert(path.to_path_buf(), stamp) != Some(stamp)
    }

    fn named(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.folder).unwrap_or(path).to_path_buf()
    }
}

fn stamp(is: &Metadata) -> (SystemTime, u64) {
    (is.modified().unwrap_or(SystemTime::UNIX_EPOCH), is.len())
}

/// Whether a file is a log, or what an editor keeps beside a file that is open.
fn is_by_the_way(path: &Path) -> bool {
    let ends = |end: &str| path.extension() == Some(OsStr::new(end));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ends("log")
        || ends("swp")
        || ends("swx")
        || name.ends_with('~')
        || name.starts_with(".#")
        || name == "4913"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("izna-sources-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("dist")).unwrap();
        folder
    }

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// If this fails, `izna dev` builds again and again what its own build has written, or misses
    /// what its author saves.
    #[test]
    fn only_authors_change_sources() {
        let folder = folder("authors");
        let mut sources = Sources::new(&folder);
        let stamp = write(&folder, "dist/stamp", "1");
        assert!(sources.doubtful([stamp.clone(), folder.join("dist")]).is_empty());
        assert!(sources.changed([stamp.clone()]).is_empty(), "a late word of the build");
        let code = write(&folder, "main.c", "1");
        assert_eq!(sources.changed([code.clone(), code.clone()]), [Path::new("main.c")]);
        assert!(sources.changed([code.clone()]).is_empty(), "the same content");
        write(&folder, "main.c", "12");
        assert_eq!(sources.changed([code.clone()]), [Path::new("main.c")]);
        fs::remove_file(&code).unwrap();
        assert_eq!(sources.changed([code.clone()]), [Path::new("main.c")]);
        let own = folder.join("target/debug/x.c");
        let log = write(&folder, "dev.log", "a line");
        assert!(sources.changed([own, log, folder.join(".izna/y")]).is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }

    /// If this fails, a source that is saved during a build is not built, or one that the build
    /// itself writes is built for ever.
    #[test]
    fn a_source_that_changes_during_a_build_is_doubted_once() {
        let folder = folder("doubted");
        let mut sources = Sources::new(&folder);
        let made = write(&folder, "bindings.c", "1");
        assert_eq!(sources.doubtful([made.clone()]), [Path::new("bindings.c")]);
        write(&folder, "bindings.c", "12");
        assert!(sources.doubtful([made.clone()]).is_empty());
        write(&folder, "bindings.c", "123");
        assert_eq!(sources.changed([made]), [Path::new("bindings.c")]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
