//! Rules on documents and on all text: decisions have their parts, the protocol's page belongs to
//! the code, and nothing tells on which machine it was written.

use anyhow::Context;
use ring::digest::{SHA256, digest};

use super::{File, Finding};

const PROTOCOL: &str = "docs/protocol.md";
/// What stands before the hash in the protocol's page.
const MARK: &str = "<!-- proto: sha256:";
/// The parts of a decision.
const PARTS: [&str; 4] = ["Context", "Decision", "Alternatives", "Consequences"];
/// Paths of one machine, and hosts of package registries.
const TRACES: [&str; 8] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("arti", "factory"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("proxy.", "golang.org"),
];

/// All findings in documents, and traces of a machine anywhere.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files.iter().flat_map(traces).collect();
    findings.extend(files.iter().flat_map(missing_parts));
    if let Some(page) = files.iter().find(|file| file.path == PROTOCOL)
        && !page.text.contains(&format!("{MARK}{} -->", protocol_hash(files)))
    {
        let text = "host/proto has changed since: bring the page up to date, then bless";
        findings.push(page.finding_as_a_whole(text));
    }
    findings
}

/// The protocol's page with the hash of the code as it is.
pub(super) fn blessed(files: &[File]) -> anyhow::Result<(&'static str, String)> {
    let page = files.iter().find(|file| file.path == PROTOCOL).context(PROTOCOL)?;
    let (before, rest) = page.text.split_once(MARK).context("the page has no line for the hash")?;
    let (_, after) = rest.split_once(" -->").context("the line for the hash has no end")?;
    Ok((PROTOCOL, format!("{before}{MARK}{} -->{after}", protocol_hash(files))))
}

/// The SHA-256 of what decides the bytes on the wire: the code of `host/proto`, without its tests,
/// comments and spacing.
fn protocol_hash(files: &[File]) -> String {
    let code = files
        .iter()
        .filter(|file| file.path.starts_with("host/proto/src/") && !file.path.ends_with("/lib.rs"));
    let mut text = String::new();
    for file in code {
        let lines = file.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        text.extend(lines.flat_map(str::chars).filter(|c| !c.is_whitespace()));
    }
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn missing_parts(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("docs/decisions/") || !file.path.ends_with(".md") {
        return Vec::new();
    }
    let headings = |part: &&str| {
        file.text.lines().any(|line| line.trim_start_matches('#') == format!(" {part}"))
    };
    let missing = PARTS.iter().filter(|part| !headings(part));
    missing.map(|part| file.finding_as_a_whole(format!("no heading {part}"))).collect()
}

fn traces(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for trace in TRACES.iter().filter(|trace| line.contains(**trace)) {
            findings.push(file.finding(index, format!("{trace} is of one machine")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::{MARK, blessed, check};

    /// If this fails, a decision without its reasons is taken.
    #[test]
    fn decisions_have_their_parts() {
        let whole = "# 1\n## Context\n## Decision\n## Alternatives\n## Consequences\n";
        assert_eq!(texts(&check(&[file("docs/decisions/1.md", whole)])), [""; 0]);
        let part = [file("docs/decisions/1.md", &whole.replace("## Decision", "Decision"))];
        assert_eq!(texts(&check(&part)), ["docs/decisions/1.md: no heading Decision"]);
    }

    /// If this fails, the page of the protocol and the code drift apart unseen.
    #[test]
    fn the_protocol_page_belongs_to_the_code() {
        let with = |code: &str, page: &str| {
            [file("host/proto/src/a.rs", code), file("docs/protocol.md", page)]
        };
        let page = format!("a\n{MARK}0 -->\nb\n");
        assert_eq!(check(&with("//! A.\nfn a() {}\n", &page)).len(), 1);
        let (_, page) = blessed(&with("//! A.\nfn a() {}\n", &page)).expect("a page with a mark");
        assert!(page.starts_with("a\n") && page.ends_with(" -->\nb\n"));
        let same = "//! B.\nfn a() {\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(texts(&check(&with(same, &page))), [""; 0]);
        assert_eq!(check(&with("//! A.\nfn b() {}\n", &page)).len(), 1);
    }

    /// If this fails, the project tells where it was written.
    #[test]
    fn traces_of_a_machine_are_found() {
        let path = format!("see {}a\n", concat!("/wo", "rk/"));
        assert!(texts(&check(&[file("a.md", &path)]))[0].starts_with("a.md:1: "));
        assert_eq!(texts(&check(&[file("a.md", "network/a\n")])), [""; 0]);
    }
}
