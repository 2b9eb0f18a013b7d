//! Beacons, links and probes.

use expect_test::expect;

use crate::machine::check;

/// If this fails, nodes do not find each other.
#[test]
fn a_beacon_leads_to_a_link() {
    check(
        "show ask-inventory
         show table-summary
         show joined
         0 beacon 2
         1 beacon 2
         2 up 2
         3 from 2 inventory a,b
         4 beacon 2
         5 status",
        expect![[r#"
            0 beacon 2
              connect 2
            1 beacon 2
            2 up 2
              joined 2
              -> 2 ask-inventory
              -> 2 probe
            3 from 2 inventory a,b
            4 beacon 2
            5 status
              node 2 live, 2 components
        "#]],
    );
}

/// If this fails, old beacons undo what newer ones said.
#[test]
fn old_and_repeated_beacons_are_dropped() {
    check(
        "0 beacon 2 sequence 5
         1 down 2
         2 beacon 2 sequence 5
         3 beacon 2 sequence 4
         4 beacon 2 sequence 6",
        expect![[r#"
            0 beacon 2 sequence 5
              connect 2
            1 down 2
            2 beacon 2 sequence 5
            3 beacon 2 sequence 4
            4 beacon 2 sequence 6
              connect 2
        "#]],
    );
}

/// If this fails, what was sent to a node's life before is waited for, or its link is not made
/// anew.
#[test]
fn a_restarted_node_is_linked_anew() {
    check(
        "0 deploy app a@2,3
         1 join 2 a
         1 join 3 a wait 9000
         2 submit 1 a.f
         3 beacon 2 incarnation 2
         4 beacon 2 incarnation 2
         5 up 2 incarnation 2
         6 status",
        expect![[r#"
            0 deploy app a@2,3
            1 join 2 a
            1 join 3 a wait 9000
            2 submit 1 a.f
              -> 2 deliver #1 p1.0 a hops 1 steps 0 left 1
            3 beacon 2 incarnation 2
              restarted 2
              -> 3 deliver #2 p1.0 a hops 1 steps 0 left 1
              connect 2
            4 beacon 2 incarnation 2
            5 up 2 incarnation 2
              -> 2 probe
            6 status
              p1.0 a leaving
              node 2 live, 1 components
              node 3 live, 1 components
        "#]],
    );
}

/// If this fails, a silent node is called dead unheard, or never.
#[test]
fn a_silent_node_is_probed_before_it_is_dead() {
    check(
        "set beacon_interval 500
         set silent_after 350
         set probe_after 1000
         0 beacon 2
         1 up 2
         1600 from 2 alive
         4200 down 2
         4201 beacon 2",
        expect![[r#"
            0 beacon 2
              connect 2
            1 up 2
              -> 2 probe
              at 1456.641: -> 2 probe
            1600 from 2 alive
              at 1907.786: -> 2 probe
              at 2859.369: -> 2 probe
              at 3929.643: disconnect 2
            4200 down 2
              left 2
            4201 beacon 2
              connect 2
        "#]],
    );
}

/// If this fails, two nodes of one name go unnoticed.
#[test]
fn a_twin_is_told_of() {
    check(
        "0 beacon 1 incarnation 9
         1 beacon 1",
        expect![[r#"
            0 beacon 1 incarnation 9
              twin 1
            1 beacon 1
        "#]],
    );
}

/// If this fails, names fill the view.
#[test]
fn peers_max() {
    check(
        "set peers_max 1
         0 beacon 2
         1 beacon 3
         2 up 3
         3 status",
        expect![[r#"
            0 beacon 2
              connect 2
            1 beacon 3
            2 up 3
            3 status
              node 2 unlinked, 0 components
        "#]],
    );
}

/// If this fails, nodes believe that others hold what they do not.
#[test]
fn questions_are_answered() {
    check(
        "show inventory
         0 deploy app a@all b@all
         1 ready a
         2 join 2 -
         3 from 2 ask-inventory
         4 from 2 probe",
        expect![[r#"
            0 deploy app a@all b@all
              hold a from -
              hold b from -
            1 ready a
            2 join 2 -
            3 from 2 ask-inventory
              -> 2 inventory a
            4 from 2 probe
              -> 2 alive
        "#]],
    );
}
