//! What nodes are to each other, and to a load balancer.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use izna_bench::{Cluster, Node, Options, http, wait};
use serde_json::json;

use super::{Wrong, first};
use crate::script::{deploy, deploy_on, judge};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// How long members may take to find each other again.
const PATIENCE: Duration = Duration::from_secs(15);

fn three() -> Result<Cluster> {
    let cluster = Cluster::start(Options::nodes(&NAMES))?;
    deploy(&cluster, "shapes")?;
    Ok(cluster)
}

/// How `seen` is for `by`.
fn state(by: &Node, seen: &str) -> Option<String> {
    let nodes = by.manage("/v1/nodes").ok()?;
    let node = nodes.as_array()?.iter().find(|node| node.get("name").is_some_and(|n| n == seen))?;
    Some(node.get("state")?.as_str()?.to_owned())
}

/// Whether a node says that it is ready.
fn is_ready(node: &Node) -> bool {
    let manage = node.addresses().map(|addresses| addresses.manage);
    manage.and_then(|manage| http::get(manage, "/readyz")).is_ok_and(|r| r.status == 200)
}

/// Whether two nodes take each other for live, or the first says that it is not ready.
fn judge_membership(cluster: &Cluster, own: &str, other: &str) -> Wrong {
    let (own, other) = (cluster.node(own)?, cluster.node(other)?);
    let live = |by: &Node, seen: &Node| state(by, seen.name()).as_deref() == Some("live");
    let settled = || (live(own, other) && live(other, own) || !is_ready(own)).then_some(());
    let settled = wait::within(PATIENCE, "members", settled).is_ok();
    let got =
        if settled { "a member".to_owned() } else { format!("{:?}", state(other, own.name())) };
    judge(
        &format!("what {} is for {} though it says ready", own.name(), other.name()),
        &got,
        "a member",
    )
}

/// A call of a function whose name no message holds.
pub(super) fn call_name() -> Wrong {
    let cluster = Cluster::start(Options::nodes(&NAMES))?;
    // It has to be delivered: who is asked does not hold it.
    deploy_on(&cluster, "shapes", Some("b"))?;
    let node = cluster.node("a")?;
    let call = json!({
        "app": "shapes",
        "component": "c",
        "function": "f".repeat(300),
        "args": [],
        "deadline_ms": 3000,
    });
    let manage = node.addresses()?.manage;
    let response = http::post(manage, "/v1/call", "application/json", call.to_string().as_bytes())?;
    first([
        judge("a function's name of 300 letters", &response.status.to_string(), "400|404"),
        judge("deliveries without an answer", &unclear(&cluster)?.to_string(), "0"),
    ])
}

/// Deliveries of all nodes that were not answered: their links were torn.
fn unclear(cluster: &Cluster) -> Result<u64> {
    cluster.nodes().iter().map(|node| node.metric("izna_unclear_total")).sum()
}

/// The node loses its folder, and is given the next revision as soon as it is back.
pub(super) fn fresh_deploy() -> Wrong {
    let mut cluster = three()?;
    for _ in 0..3 {
        deploy(&cluster, "shapes")?;
    }
    restart_fresh(&mut cluster, "c", |_| Ok(()))?;
    let manage = format!("http://{}", cluster.node("c")?.addresses()?.manage);
    let app = cluster.folder().join("shapes.app");
    let path = app.join("izna.toml");
    fs::write(&path, fs::read_to_string(&path)?.replace("/greet", "/greeting"))?;
    let words = ["deploy", &app.to_string_lossy(), "--node", &manage, "--wait", "0"];
    if !cluster.izna_output(&words)?.status.success() {
        // It was refused: nobody was told that it holds.
        return Ok(None);
    }
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let served = || http::get(gateway, "/greeting?name=x").ok().filter(|r| r.status == 200);
    let got = match wait::within(PATIENCE, "the new route", served) {
        Ok(_) => "served",
        Err(_) => "lost",
    };
    judge("what was acknowledged", got, "served")
}

/// A node ends, and begins again with a folder that `prepare` has made.
fn restart_fresh(
    cluster: &mut Cluster,
    name: &str,
    prepare: impl FnOnce(PathBuf) -> Result<()>,
) -> Result<()> {
    let data = cluster.data(name);
    let node = cluster.node_mut(name)?;
    node.terminate()?;
    node.wait_exit()?;
    if data.is_dir() {
        fs::remove_dir_all(&data)?;
    }
    prepare(data)?;
    node.restart()?;
    node.wait_ready()?;
    Ok(())
}

/// A node's clock was ahead once; then its folder is lost.
pub(super) fn reborn() -> Wrong {
    let mut cluster = three()?;
    let ahead = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 600;
    let data = cluster.data("b");
    let node = cluster.node_mut("b")?;
    node.terminate()?;
    node.wait_exit()?;
    fs::write(data.join("incarnation"), format!("{ahead}\n"))?;
    node.restart()?;
    node.wait_ready()?;
    cluster.wait_linked()?;
    restart_fresh(&mut cluster, "b", |_| Ok(()))?;
    judge_membership(&cluster, "b", "a")
}

/// Two processes of one identity for a while, as in a rolling update; then the newer ends.
pub(super) fn twin() -> Wrong {
    let cluster = three()?;
    let identity = cluster.folder().join("identities/a.identity");
    let mut launch = cluster.launch("a", &identity)?;
    let data = cluster.data("a").to_string_lossy().into_owned();
    let second = cluster.data("second").to_string_lossy().into_owned();
    launch
        .arguments
        .iter_mut()
        .filter(|word| **word == data)
        .for_each(|word| *word = second.clone());
    let folder = cluster.folder().join("second");
    fs::create_dir_all(&folder)?;
    let mut twin = Node::start("a", &folder, launch)?;
    twin.wait_ready()?;
    let old = cluster.node("a")?;
    // They need a while to notice; the last look counts.
    thread::sleep(Duration::from_secs(5));
    let told = !is_ready(old) || !is_ready(&twin);
    let got = if told { "one is not ready" } else { "both say ready" };
    let wrong = judge("two of one identity", got, "one is not ready");
    twin.terminate()?;
    twin.wait_exit()?;
    first([wrong, judge_membership(&cluster, "a", "b")])
}

/// A load balancer that looks at `/readyz` five times a second, and a node that goes away.
pub(super) fn drain() -> Wrong {
    let drained = balanced(|cluster| {
        let manage = format!("http://{}", cluster.node("a")?.addresses()?.manage);
        cluster.izna(&["drain", "--node", &manage]).map(drop)
    })?;
    let ended = balanced(|cluster| cluster.node("a")?.terminate())?;
    first([
        judge("failed while it drained", &drained.to_string(), "0"),
        judge("failed after SIGTERM", &ended.to_string(), "0"),
    ])
}

/// How many requests of a balancer fail while something happens to the first node.
fn balanced(happens: impl FnOnce(&Cluster) -> Result<()>) -> Result<usize> {
    let cluster = three()?;
    let up: Vec<AtomicBool> = NAMES.iter().map(|_| AtomicBool::new(true)).collect();
    let (over, failed, asked) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let goes_on = || !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for (node, up) in cluster.nodes().iter().zip(&up) {
            scope.spawn(move || {
                let mut misses = 0;
                while goes_on() {
                    misses = if is_ready(node) { 0 } else { misses + 1 };
                    up.store(misses < 2, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(200));
                }
            });
        }
        scope.spawn(|| {
            for (node, up) in cluster.nodes().iter().zip(&up).cycle().take_while(|_| goes_on()) {
                if up.load(Ordering::Relaxed) {
                    let answered = node.get("/greet?name=x").is_ok_and(|r| r.status == 200);
                    failed.fetch_add(usize::from(!answered), Ordering::Relaxed);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let more = |count: usize| {
            let wanted = asked.load(Ordering::Relaxed) + count;
            wait::until("requests", || (asked.load(Ordering::Relaxed) > wanted).then_some(()))
        };
        let happened = more(50).and_then(|()| happens(&cluster));
        let happened = happened.and_then(|()| {
            wait::until("the balancer to see it", || {
                up.first().is_some_and(|up| !up.load(Ordering::Relaxed)).then_some(())
            })
        });
        let happened = happened.and_then(|()| more(50));
        over.store(true, Ordering::Relaxed);
        happened.context("balancing")
    })?;
    Ok(failed.into_inner())
}
