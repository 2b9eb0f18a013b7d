//! The gateway's side: one reply for each client, lost processes, late ends.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a client whose process was lost though it may run again is told to do it itself.
#[test]
fn a_lost_process_is_started_again() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         3 from 2 accepted #1 wait 20000
         400 from 2 holding 1
         1150 from 3 accepted #2
         1200 from 3 finish #1 1 x
         1300 from 2 finish #1 1 x",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1 wait 20000
            400 from 2 holding 1
              at 1100: -> 3 deliver #2 p1.1 a hops 1 steps 0 left 1
              at 1100: lost: 1 again, 0 unknown
            1150 from 3 accepted #2
            1200 from 3 finish #1 1 x
              reply p1 ok x by -
              -> 3 accepted #1 wait 0
            1300 from 2 finish #1 1 x
              -> 2 accepted #1 wait 0
        "#]],
    );
}

/// If this fails, a request that must not run twice is run twice by its own gateway.
#[test]
fn a_lost_process_that_may_not_repeat_is_unknown() {
    check(
        "0 deploy app a@2
         1 join 2 a
         2 submit 1 a.f once
         3 from 2 accepted #1
         1000 status",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 submit 1 a.f once
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1
              at 700: reply p1 (unavailable: the process was lost with the node that ran it;..) by -
              at 700: lost: 0 again, 1 unknown
            1000 status
              node 2 live, 1 components
        "#]],
    );
}

/// If this fails, a process that kills nodes is sent to all of them.
#[test]
fn attempts_max() {
    check(
        "set attempts_max 2
         0 deploy app a@2
         1 join 2 a
         2 submit 1 a.f
         3 from 2 accepted #1
         800 from 2 accepted #2
         1600 wait",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1
              at 700: -> 2 deliver #2 p1.1 a hops 1 steps 0 left 1
              at 700: lost: 1 again, 0 unknown
            800 from 2 accepted #2
              at 1400: reply p1 (unavailable: the process was lost with the node that ran it;..) by -
              at 1400: lost: 0 again, 1 unknown
            1600 wait
        "#]],
    );
}

/// If this fails, repeats feed on themselves: every lost request becomes two.
#[test]
fn the_budget_of_repeats_runs_out() {
    let mut script = String::from(
        "set held_max 100000
         set admit_max 100000
         set attempts_max 100000
         set recent_max 1
         set waiting_max 100000
         0 deploy app a@2
         1 join 2 a\n",
    );
    for process in 1..=600 {
        script += &format!("2 submit {process} a.f deadline 100000\n");
        script += &format!("2 from 2 accepted #{process}\n");
    }
    script += "750 wait";
    let printed = crate::machine::run(&script);
    let lost = printed.lines().find(|line| line.contains("lost:")).unwrap();
    expect!["  at 700: lost: 512 again, 88 unknown"].assert_eq(lost);
}

/// If this fails, a node that was stopped takes all its processes for lost when it goes on.
#[test]
fn a_gateway_that_was_stopped_asks_before_it_gives_up() {
    check(
        "0 deploy app a@2
         1 join 2 a
         2 submit 1 a.f once
         3 from 2 accepted #1
         100 wait
         5000 stopped
         5001 from 2 holding 1
         5500 wait",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 submit 1 a.f once
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1
            100 wait
            5000 stopped
            5001 from 2 holding 1
            5500 wait
        "#]],
    );
}

/// If this fails, a client that went away is answered, or its place is kept.
#[test]
fn an_abandoned_request_has_no_reply() {
    check(
        "0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         3 abandon 1
         4 done 1 x
         5 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 abandon 1
            4 done 1 x
            5 status
              nothing
        "#]],
    );
}

/// If this fails, a client is answered twice, or with another's result.
#[test]
fn late_and_foreign_ends_are_dropped() {
    check(
        "0 deploy app a@2
         1 join 2 a
         2 submit 1 a.f deadline 50
         3 from 2 accepted #1
         4 from 2 finish #1 1 x incarnation 7
         60 from 2 finish #2 1 x
         70 from 2 finish #3 9 x",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 submit 1 a.f deadline 50
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1
            4 from 2 finish #1 1 x incarnation 7
              -> 2 accepted #1 wait 0
              at 52: reply p1 (deadline: no result after 50 ms) by -
            60 from 2 finish #2 1 x
              -> 2 accepted #2 wait 0
            70 from 2 finish #3 9 x
              -> 2 accepted #3 wait 0
        "#]],
    );
}

/// If this fails, a process of the gateway's life before is answered in this one.
#[test]
fn a_restarted_gateway_waits_for_nothing() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 -
         2 from 2 deliver #1 1 a.f home 1 incarnation 7
         3 done 1 x
         4 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 from 2 deliver #1 1 a.f home 1 incarnation 7
              -> 2 accepted #1 wait 500
              run h1 p1 a.f start in
            3 done 1 x
            4 status
              node 2 live, 0 components
        "#]],
    );
}

/// If this fails, a gateway does not learn who has its processes.
#[test]
fn holders_tell_the_gateway() {
    check(
        "show holding
         0 deploy app a@all
         1 ready a
         1 join 2 -
         1 join 3 -
         2 from 2 deliver #1 1 a.f
         2 from 2 deliver #2 2 a.f home 3
         2 from 2 deliver #3 3 a.f home 3 incarnation 7
         150 wait",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            1 join 3 -
            2 from 2 deliver #1 1 a.f
              -> 2 accepted #1 wait 500
              run h1 p1 a.f start in
            2 from 2 deliver #2 2 a.f home 3
              -> 2 accepted #2 wait 1000
            2 from 2 deliver #3 3 a.f home 3 incarnation 7
              -> 2 accepted #3 wait 1500
              at 100: -> 2 holding p1
              at 100: -> 3 holding p2
            150 wait
        "#]],
    );
}
