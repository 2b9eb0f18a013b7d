//! Apps that `izna new` makes, in each language that needs a toolchain of its own: built, served, and
//! built again when their author changes them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use izna_bench::{http, shipped, wait};

/// How long a build may take on a busy machine: Python's and Go's take some 15 s on a quiet one.
const BUILD: Duration = Duration::from_secs(240);

/// A shell in which the languages' tools are found, as in that of whoever has installed them.
fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    let environment = "set -e; environment=$(\"$0\" --environment); eval \"$environment\"\n";
    command.arg("-c").arg(environment.to_owned() + script);
    command.arg(shipped::root().join("guest-sdk/languages.sh"));
    command.env("IZNA", shipped::binary().unwrap());
    command
}

/// Ends with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Make an app, build it, and run it while its source changes.
fn lives(language: &str, source: &str) {
    let name = format!("hello-{language}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new");
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.join(&name);
    let _ = fs::remove_dir_all(&folder);
    let script = format!(
        "\"$IZNA\" new {name} --lang {language} --to \"$1\" && \"$IZNA\" build \"$1/{name}\""
    );
    let built = shell(&script).arg(folder.parent().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&built.stdout).into_owned();
    assert!(built.status.success(), "{said}{}", String::from_utf8_lossy(&built.stderr));
    assert!(said.contains(&format!("Built {name}: ")), "{said}");

    let dev = "exec \"$IZNA\" dev \"$1\" --listen 127.0.0.1:0 --manage 127.0.0.1:0";
    let mut dev = Ended(shell(dev).arg(&folder).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address: SocketAddr = first.strip_prefix("Serving http://").unwrap().parse().unwrap();
    let answers = |path: &str, expected: &str| {
        let path = format!("/{name}{path}");
        let asked = || (http::get(address, &path).ok()?.text() == expected).then_some(());
        wait::within(BUILD, expected, asked).unwrap();
    };
    answers("?name=Ada", "Hello, Ada!\n");
    answers("", "Hello, world!\n");
    let source = folder.join(source);
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("Hello, ", "Welcome, ")).unwrap();
    answers("?name=Ada", "Welcome, Ada!\n");
}

/// If this fails, whoever begins in C has nothing that runs.
#[test]
fn an_app_in_c_lives() {
    lives("c", "service.c");
}

/// If this fails, whoever begins in JavaScript has nothing that runs.
#[test]
fn an_app_in_javascript_lives() {
    lives("js", "service.js");
}

/// If this fails, whoever begins in Python has nothing that runs.
#[test]
fn an_app_in_python_lives() {
    lives("python", "service.py");
}

/// If this fails, whoever begins in Go has nothing that runs.
#[test]
fn an_app_in_go_lives() {
    lives("go", "export_app_service_greeter/greeter.go");
}
