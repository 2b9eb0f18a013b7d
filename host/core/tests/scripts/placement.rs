//! Placement: stay, or go, and where to.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a process stays where its component is not.
#[test]
fn a_process_goes_where_its_component_is() {
    check(
        "0 deploy app a@2
         1 join 2 a
         1 join 3 -
         2 submit 1 a.f
         3 from 2 accepted #1
         4 status",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            1 join 3 -
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1
            4 status
              node 2 live, 1 components
              node 3 live, 0 components
        "#]],
    );
}

/// If this fails, a node keeps what another would have done long before, or gives away what it
/// could do as soon.
#[test]
fn a_markedly_more_loaded_node_gives_away() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 a
         2 submit 1 a.f
         2 submit 2 a.f
         3 from 2 accepted #1 wait 600
         3 submit 3 a.f
         4 submit 4 a.f",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
            3 from 2 accepted #1 wait 600
            3 submit 3 a.f
            4 submit 4 a.f
        "#]],
    );
}

/// If this fails, a process waits in the queue here while other nodes are idle.
#[test]
fn queued_processes_are_offered_again() {
    check(
        "set beacon_interval 100
         0 deploy app a@all
         1 ready a
         1 join 2 a wait 100000
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 a.f
         50 beacon 2
         200 wait",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 100000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            2 submit 3 a.f
            50 beacon 2
              at 96.491: -> 2 deliver #1 p3.0 a hops 1 steps 0 left 1
            200 wait
        "#]],
    );
}

/// If this fails, all nodes send everything to the one that last told of an idle core.
#[test]
fn what_was_sent_counts_until_it_is_told_of() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 a.f
         2 submit 4 a.f",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            2 submit 2 a.f
              -> 3 deliver #2 p2.0 a hops 1 steps 0 left 1
            2 submit 3 a.f
              -> 2 deliver #3 p3.0 a hops 1 steps 0 left 1
            2 submit 4 a.f
              -> 3 deliver #4 p4.0 a hops 1 steps 0 left 1
        "#]],
    );
}

/// If this fails, a node that others on its machine slow down gets as much as the rest, because it
/// looks idle by its own load; or it is not found out when it is quick again.
#[test]
fn who_answers_late_is_given_little_and_asked_again() {
    check(
        "set probe_after 100
         set beacon_interval 50
         set lost_after 100000
         0 deploy app a@2,3
         1 join 2 a
         1 from 2 alive
         2 submit 1 a.f
         49 from 2 alive
         62 from 2 accepted #1
         97 from 2 alive
         102 submit 2 a.f
         162 from 2 accepted #2
         202 submit 3 a.f
         262 from 2 accepted #3
         300 join 3 a
         300 from 3 alive
         301 submit 11 a.f
         302 from 3 accepted #4
         303 submit 12 a.f
         304 from 3 accepted #5
         305 submit 13 a.f
         306 from 3 accepted #6
         330 beacon 2
         400 beacon 2
         401 beacon 3
         470 beacon 2
         540 from 2 alive
         550 beacon 2
         560 beacon 3
         630 beacon 2
         690 beacon 3
         700 beacon 2
         762 wait",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 from 2 alive
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
              at 48.245: -> 2 probe
            49 from 2 alive
            62 from 2 accepted #1
              at 96.841: -> 2 probe
            97 from 2 alive
            102 submit 2 a.f
              -> 2 deliver #2 p2.0 a hops 1 steps 0 left 1
            162 from 2 accepted #2
            202 submit 3 a.f
              -> 2 deliver #3 p3.0 a hops 1 steps 0 left 1
            262 from 2 accepted #3
            300 join 3 a
            300 from 3 alive
            301 submit 11 a.f
              -> 3 deliver #4 p11.0 a hops 1 steps 0 left 1
            302 from 3 accepted #4
            303 submit 12 a.f
              -> 3 deliver #5 p12.0 a hops 1 steps 0 left 1
            304 from 3 accepted #5
            305 submit 13 a.f
              -> 3 deliver #6 p13.0 a hops 1 steps 0 left 1
            306 from 3 accepted #6
            330 beacon 2
            400 beacon 2
            401 beacon 3
            470 beacon 2
              at 475.02: -> 2 probe
              at 526.28: -> 3 probe
            540 from 2 alive
            550 beacon 2
            560 beacon 3
            630 beacon 2
              at 669.727: -> 3 probe
            690 beacon 3
            700 beacon 2
            762 wait
        "#]],
    );
}

/// If this fails, a node gives nothing away though what it sends waits in its links.
#[test]
fn what_waits_to_be_sent_is_part_of_the_load() {
    check(
        "show beacon
         set beacon_interval 100
         1 measured memory 100 unsent 7000
         101 wait",
        expect![[r#"
              at 0: beacon wait 0
            1 measured memory 100 unsent 7000
              at 96.491: beacon wait 7000
            101 wait
        "#]],
    );
}

/// If this fails, processes go to nodes that are silent, drain, or do not answer.
#[test]
fn silent_closed_and_suspect_nodes_are_left_out() {
    check(
        "set silent_after 350
         0 deploy app a@2,3,4
         1 join 2 a
         1 join 3 a
         1 join 4 a closed
         300 beacon 2
         400 status
         401 submit 1 a.f
         430 status
         431 submit 2 a.f
         440 beacon 3
         450 status",
        expect![[r#"
            0 deploy app a@2,3,4
            1 join 2 a
            1 join 3 a
            1 join 4 a closed
            300 beacon 2
            400 status
              node 2 live, 1 components
              node 3 live, 1 components
              node 4 closed, 1 components
            401 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            430 status
              p1.0 a leaving
              node 2 live, 1 components
              node 3 avoided, 1 components
              node 4 avoided, 1 components
            431 submit 2 a.f
            440 beacon 3
            450 status
              p1.0 a leaving
              p2.0 a waiting
              node 2 avoided, 1 components
              node 3 live, 1 components
              node 4 avoided, 1 components
        "#]],
    );
}

/// If this fails, a process travels for ever, or one with many calls ends too early.
#[test]
fn hops_max() {
    check(
        "set hops_max 3
         0 deploy app a@all b@2
         1 ready a
         1 join 2 a,b
         2 from 2 deliver #1 1 a.f hops 4
         2 from 2 deliver #2 2 a.f hops 7 steps 1
         3 from 2 deliver #3 3 a.f hops 8 steps 1
         4 call 1 b.f
         5 from 2 deliver #4 4 a.f hops 3
         6 drain",
        expect![[r#"
            0 deploy app a@all b@2
              hold a from -
            1 ready a
            1 join 2 a,b
            2 from 2 deliver #1 1 a.f hops 4
              -> 2 refused #1 hops
            2 from 2 deliver #2 2 a.f hops 7 steps 1
              -> 2 accepted #2 wait 500
              run h1 p2 a.f start in
            3 from 2 deliver #3 3 a.f hops 8 steps 1
              -> 2 refused #3 hops
            4 call 1 b.f
              -> 2 deliver #1 p2.0 a>b hops 8 steps 2 left 1
            5 from 2 deliver #4 4 a.f hops 3
              -> 2 accepted #4 wait 550
              run h2 p4 a.f start in
            6 drain
        "#]],
    );
}

/// If this fails, two nodes play ping-pong with a process.
#[test]
fn a_process_does_not_go_back_to_where_it_was() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 a
         1 join 3 a
         2 submit 1 a.f
         3 from 2 deliver #1 2 a.f left 2
         4 from 2 deliver #2 3 a.f left 2,4
         5 from 2 deliver #3 4 a.f left 4",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a
            1 join 3 a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 from 2 deliver #1 2 a.f left 2
              -> 2 accepted #1 wait 1000
            4 from 2 deliver #2 3 a.f left 2,4
              -> 3 deliver #1 p3.0 a hops 2 steps 0 left 2,4,1
              -> 2 accepted #2 wait 1000
            5 from 2 deliver #3 4 a.f left 4
              -> 2 deliver #2 p4.0 a hops 2 steps 0 left 4,1
              -> 2 accepted #3 wait 1000
        "#]],
    );
}

/// If this fails, a process is passed on for ever, each time for a good reason.
#[test]
fn a_process_is_passed_on_twice_at_most() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 a
         1 join 3 a
         2 submit 1 a.f
         2 submit 2 a.f
         3 from 2 deliver #1 3 a.f left 2 queue-moves 1
         4 from 2 deliver #2 4 a.f left 2 queue-moves 2
         5 from 2 deliver #3 5 a.f left 4,5,6 queue-moves 1
         6 why",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a
            1 join 3 a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
            3 from 2 deliver #1 3 a.f left 2 queue-moves 1
              -> 2 accepted #1 wait 1000
            4 from 2 deliver #2 4 a.f left 2 queue-moves 2
              -> 2 accepted #2 wait 1500
            5 from 2 deliver #3 5 a.f left 4,5,6 queue-moves 1
              -> 2 accepted #3 wait 2000
            6 why
              p1: a core here was idle
                  here 500 us
              p2: drawn among the others
                  here 1000 us
                  2 others, best 2 630 us, 3 630 us
                  drew 0.382: 2
              p3: no other node is markedly better
                  here 1000 us
                  1 others, best 3 630 us
              p4: it has moved as often as it may
                  here 1500 us
                  1 others, best 3 630 us
              p5: it has moved as often as it may
                  here 2000 us
                  1 others, best 3 630 us
        "#]],
    );
}

/// If this fails, a decision cannot be explained: who else there was, what was expected, what was
/// drawn.
#[test]
fn decisions_explain_themselves() {
    check(
        "0 deploy app a@all b@2,3
         1 ready a
         1 join 2 a,b wait 300
         1 join 3 a,b wait 100
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 b.f
         2 submit 4 a.f
         3 why",
        expect![[r#"
            0 deploy app a@all b@2,3
              hold a from -
            1 ready a
            1 join 2 a,b wait 300
            1 join 3 a,b wait 100
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            2 submit 3 b.f
              -> 3 deliver #1 p3.0 b hops 1 steps 0 left 1
            2 submit 4 a.f
              -> 2 deliver #2 p4.0 a hops 1 steps 0 left 1
            3 why
              p1: a core here was idle
                  here 500 us
              p2: no other node is markedly better
                  here 1000 us
                  2 others, best 3 730 us, 2 930 us
              p3: drawn among the others
                  2 others, best 3 730 us, 2 930 us
                  drew 0.382: 3
              p4: drawn among the others
                  here 1500 us
                  2 others, best 2 930 us, 3 1230 us
                  drew 0.360: 2
        "#]],
    );
}

/// If this fails, an idle slow core keeps what a much faster one would have done long before.
#[test]
fn an_idle_core_keeps_a_process_unless_another_is_much_faster() {
    check(
        "set beacon_interval 100
         0 deploy app a@all
         1 ready a
         1 join 2 a speed 1200
         150 beacon 2 speed 1200
         200 submit 1 a.f
         250 done 1 x
         300 beacon 2 speed 9000
         450 submit 2 a.f",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a speed 1200
            150 beacon 2 speed 1200
            200 submit 1 a.f
              run h1 p1 a.f start ii
            250 done 1 x
              reply p1 ok x by 1
            300 beacon 2 speed 9000
            450 submit 2 a.f
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
        "#]],
    );
}
