//! What the commands of a developer do.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use izna_bench::{Cluster, Options, shipped, wait};

use super::{Wrong, first};
use crate::guest;
use crate::script::judge;

/// `izna dev` on a project whose build writes beside the product.
pub(super) fn dev_loop(case: &Path) -> Wrong {
    let folder = tempfile::tempdir()?;
    guest::app(case, folder.path())?;
    fs::rename(folder.path().join("c.wasm"), folder.path().join("made.bin"))?;
    fs::copy(case.join("build.sh"), folder.path().join("build.sh"))?;
    let count = folder.path().with_extension("count");
    let mut dev = Command::new(shipped::binary()?)
        .args(["dev", "--listen", "127.0.0.1:0", "--manage", "127.0.0.1:0"])
        .current_dir(folder.path())
        .env("COUNT", &count)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let builds = || fs::read_to_string(&count).unwrap_or_default().lines().count();
    let looped = wait::within(Duration::from_secs(6), "builds", || (builds() > 3).then_some(()));
    let got =
        if looped.is_ok() { "over and over".to_owned() } else { format!("{} times", builds()) };
    dev.kill()?;
    dev.wait()?;
    let _ = fs::remove_file(&count);
    judge("built without an edit", &got, "1 times")
}

/// A module of some KB whose component takes 10^12 naive steps to make.
pub(super) fn encode_bomb() -> Wrong {
    let mut cluster = Cluster::start(Options::nodes(&["a"]))?;
    let folder = cluster.folder().join("bomb");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("c.wasm"), guest::chain(10, 12)?)?;
    let manifest = "[app]\nname = \"bomb\"\n[component.c]\nsource = \"c.wasm\"\n";
    fs::write(folder.join("izna.toml"), manifest)?;
    let manage = format!("http://{}", cluster.node("a")?.addresses()?.manage);
    let ends = |arguments: &[&str]| -> Result<&'static str> {
        let mut child = Command::new(shipped::binary()?)
            .args(arguments)
            .current_dir(&folder)
            .env("IZNA_NODE", &manage)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let patience = Duration::from_secs(8);
        let ended = wait::within(patience, "its end", || child.try_wait().ok().flatten());
        child.kill()?;
        child.wait()?;
        Ok(if ended.is_ok() { "ends" } else { "does not end" })
    };
    let inspected = ends(&["inspect", "c.wasm"])?;
    let deployed = ends(&["deploy", "."])?;
    let node = cluster.node_mut("a")?;
    node.terminate()?;
    let ended = if node.wait_exit().is_ok() { "ends" } else { "does not end" };
    first([
        judge("inspect", inspected, "ends"),
        judge("deploy", deployed, "ends"),
        judge("the node after SIGTERM", ended, "ends"),
    ])
}
