//! The app table and the components that it calls for.

use std::sync::Arc;

use expect_test::expect;
use izna_core::{Config, Core, Input, Output, Time};
use izna_proto::{Grants, Message, NodeId, TableEntry, Wire};

use crate::{
    machine::{self, check, run},
    words::Words,
};

/// If this fails, a deploy does not reach the others, or not the disk.
#[test]
fn a_deploy_is_kept_and_told() {
    check(
        "show store
         0 join 2 -
         1 deploy app a@all
         2 deploy app a=a2@all
         3 undeploy app",
        expect![[r#"
            0 join 2 -
            1 deploy app a@all
              store app@1
              hold a from 2
              -> 2 table-entries app@1
            2 deploy app a=a2@all
              store app@2
              hold a2 from 2
              -> 2 table-entries app@2
            3 undeploy app
              store app@3
              -> 2 table-entries app@3
        "#]],
    );
}

/// If this fails, nodes that were apart do not agree again.
#[test]
fn tables_are_compared_when_their_sums_differ() {
    check(
        "show table-summary
         show store
         0 deploy app a@all
         1 join 2 -
         1.5 from 2 inventory echo table 7
         2 beacon 2 table 7
         3 from 2 table-summary other@1
         4 from 2 table-entries other@1 b@2
         5 from 2 table-entries app@1 a@all
         6 from 2 table-summary app@1 other@1",
        expect![[r#"
            0 deploy app a@all
              store app@1
              hold a from -
            1 join 2 -
            1.5 from 2 inventory echo table 7
            2 beacon 2 table 7
              -> 2 table-summary app@1
            3 from 2 table-summary other@1
              -> 2 table-entries app@1
              -> 2 table-summary app@1
            4 from 2 table-entries other@1 b@2
              store other@1
            5 from 2 table-entries app@1 a@all
            6 from 2 table-summary app@1 other@1
              -> 2 table-entries app@1 other@1
        "#]],
    );
}

/// If this fails, components are not got, not tried again, or kept for ever.
#[test]
fn components_are_held_and_released() {
    check(
        "set retain_revision 300
         0 join 2 a
         0 join 3 -
         1 deploy app a@all b@2
         2 not-ready a
         600 ready a
         700 deploy app a=a2@all
         701 ready a2
         1200 undeploy app
         1700 status",
        expect![[r#"
            0 join 2 a
            0 join 3 -
            1 deploy app a@all b@2
              hold a from 2,3
              -> 2 table-entries app@1
              -> 3 table-entries app@1
            2 not-ready a
              not ready: a: no
              at 502: hold a from 2,3
            600 ready a
            700 deploy app a=a2@all
              hold a2 from 2,3
              -> 2 table-entries app@2
              -> 3 table-entries app@2
            701 ready a2
              at 1000: release a
            1200 undeploy app
              -> 2 table-entries app@3
              -> 3 table-entries app@3
              at 1500: release a2
            1700 status
              node 2 live, 1 components
              node 3 live, 0 components
        "#]],
    );
}

/// If this fails, a component that cannot be had keeps everyone busy for ever, or one that can be
/// had again is not got for long.
#[test]
fn what_cannot_be_had_is_asked_for_ever_less() {
    let asked = |script: &str| -> Vec<String> {
        let printed = run(script);
        let asked = printed.lines().filter(|line| line.contains("hold a"));
        asked.map(|line| line.trim().split(" from").next().unwrap().to_owned()).collect()
    };
    let (mut script, mut at, mut delay) = ("0 deploy app a@1\n".to_owned(), 10, 500);
    let mut expected = vec!["hold a".to_owned()];
    for _ in 0..10 {
        script += &format!("{at} not-ready a\n");
        expected.push(format!("at {}: hold a", at + delay));
        (at, delay) = (at + delay + 10, (delay * 2).min(60_000));
    }
    assert_eq!(asked(&format!("{script}{at} wait")), expected);
    let failed = format!("{script}{at} not-ready a\n");
    for news in ["join 2 -", "deploy app a@1,2", "join 2 a"] {
        let (then, end) = (at + 100, at + 20_000);
        let asked = asked(&format!("{failed}{then} {news}\n{end} wait"));
        assert_eq!(asked.last().unwrap(), &format!("at {}: hold a", then + 500), "{news}");
    }
    let failed = failed.replacen("0 deploy", "0 join 2 -\n0 deploy", 1);
    let (then, end) = (at + 100, at + 20_000);
    let told = asked(&format!("{failed}{then} from 2 inventory a\n{end} wait"));
    assert_eq!(told.last().unwrap(), &format!("at {}: hold a", then + 500));
    let told = asked(&format!("{failed}{then} from 2 inventory -\n{end} wait"));
    assert_eq!(told.last().unwrap(), expected.last().unwrap(), "that is no news");
}

/// If this fails, a restarted node has forgotten its apps.
#[test]
fn a_restored_table_is_not_stored_again() {
    check(
        "show store
         0 restore app@3 a@all
         1 ready a
         2 submit 1 a.f",
        expect![[r#"
            0 restore app@3 a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
        "#]],
    );
}

/// If this fails, a process that began with an old revision goes on with a new one.
#[test]
fn a_process_stays_with_its_revision() {
    check(
        "0 deploy app a@all b@all
         1 ready a
         1 ready b
         2 submit 1 a.f
         3 deploy app a=a2@all b=b2@all
         4 ready a2
         4 ready b2
         5 call 1 b.f
         6 submit 2 a.f
         7 done 1 x",
        expect![[r#"
            0 deploy app a@all b@all
              hold a from -
              hold b from -
            1 ready a
            1 ready b
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 deploy app a=a2@all b=b2@all
              hold a2 from -
              hold b2 from -
            4 ready a2
            4 ready b2
            5 call 1 b.f
              run h1 p1 b.f start in
            6 submit 2 a.f
            7 done 1 x
              run h1 p1 a.f resume k ok x
        "#]],
    );
}

/// If this fails, apps fill every node.
#[test]
fn apps_max() {
    check(
        "set apps_max 1
         show store
         0 deploy app a@all
         1 deploy other b@all
         2 from 2 table-entries third@1 c@all
         3 deploy app a=a2@all
         4 undeploy app
         5 deploy other b@all
         3600004 deploy other b@all",
        expect![[r#"
            0 deploy app a@all
              store app@1
              hold a from -
            1 deploy other b@all
              not changed: the app table is full: 1 apps, 0 undeployed, which make room in an hour
            2 from 2 table-entries third@1 c@all
            3 deploy app a=a2@all
              store app@2
              hold a2 from -
            4 undeploy app
              store app@3
            5 deploy other b@all
              not changed: the app table is full: 1 apps, 1 undeployed, which make room in an hour
              at 300100: release a
              at 300100: release a2
            3600004 deploy other b@all
              forget app
              store other@1
              hold b from -
        "#]],
    );
}

/// If this fails, a line is deployed that no other node can read, nor this one after a restart:
/// links break for as long as it is there.
#[test]
fn a_line_that_none_can_read_is_refused() {
    let nodes = |count: u64| (2..2 + count).map(|node| node.to_string()).collect::<Vec<_>>();
    let (fits, over) = (nodes(256).join(","), nodes(257).join(","));
    let script = format!(
        "show store\n0 deploy app a@{fits}\n1 deploy app a@{over}\n2 hold a 300\n3 deploy app a@2"
    );
    let printed = run(&script).replace(&fits, "FITS").replace(&over, "OVER");
    expect![[r#"
        0 deploy app a@FITS
          store app@1
        1 deploy app a@FITS,258
          not changed: the app is over a limit of the app table
        2 hold a 300
          store app@2
        3 deploy app a@2
          store app@3
    "#]]
    .assert_eq(&printed);
    let added = |node: u64| format!("{node} hold a {}\n", node + 10);
    let script = format!("0 deploy app a@1\n{}", (1..=257).map(added).collect::<String>());
    let refused = run(&script).lines().filter(|line| line.contains("not changed")).count();
    assert_eq!(refused, 1, "the 257th that is added by hand");
}

/// If this fails, a node that lacks much of a large table never gets it: one message with all of it
/// is longer than a link takes.
#[test]
fn a_large_table_is_told_in_parts() {
    let line = |number: usize| {
        let name: Arc<str> = Arc::from(format!("app-{number}"));
        let mut app = machine::app(&name, Words::new("app a@2").app().components);
        let long = vec![("LONG".to_owned(), "x".repeat(700 << 10))];
        app.components[0].grants = Arc::new(Grants { env: long, ..Grants::default() });
        TableEntry { name, revision: 1, app: Some(app) }
    };
    let mut core = Core::new(Config::new(NodeId(1), 1, 1), Time::from_micros(0));
    core.handle(Time::from_micros(0), Input::Restore((0..40).map(line).collect()));
    let mut known: Vec<(Arc<str>, u64)> = Vec::new();
    let mut summaries = 0;
    while known.len() < 40 {
        summaries += 1;
        assert!(summaries < 10, "{known:?}");
        while core.poll().is_some() {}
        let message = Message::TableSummary(known.clone());
        core.handle(Time::from_micros(1), Input::Received { peer: NodeId(2), message });
        let mut bytes = 0;
        while let Some(output) = core.poll() {
            let Output::Send { message: message @ Message::TableEntries(_), .. } = output else {
                continue;
            };
            assert!(message.to_bytes().len() < 2 << 20);
            bytes += message.to_bytes().len();
            let Message::TableEntries(entries) = message else { continue };
            known.extend(entries.iter().map(|entry| (entry.name.clone(), entry.revision)));
        }
        assert!(bytes < 10 << 20, "{bytes} at once");
    }
    assert!(summaries > 2);
}
