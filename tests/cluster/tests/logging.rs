//! A node whose log nobody reads any more, or whose disk is full of it: it goes on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests say what is wrong by panicking"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use izna_bench::{Cluster, Options, wait};
use izna_tests_cluster::echo;

/// Two nodes, of which `first` logs to `log`, all that it can.
fn cluster(log: &Path) -> Cluster {
    let script = format!(
        "case \"$*\" in *first.identity*) exec \"$@\" 2>'{}';; *) exec \"$@\";; esac",
        log.display()
    );
    let wrapper = ["sh", "-c", script.as_str(), "sh"].map(str::to_owned).to_vec();
    let options = Options { wrapper, ..Options::nodes(&["first", "other"]) };
    Cluster::start(options.arguments(&["--log", "info,placement=debug"])).unwrap()
}

/// A named pipe in `folder`, held open: while it is, writes to it wait for someone who reads.
fn pipe(folder: &Path) -> (std::path::PathBuf, File) {
    let path = folder.join("log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let held = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (path, held)
}

/// The node does what has something to log: it loses a node and links to it again, takes a deploy,
/// answers, and stops when it is told to.
fn goes_on(mut cluster: Cluster) {
    cluster.node_mut("other").unwrap().kill().unwrap();
    wait::until("the other node to be missed", || {
        let nodes = cluster.node("first").unwrap().manage("/v1/nodes").ok()?;
        let live = nodes.as_array()?.iter().filter(|node| node["state"] == "live").count();
        (live == 0).then_some(())
    })
    .unwrap();
    cluster.node_mut("other").unwrap().restart().unwrap();
    cluster.node_mut("other").unwrap().wait_ready().unwrap();
    cluster.wait_linked().unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&[])).unwrap(), &[]).unwrap();
    let first = cluster.node_mut("first").unwrap();
    assert_eq!(first.post("/echo", b"well").unwrap().text(), "well");
    first.terminate().unwrap();
    assert!(first.wait_exit().unwrap().success());
}

/// If this fails, `izna node 2>&1 | head` leaves a node behind that says it is ready and links to
/// nobody.
#[test]
fn a_closed_log_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (log, held) = pipe(folder.path());
    let cluster = cluster(&log);
    drop(held);
    let lost = || cluster.node("first").unwrap().metric("izna_log_failed_total").ok();
    cluster.deploy(&cluster.app("echo", &echo(&[])).unwrap(), &[]).unwrap();
    let logs = || {
        cluster.node("first").unwrap().post("/echo", b"well").unwrap();
        lost().filter(|lost| *lost > 0)
    };
    wait::until("lines to be lost", logs).unwrap();
    goes_on(cluster);
}

/// If this fails, a node ends or hangs when the disk with its log is full.
#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let cluster = cluster(Path::new("/dev/full"));
    assert!(cluster.node("first").unwrap().metric("izna_log_failed_total").unwrap() > 0);
    goes_on(cluster);
}

/// If this fails, a log that is not read stops every step, or lines are lost and nobody is told.
#[test]
fn a_log_that_is_not_read_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (log, held) = pipe(folder.path());
    let cluster = cluster(&log);
    cluster.deploy(&cluster.app("echo", &echo(&["first"])).unwrap(), &[]).unwrap();
    let first = cluster.node("first").unwrap();
    let dropped = || {
        assert_eq!(first.get("/walk?n=50").unwrap().status, 200);
        let dropped = first.metric("izna_log_dropped_total").unwrap();
        (dropped > 0).then_some(())
    };
    wait::until("lines to be dropped", dropped).unwrap();
    assert_eq!(first.post("/echo", b"well").unwrap().text(), "well");

    // Someone reads again.
    let mut lines = BufReader::new(fs::File::open(&log).unwrap()).lines();
    let told = lines.find(|line| line.as_ref().unwrap().contains("log lines were dropped"));
    assert!(told.unwrap().unwrap().contains("count="));
    drop(held);
    goes_on(cluster);
}
