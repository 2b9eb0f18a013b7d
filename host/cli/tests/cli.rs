//! Runs the commands in `tests/cli/*.test` with the built program and compares what they print.
//!
//! A file is a story in one empty folder, in lines:
//!
//! - `# ...` says what is broken if it fails;
//! - `FILE: PATH`, then its lines, then `END`, makes a file; `HEX: PATH DIGITS` one of bytes;
//!   `CHMOD: MODE PATH` changes the mode of one;
//! - `RUN: ARGUMENT ...` runs `izna`; beneath are the lines of its output, those of its errors
//!   behind `! `, and its exit code behind `=> `.
//!
//! `BLESS=1` writes what came in place of what was expected. Read the diff before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may panic and print"
)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// If this fails, what people and scripts see of a command has changed.
#[test]
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    paths.sort();
    assert!(!paths.is_empty());
    let mut failed = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let expected = fs::read_to_string(&path).unwrap();
        let came = play(&name, &expected);
        if came == expected {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, came).unwrap();
            continue;
        }
        let pairs = expected.lines().zip(came.lines());
        let differs = pairs.clone().position(|(expected, came)| expected != came);
        let at = differs.unwrap_or(expected.lines().count().min(came.lines().count()));
        println!("{name}.test:{}\n--- expected\n{expected}--- came\n{came}", at + 1);
        failed.push(name);
    }
    assert!(failed.is_empty(), "{failed:?} differ; BLESS=1 takes what came");
}

/// The story with what came in place of what was expected.
fn play(name: &str, story: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("story-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let mut came = String::new();
    let mut lines = story.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("! ") || line == "!" || line.starts_with("=> ") {
            continue;
        }
        let (word, rest) = line.split_once(": ").unwrap_or_default();
        match word {
            "RUN" => {
                came += &format!("{line}\n{}", run(&folder, rest));
                continue;
            }
            "FILE" => {
                came += &format!("{line}\n");
                let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "END").collect();
                let content = content.join("\n") + "\n";
                write(&folder, rest, content.as_bytes());
                came += &format!("{content}END\n");
                continue;
            }
            "HEX" => {
                let (path, digits) = rest.split_once(' ').unwrap();
                let byte = |pair: &[u8]| {
                    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
                };
                let bytes: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect();
                write(&folder, path, &bytes);
            }
            "CHMOD" => {
                let (mode, path) = rest.split_once(' ').unwrap();
                let mode = Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap());
                fs::set_permissions(folder.join(path), mode).unwrap();
            }
            // What was expected of a command: what came stands there already.
            _ if !line.is_empty() && !line.starts_with('#') => continue,
            _ => {}
        }
        came += &format!("{line}\n");
    }
    came
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn run(folder: &Path, arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_izna"));
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("IZNA")) {
        command.env_remove(name);
    }
    let output = command
        .args(words(arguments))
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| same_everywhere(&String::from_utf8_lossy(bytes), folder);
    let mut said = text(&output.stdout);
    for line in text(&output.stderr).lines() {
        said += format!("! {line}").trim_end();
        said.push('\n');
    }
    // An empty line ends what was expected, so that a story's own line can follow: none is printed.
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut said: String = lines.iter().map(|line| format!("{line}\n")).collect();
    said += &match output.status.code() {
        Some(code) => format!("=> {code}\n"),
        None => "=> killed\n".to_owned(),
    };
    said
}

/// Words apart by spaces, where quotes hold several together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Names of folders and random ids are not part of a story.
fn same_everywhere(text: &str, folder: &Path) -> String {
    let text = text.replace(folder.to_str().unwrap(), "[DIR]");
    let mut said = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("c-") {
        let (before, id) = rest.split_at(at);
        let digits = id[2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        said += before;
        said += if digits == 16 { "c-[ID]" } else { &id[..2 + digits] };
        rest = &id[2 + digits..];
    }
    said + rest
}
