//! Rules on length, and the list of what is longer: it only shrinks.

use std::collections::BTreeMap;

use super::{File, Finding};

const PATH: &str = "tests/xtask/tidy-exceptions.txt";
/// The longest file, in lines.
const FILE_LINES_MAX: usize = 600;
/// The longest function, in lines.
const FUNCTION_LINES_MAX: usize = 80;

/// What is too long, as in the list: its kind and name, and its lines.
type Lengths = BTreeMap<String, usize>;

/// What is too long and not in the list with just that length.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let long: BTreeMap<String, (&File, usize, usize)> = files.iter().flat_map(long).collect();
    let granted = granted(files);
    let mut findings = Vec::new();
    for (name, (file, index, lines)) in &long {
        let text = match granted.get(name) {
            None => format!("{name} has {lines} lines, over the limit"),
            Some(max) if lines > max => format!("{name} has grown from {max} lines to {lines}"),
            Some(max) if lines < max => format!("{name} has shrunk from {max} lines: bless"),
            Some(_) => continue,
        };
        findings.push(file.finding(*index, text));
    }
    for name in granted.keys().filter(|name| !long.contains_key(*name)) {
        let text = format!("{name} is no longer too long: bless");
        findings.push(Finding { path: PATH.into(), line: 0, text });
    }
    findings
}

/// The list with lower numbers and fewer lines, never more.
pub(super) fn blessed(files: &[File]) -> (&'static str, String) {
    let long: BTreeMap<String, (&File, usize, usize)> = files.iter().flat_map(long).collect();
    let list = files.iter().find(|file| file.path == PATH);
    let comments = list.iter().flat_map(|file| file.text.lines()).filter(|l| l.starts_with('#'));
    let mut text: String = comments.map(|line| format!("{line}\n")).collect();
    for (name, max) in granted(files) {
        if let Some((_, _, lines)) = long.get(&name) {
            text.push_str(&format!("{name} {}\n", max.min(*lines)));
        }
    }
    (PATH, text)
}

fn granted(files: &[File]) -> Lengths {
    let list = files.iter().find(|file| file.path == PATH);
    let lines = list.iter().flat_map(|file| file.text.lines()).filter(|l| !l.starts_with('#'));
    let entries = lines.filter_map(|line| line.rsplit_once(' '));
    entries.filter_map(|(name, lines)| Some((name.to_owned(), lines.parse().ok()?))).collect()
}

/// The file and the functions in it that are too long, by name.
fn long(file: &File) -> Vec<(String, (&File, usize, usize))> {
    if !file.is_rust() || file.is_generated() {
        return Vec::new();
    }
    let mut long = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        long.push((format!("file {}", file.path), (file, 0, lines)));
    }
    for (name, index, lines) in functions(&file.text) {
        if lines > FUNCTION_LINES_MAX {
            long.push((format!("function {}::{name}", file.path), (file, index, lines)));
        }
    }
    long
}

/// The functions of formatted code: name, index of the first line, number of lines. A function ends
/// at the first line that closes a brace at its own indentation.
fn functions(text: &str) -> Vec<(&str, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indentation = line.len() - line.trim_start().len();
        let rest = lines.get(index..).unwrap_or_default();
        let ends = |line: &&str| {
            let (start, end) = line.split_at_checked(indentation).unwrap_or(("-", ""));
            let level = start.trim().is_empty() && !end.starts_with(' ');
            level && (end.starts_with('}') || end.ends_with(';'))
        };
        if !line.ends_with(['}', ';'])
            && let Some(length) = rest.iter().position(ends)
        {
            functions.push((name, index, length + 1));
        }
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let modifiers = before.split_whitespace().all(|word| {
        word.starts_with("pub") || matches!(word, "async" | "const" | "unsafe" | "extern" | "\"C\"")
    });
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (modifiers && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::{PATH, blessed, check, functions};

    fn long_file(lines: usize) -> String {
        "// a\n".repeat(lines)
    }

    /// If this fails, functions are measured wrongly.
    #[test]
    fn functions_end_at_their_indentation() {
        let text = "impl A {\n    pub(crate) async fn a(\n        b: u8,\n    ) {\n        if b {\n        \
                    }\n    }\n}\nfn one() {}\ntrait T {\n    fn none(\n        a: u8,\n    );\n}\n";
        assert_eq!(functions(text), [("a", 1, 6), ("none", 10, 3)]);
    }

    /// If this fails, files and functions grow without anyone being asked.
    #[test]
    fn what_is_too_long_is_found() {
        let function = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(79));
        let files = [file("a.rs", &long_file(601)), file("b.rs", &function)];
        let expected = [
            "a.rs:1: file a.rs has 601 lines, over the limit",
            "b.rs:1: function b.rs::a has 81 lines, over the limit",
        ];
        assert_eq!(texts(&check(&files)), expected);
        let short = [file("a.rs", &long_file(600)), file("b.txt", &long_file(900))];
        assert_eq!(texts(&check(&short)), Vec::<String>::new());
    }

    /// If this fails, the list of exceptions grows, or is not what it says.
    #[test]
    fn the_list_only_shrinks() {
        let with = |lines, list: &str| [file("a.rs", &long_file(lines)), file(PATH, list)];
        let list = "# why\nfile a.rs 700\n";
        assert_eq!(texts(&check(&with(700, list))), Vec::<String>::new());
        assert!(texts(&check(&with(701, list)))[0].contains("grown from 700 lines to 701"));
        assert!(texts(&check(&with(699, list)))[0].contains("shrunk from 700 lines"));
        assert!(texts(&check(&with(600, list)))[0].contains("no longer too long"));
        assert_eq!(blessed(&with(701, list)).1, list);
        assert_eq!(blessed(&with(699, list)).1, "# why\nfile a.rs 699\n");
        assert_eq!(blessed(&with(600, list)).1, "# why\n");
        assert_eq!(blessed(&with(700, "# why\n")).1, "# why\n");
    }
}
