//! Migration: a source keeps a process until the target has accepted it, and draws again whatever
//! else happens.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a process is lost between two nodes, or is at both.
#[test]
fn a_process_is_kept_until_it_is_accepted() {
    check(
        "0 deploy app a@2
         1 join 2 a
         2 submit 1 a.f
         3 status
         4 from 2 accepted #1
         5 status",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 status
              p1.0 a leaving
              node 2 live, 1 components
            4 from 2 accepted #1
            5 status
              node 2 live, 1 components
        "#]],
    );
}

/// If this fails, every delivery and request wakes the node once more, long after its answer.
#[test]
fn an_answer_disarms_its_timer() {
    check(
        "0 deploy app b@2
         1 join 2 b
         1 timers
         2 submit 1 b.f
         2 memory 1 a get
         2 timers
         3 from 2 accepted #1
         3 from 2 memory-answer #1 v
         3 timers",
        expect![[r#"
            0 deploy app b@2
            1 join 2 b
            1 timers
              4 timers
            2 submit 1 b.f
              -> 2 deliver #1 p1.0 b hops 1 steps 0 left 1
            2 memory 1 a get
              -> 2 memory #1 get
            2 timers
              8 timers
            3 from 2 accepted #1
            3 from 2 memory-answer #1 v
              memory-answer 1 v
            3 timers
              5 timers
        "#]],
    );
}

/// If this fails, an answer that is not about this delivery makes a node forget a process.
#[test]
fn only_the_target_can_accept_and_only_this_delivery() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         3 from 3 accepted #1
         3 from 2 accepted #7
         4 status
         5 from 2 accepted #1
         6 from 2 accepted #1",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 3 accepted #1
            3 from 2 accepted #7
            4 status
              p1.0 a leaving
              node 2 live, 1 components
              node 3 live, 1 components
            5 from 2 accepted #1
            6 from 2 accepted #1
        "#]],
    );
}

/// If this fails, a process stays with a node that could not place it at the first try.
#[test]
fn a_refused_delivery_is_drawn_again() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         3 from 2 refused #1 draining closed
         4 from 3 accepted #2
         5 status",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 refused #1 draining closed
              -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
            4 from 3 accepted #2
            5 status
              node 2 closed, 1 components
              node 3 live, 1 components
        "#]],
    );
}

/// If this fails, a node goes on sending to one that does not hold the component, or does not help
/// one whose table is old.
#[test]
fn refusals_teach() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         3 from 2 refused #1 component
         3 status
         4 from 3 refused #2 revision
         5 status",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 refused #1 component
              -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
            3 status
              p1.0 a leaving
              node 2 live, 0 components
              node 3 live, 1 components
            4 from 3 refused #2 revision
              -> 3 table-entries app@1
            5 status
              p1.0 a waiting
              node 2 live, 0 components
              node 3 live, 1 components
        "#]],
    );
}

/// If this fails, a broken link takes processes with it.
#[test]
fn a_broken_link_makes_its_deliveries_unclear() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         3 down 2
         4 from 3 accepted #2
         5 status",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 down 2
              left 2
              -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
            4 from 3 accepted #2
            5 status
              node 2 unlinked, 1 components
              node 3 live, 1 components
        "#]],
    );
}

/// If this fails, a node that hangs keeps processes from the others, or is asked again before it
/// has spoken.
#[test]
fn a_delivery_without_an_answer_is_drawn_again() {
    check(
        "set beacon_interval 100
         show probe
         0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         410 status
         411 from 3 accepted #2
         412 beacon 2
         413 status
         800 from 2 alive
         801 status",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
              at 402: -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
            410 status
              p1.0 a leaving
              node 2 avoided, 1 components
              node 3 live, 1 components
            411 from 3 accepted #2
            412 beacon 2
            413 status
              node 2 avoided, 1 components
              node 3 live, 1 components
              at 474.228: -> 2 probe
            800 from 2 alive
            801 status
              node 2 live, 1 components
              node 3 live, 1 components
        "#]],
    );
}

/// If this fails, a node that never speaks again though its beacons come keeps its link for ever.
#[test]
fn a_suspect_node_is_probed_and_then_dead() {
    check(
        "set beacon_interval 100
         0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         410 from 3 accepted #2
         1000 beacon 2
         1600 down 2
         1601 status",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
              at 402: -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
            410 from 3 accepted #2
              at 474.228: -> 2 probe
            1000 beacon 2
              at 1100: -> 3 deliver #3 p1.1 a hops 1 steps 0 left 1
              at 1100: lost: 1 again, 0 unknown
              at 1529.449: disconnect 2
              at 1529.449: -> 3 probe
            1600 down 2
              left 2
            1601 status
              p1.1 a waiting
              node 2 unlinked, 1 components
              node 3 avoided, 1 components
        "#]],
    );
}

/// If this fails, a delivery that is repeated after a lost answer runs twice.
#[test]
fn a_repeated_delivery_is_accepted_and_dropped() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 -
         2 from 2 deliver #1 1 a.f
         3 from 2 deliver #2 1 a.f
         4 status
         5 from 2 deliver #3 1 a.f attempt 1
         6 from 2 deliver #4 1 a.f hops 2
         7 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 from 2 deliver #1 1 a.f
              -> 2 accepted #1 wait 500
              run h1 p1 a.f start in
            3 from 2 deliver #2 1 a.f
              -> 2 accepted #2 wait 500
            4 status
              p1.0 a running
              node 2 live, 0 components
            5 from 2 deliver #3 1 a.f attempt 1
              -> 2 accepted #3 wait 1000
            6 from 2 deliver #4 1 a.f hops 2
              -> 2 accepted #4 wait 1500
            7 status
              p1.0 a running
              p1.1 a queued
              p1.0 a queued
              node 2 live, 0 components
        "#]],
    );
}

/// If this fails, the memory of deliveries grows without limit.
#[test]
fn recent_max() {
    check(
        "set recent_max 1
         0 deploy app a@all
         1 ready a
         1 join 2 -
         2 from 2 deliver #1 1 a.f
         3 from 2 deliver #2 2 a.f
         4 from 2 deliver #3 2 a.f
         5 from 2 deliver #4 1 a.f",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 from 2 deliver #1 1 a.f
              -> 2 accepted #1 wait 500
              run h1 p1 a.f start in
            3 from 2 deliver #2 2 a.f
              -> 2 accepted #2 wait 1000
            4 from 2 deliver #3 2 a.f
              -> 2 accepted #3 wait 1000
            5 from 2 deliver #4 1 a.f
              -> 2 accepted #4 wait 1500
        "#]],
    );
}

/// If this fails, a node takes what it cannot run or cannot answer for.
#[test]
fn what_cannot_be_taken_is_refused() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 -
         2 from 2 deliver #1 1 z.f
         2 from 2 deliver #2 1 a.f revision 9
         2 from 3 deliver #3 1 a.f
         3 drain
         4 from 2 deliver #4 1 a.f
         5 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 from 2 deliver #1 1 z.f
              -> 2 refused #1 component
            2 from 2 deliver #2 1 a.f revision 9
              -> 2 refused #2 revision
            2 from 3 deliver #3 1 a.f
            3 drain
              drained
            4 from 2 deliver #4 1 a.f
              -> 2 refused #4 draining
            5 status
              node 2 live, 0 components
        "#]],
    );
}

/// If this fails, an ended process is forgotten before its gateway knows, or its end is told for
/// ever.
#[test]
fn an_end_is_told_until_the_gateway_has_it() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 -
         2 from 2 deliver #1 1 a.f
         3 done 1 x
         4 down 2
         30 up 2
         50 from 2 accepted #2
         51 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 from 2 deliver #1 1 a.f
              -> 2 accepted #1 wait 500
              run h1 p1 a.f start in
            3 done 1 x
              -> 2 finish #1 p1 ok x
            4 down 2
              left 2
              at 24: connect 2
            30 up 2
              -> 2 probe
              at 44: -> 2 finish #2 p1 ok x
            50 from 2 accepted #2
            51 status
              node 2 live, 0 components
        "#]],
    );
}

/// If this fails, ends of processes whose gateway is gone fill a node.
#[test]
fn an_end_that_nobody_waits_for_is_dropped() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 -
         2 from 2 deliver #1 1 a.f
         2 from 2 deliver #2 2 a.f budget 100
         3 down 2
         4 done 1 x
         5 done 2 x
         6 status
         7 beacon 2 incarnation 2
         30 status
         150 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 from 2 deliver #1 1 a.f
              -> 2 accepted #1 wait 500
              run h1 p1 a.f start in
            2 from 2 deliver #2 2 a.f budget 100
              -> 2 accepted #2 wait 1000
            3 down 2
              left 2
            4 done 1 x
              connect 2
              run h2 p2 a.f start in
            5 done 2 x
            6 status
              p1.0 a finishing
              p2.0 a finishing
              node 2 unlinked, 0 components
            7 beacon 2 incarnation 2
              restarted 2
              connect 2
            30 status
              node 2 unlinked, 0 components
            150 status
              node 2 unlinked, 0 components
        "#]],
    );
}

/// If this fails, a process whose component no node holds waits for ever, or not at all.
#[test]
fn a_process_that_no_node_takes_waits_a_while() {
    check(
        "0 deploy app a@all b@2
         1 ready a
         1 join 2 -
         2 submit 1 a.f
         3 call 1 b.f
         3 submit 2 a.f
         4 call 2 b.f
         100 from 2 inventory b
         150 from 2 accepted #1
         151 from 2 refused #2 component
         4000 status",
        expect![[r#"
            0 deploy app a@all b@2
              hold a from -
            1 ready a
            1 join 2 -
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 call 1 b.f
            3 submit 2 a.f
              run h2 p2 a.f start ii
            4 call 2 b.f
            100 from 2 inventory b
              at 103: -> 2 deliver #1 p1.0 a>b hops 1 steps 1 left 1
              at 104: -> 2 deliver #2 p2.0 a>b hops 1 steps 1 left 1
            150 from 2 accepted #1
            151 from 2 refused #2 component
              at 800: lost: 1 again, 0 unknown
              at 800: run h3 p1 a.f start ii
              at 3151: reply p2 (unavailable: no live node holds component b of app app) by 1
            4000 status
              p1.1 a running
              node 2 live, 0 components
        "#]],
    );
}

/// If this fails, a node that is told to drain goes on taking, loses what it has, or never ends.
#[test]
fn drain() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 a wait 100000
         2 submit 1 a.f
         2 submit 2 a.f
         3 drain
         4 submit 3 a.f
         5 from 2 deliver #1 4 a.f
         6 from 2 accepted #1
         7 done 1 x
         8 from 2 finish #2 2 y
         9 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 100000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            3 drain
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
            4 submit 3 a.f
              reply p3 (busy: this node drains) by -
            5 from 2 deliver #1 4 a.f
              -> 2 refused #1 draining
            6 from 2 accepted #1
            7 done 1 x
              reply p1 ok x by 1
            8 from 2 finish #2 2 y
              reply p2 ok y by -
              -> 2 accepted #2 wait 0
              drained
            9 status
              node 2 live, 1 components
        "#]],
    );
}

/// If this fails, the source of a delivery that cannot be read here waits for an answer in vain, and
/// takes this node for dead.
#[test]
fn what_cannot_be_read_is_refused() {
    check(
        "1 join 2 -
         2 unreadable 2 7",
        expect![[r#"
            1 join 2 -
            2 unreadable 2 7
              -> 2 refused #7 hops
        "#]],
    );
}
