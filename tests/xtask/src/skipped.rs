//! What was not checked, and why: a line each in a file that tests and phases of CI add to.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// Names the file to the tests; without it they only print.
pub(crate) const VARIABLE: &str = "IZNA_SKIPPED";

/// The file.
pub(crate) fn path(root: &Path) -> PathBuf {
    root.join("target/skipped.txt")
}

/// Begin with an empty file.
pub(crate) fn begin(root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root.join("target"))?;
    File::create(path(root))?;
    Ok(())
}

/// Say that something is skipped, with the reason.
pub(crate) fn note(root: &Path, reason: &str) -> anyhow::Result<()> {
    println!("skipped: {reason}");
    writeln!(File::options().append(true).create(true).open(path(root))?, "{reason}")?;
    Ok(())
}

/// The lines of the file in one: how many there are, and each reason.
pub(crate) fn summary(text: &str) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        *reasons.entry(line).or_default() += 1;
    }
    let count: usize = reasons.values().sum();
    let times = |(reason, times): (&str, usize)| match times {
        1 => reason.to_owned(),
        _ => format!("{reason}, {times} times"),
    };
    let reasons: Vec<String> = reasons.into_iter().map(times).collect();
    match count {
        0 => "skipped: 0".to_owned(),
        _ => format!("skipped: {count} ({})", reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    /// If this fails, a run that did not check everything looks like one that did.
    #[test]
    fn what_is_skipped_is_counted() {
        assert_eq!(summary(""), "skipped: 0");
        assert_eq!(summary("b: x\na: y\nb: x\n"), "skipped: 3 (a: y; b: x, 2 times)");
    }
}
