//! The app table: one file for each app.

use std::{
    fs,
    path::{Path, PathBuf},
};

use izna_proto::{TableEntry, Wire};

use crate::{Error, Store, digest, error::At, file};

const ENDING: &str = ".cbor";
/// The longest escaped name that a file has; longer ones are named by their digest.
const NAME_BYTES_MAX: usize = 200;

impl Store {
    /// Keep this line, in place of the app's older one; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_entry(&self, entry: &TableEntry) -> Result<(), Error> {
        let path = self.apps_path().join(format!("{}{ENDING}", escape(&entry.name)));
        file::write(&path, &entry.to_bytes())
    }

    /// Remove the line of an app; false if there is none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_entry(&self, name: &str) -> Result<bool, Error> {
        file::remove(&self.apps_path().join(format!("{}{ENDING}", escape(name))))
    }

    /// The lines that are kept, and what was wrong with those that are damaged: these are set
    /// aside under a name that ends in `.corrupt`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn entries(&self) -> Result<(Vec<TableEntry>, Vec<Error>), Error> {
        let directory = self.apps_path();
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for name in file::names(&directory)?.iter().filter(|name| name.ends_with(ENDING)) {
            match entry(&directory.join(name), name) {
                Ok(entry) => entries.push(entry),
                Err(error) => damaged.push(error),
            }
        }
        Ok((entries, damaged))
    }
}

fn entry(path: &Path, name: &str) -> Result<TableEntry, Error> {
    let bytes = file::read(path)?.unwrap_or_default();
    let why = match TableEntry::from_bytes(bytes.into()) {
        Ok(entry) if format!("{}{ENDING}", escape(&entry.name)) == name => return Ok(entry),
        Ok(entry) => format!("it holds the app \"{}\"", entry.name),
        Err(error) => error.to_string(),
    };
    let mut aside = PathBuf::from(path).into_os_string();
    aside.push(".corrupt");
    fs::rename(path, &aside).at("rename", path)?;
    let aside = PathBuf::from(aside);
    let why = format!("{why}; it was renamed to {}; deploy the app again", aside.display());
    Err(Error::Corrupt { path: path.to_path_buf(), why })
}

/// A file name for an app's name, its own for each.
fn escape(name: &str) -> String {
    let escaped: String = name.bytes().map(escape_byte).collect();
    if escaped.len() <= NAME_BYTES_MAX {
        return escaped;
    }
    // No escaped name has a plus, so this is nobody else's.
    digest(name.as_bytes()).to_string().replace("sha256:", "+")
}

fn escape_byte(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use izna_proto::App;

    use super::*;

    fn line(name: &str, revision: u64) -> TableEntry {
        let app = App { name: name.into(), components: Vec::new(), routes: Vec::new() };
        TableEntry { name: name.into(), revision, app: Some(app) }
    }

    /// If this fails, a restart forgets apps, or brings back an undeployed or an older one.
    #[test]
    fn the_newest_line_of_each_app_is_kept() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let long = "x/".repeat(128);
        let names = ["shop", "../shop", "Shop", "shop.cbor", "", "%2e", &long];
        for name in names {
            store.put_entry(&line(name, 1)).unwrap();
        }
        let gone = TableEntry { name: "shop".into(), revision: 2, app: None };
        store.put_entry(&gone).unwrap();
        store.put_entry(&line("forgotten", 1)).unwrap();
        assert!(store.remove_entry("forgotten").unwrap() && !store.remove_entry("none").unwrap());
        drop(store);
        let (mut entries, damaged) = Store::open(place.path()).unwrap().entries().unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        let mut expected: Vec<_> = names[1..].iter().map(|name| line(name, 1)).collect();
        expected.push(gone);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(entries, expected);
    }

    /// If this fails, one damaged file stops a node from starting, or is lost without a word.
    #[test]
    fn a_damaged_line_is_set_aside() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        store.put_entry(&line("good", 1)).unwrap();
        store.put_entry(&line("bad", 1)).unwrap();
        let bytes = line("other", 1).to_bytes();
        let apps = store.apps_path();
        fs::write(apps.join("bad.cbor"), b"\x83\x63").unwrap();
        fs::write(apps.join("moved.cbor"), &bytes).unwrap();
        fs::write(apps.join("empty.cbor"), b"").unwrap();
        let (entries, damaged) = store.entries().unwrap();
        assert_eq!(entries, [line("good", 1)]);
        let texts: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[0].contains("bad.cbor is damaged: the input ends inside"), "{texts:?}");
        assert!(texts[2].contains("it holds the app \"other\""), "{texts:?}");
        assert!(apps.join("bad.cbor.corrupt").exists());
        assert!(store.entries().unwrap().1.is_empty());
    }
}
