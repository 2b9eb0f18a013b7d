//! What a node costs that has nothing to do. Alone in its process, for it measures that process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, time::Duration};

use common::{Cluster, linked};

/// The processor time of this process, in hundredths of a second.
fn used() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = text.rsplit_once(')').unwrap();
    rest.split_whitespace().skip(11).take(2).map(|time| time.parse::<u64>().unwrap()).sum()
}

/// If this fails, idle nodes use up the processor: two linked ones, with debug code, may use 3 % of
/// a core; optimised, one uses less than half a per cent.
#[test]
fn idle_nodes_are_cheap() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::with_multicast();
        let a = cluster.start("a", &[]).await;
        let b = cluster.start("b", &[]).await;
        linked(&[&a, &b]).await;
        let before = used();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let used = used() - before;
        assert!(used <= 15, "{used} hundredths of a second in 5 s");
        println!("{used} hundredths of a second in 5 s");
        a.shutdown().await;
        b.shutdown().await;
    });
}
