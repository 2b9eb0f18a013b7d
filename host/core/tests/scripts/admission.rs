//! Admission: a full node refuses at once what it has not begun, and finishes what it has.

use expect_test::expect;

use crate::machine::check;

/// If this fails, clients of a full cluster wait for nothing, or work that was begun is dropped.
#[test]
fn admit_max() {
    check(
        "set admit_max 2
         0 deploy app a@all
         1 ready a
         1 join 2 -
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 a.f
         3 from 2 deliver #1 4 a.f
         3 from 2 deliver #2 5 a.f steps 1
         4 done 1 x
         5 done 2 x
         6 done 3 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            2 submit 3 a.f
              reply p3 (busy: no node that could run it takes it now) by -
            3 from 2 deliver #1 4 a.f
              -> 2 refused #1 full
            3 from 2 deliver #2 5 a.f steps 1
              -> 2 accepted #2 wait 1500
            4 done 1 x
              reply p1 ok x by 1
              run h2 p2 a.f start ii
            5 done 2 x
              reply p2 ok x by 1
              run h4 p5 a.f start in
            6 done 3 x
        "#]],
    );
}

/// If this fails, a node takes new work that would wait longer than its clients would.
#[test]
fn admit_wait_max() {
    check(
        "set admit_wait_max 20
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         3 done 1 x used 400000
         4 submit 2 a.f
         4 submit 3 a.f
         5 done 2 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 done 1 x used 400000
              reply p1 ok x by 1
            4 submit 2 a.f
              run h2 p2 a.f start ii
            4 submit 3 a.f
              reply p3 (busy: no node that could run it takes it now) by -
            5 done 2 x
              reply p2 ok x by 1
        "#]],
    );
}

/// If this fails, a full node holds more than it can, in whatever way the processes come.
#[test]
fn held_max() {
    check(
        "set held_max 2
         set admit_max 2
         0 deploy app a@all
         1 ready a
         1 join 2 -
         2 submit 1 a.f
         2 from 2 deliver #1 2 a.f steps 1
         3 from 2 deliver #2 3 a.f steps 1
         3 submit 4 a.f
         4 done 1 x
         5 from 2 deliver #3 3 a.f steps 1",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 from 2 deliver #1 2 a.f steps 1
              -> 2 accepted #1 wait 1000
            3 from 2 deliver #2 3 a.f steps 1
              -> 2 refused #2 full
            3 submit 4 a.f
              reply p4 (busy: this node holds 2 processes) by -
            4 done 1 x
              reply p1 ok x by 1
              run h2 p2 a.f start in
            5 from 2 deliver #3 3 a.f steps 1
              -> 2 accepted #3 wait 1050
        "#]],
    );
}

/// If this fails, a gateway keeps any number of clients waiting.
#[test]
fn waiting_max() {
    check(
        "set waiting_max 1
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         2 submit 2 a.f
         3 done 1 x
         4 submit 3 a.f",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
              reply p2 (busy: 1 clients wait at this gateway) by -
            3 done 1 x
              reply p1 ok x by 1
            4 submit 3 a.f
              run h2 p3 a.f start ii
        "#]],
    );
}

/// If this fails, a full node refuses though another has room, or offers the rest though all are
/// full.
#[test]
fn a_full_node_sends_new_work_to_others_first() {
    check(
        "set admit_max 1
         0 deploy app a@all
         1 ready a
         1 join 2 a
         1 join 3 a wait 5000000
         2 submit 1 a.f
         2 submit 2 a.f
         3 from 2 refused #1 full",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a
            1 join 3 a wait 5000000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
            3 from 2 refused #1 full
              reply p2 (busy: no node that could run it takes it now) by -
        "#]],
    );
}

/// If this fails, a client is told that nothing has run though a lost node may have run it.
#[test]
fn what_may_have_been_taken_is_not_refused_as_busy() {
    check(
        "0 deploy app a@2
         1 join 2 a
         2 submit 1 a.f
         3 down 2
         4 status
         5 join 3 a
         50 status",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 down 2
              left 2
            4 status
              p1.0 a waiting
              node 2 unlinked, 1 components
            5 join 3 a
              at 23: -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
            50 status
              p1.0 a leaving
              node 2 unlinked, 1 components
              node 3 live, 1 components
        "#]],
    );
}

/// If this fails, a node without memory takes more.
#[test]
fn a_node_without_memory_says_so() {
    check(
        "set beacon_interval 100
         show beacon
         0 deploy app a@all
         1 ready a
         2 measured memory 700
         3 submit 1 a.f
         3 measured memory 900
         150 measured memory 960
         300 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
              beacon wait 0
            1 ready a
            2 measured memory 700
            3 submit 1 a.f
              run h1 p1 a.f start ii
            3 measured memory 900
              at 96.491: beacon wait 1500
            150 measured memory 960
              at 194.135: beacon wait 80500 closed
              at 291.327: beacon wait 80500 closed
            300 status
              p1.0 a running
        "#]],
    );
}

/// If this fails, a node whose cores others use tells the wait of one that has them for itself: one
/// step that took 300 ms for 1 ms of work halves what its core is worth, until that is forgotten.
#[test]
fn a_node_that_is_kept_from_its_core_tells_a_longer_wait() {
    check(
        "set beacon_interval 1000
         show beacon
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         3 done 1 x used 1000 took 300000
         4 submit 2 a.f
         4 submit 3 a.f
         150 status
         5000 measured memory 100
         5200 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
              beacon wait 0
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 done 1 x used 1000 took 300000
              reply p1 ok x by 1
            4 submit 2 a.f
              run h2 p2 a.f start ii
            4 submit 3 a.f
            150 status
              p2.0 a running
              p3.0 a queued
              at 964.915: beacon wait 2410
              at 1867.206: beacon wait 2410
              at 2771.319: beacon wait 2410
              at 3840.42: beacon wait 2410
              at 4755.266: beacon wait 2410
            5000 measured memory 100
            5200 status
              p2.0 a running
              p3.0 a queued
        "#]],
    );
}

/// If this fails, what is asked for is not checked before anything is made of it.
#[test]
fn unknown_names() {
    check(
        "0 submit 1 a.f
         1 deploy app a@all
         2 submit 2 z.f
         3 undeploy app
         4 submit 3 a.f",
        expect![[r#"
            0 submit 1 a.f
              reply p1 (not-found: no app "app" is deployed) by -
            1 deploy app a@all
              hold a from -
            2 submit 2 z.f
              reply p2 (not-found: app app has no component "z"; its components: a) by -
            3 undeploy app
            4 submit 3 a.f
              reply p3 (not-found: no app "app" is deployed) by -
        "#]],
    );
}
