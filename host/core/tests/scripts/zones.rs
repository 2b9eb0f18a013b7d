//! Zones: another one is a candidate, a door of it is linked to when it would be good, and what
//! comes from there is placed once more.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a process that only another zone can run is not sent there, or before there is a
/// link that can be answered on.
#[test]
fn a_zone_is_entered_by_a_door() {
    check(
        "0 deploy app a@7
         1 told 5 doors 7,8 holds 7 idle 3 a
         2 submit 1 a.f
         3 up 7 zone 5
         4 from 7 alive
         30 status
         31 from 7 accepted #1 level 300",
        expect![[r#"
            0 deploy app a@7
            1 told 5 doors 7,8 holds 7 idle 3 a
              connect 7
              bulletin of 0 to 7,8: doors 1; 
            2 submit 1 a.f
            3 up 7 zone 5
              -> 7 probe
            4 from 7 alive
              at 22: introduce 1 to 7
              at 22: -> 7 deliver #1 p1.0 a hops 1 steps 0 left 1
            30 status
              p1.0 a leaving
              node 7 live, 0 components
            31 from 7 accepted #1 level 300
        "#]],
    );
}

/// If this fails, processes leave a zone that has room, or stay in one that has none.
#[test]
fn a_process_leaves_its_zone_for_more_than_its_node() {
    check(
        "0 deploy app a@all
         0 ready a
         1 told 5 doors 7 holds 7 idle 3 a
         1 up 7 zone 5
         1.1 from 7 alive
         2 submit 1 a.f
         3 submit 2 a.f
         4 submit 3 a.f
         5 submit 4 a.f
         6 submit 5 a.f
         7 submit 6 a.f
         8 submit 7 a.f
         9 submit 8 a.f",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            0 ready a
            1 told 5 doors 7 holds 7 idle 3 a
              connect 7
              bulletin of 0 to 7: doors 1; 1 idle
            1 up 7 zone 5
              -> 7 probe
            1.1 from 7 alive
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 submit 2 a.f
            4 submit 3 a.f
              introduce 1 to 7
              -> 7 deliver #1 p3.0 a hops 1 steps 0 left 1
            5 submit 4 a.f
              -> 7 deliver #2 p4.0 a hops 1 steps 0 left 1
            6 submit 5 a.f
              -> 7 deliver #3 p5.0 a hops 1 steps 0 left 1
            7 submit 6 a.f
              -> 7 deliver #4 p6.0 a hops 1 steps 0 left 1
            8 submit 7 a.f
              -> 7 deliver #5 p7.0 a hops 1 steps 0 left 1
            9 submit 8 a.f
              -> 7 deliver #6 p8.0 a hops 1 steps 0 left 1
        "#]],
    );
}

/// If this fails, one from another zone is refused by a door that could pass it on, is passed on for
/// little, or its acknowledgement does not tell how full the zone is.
#[test]
fn what_comes_from_another_zone_is_drawn_once_more() {
    check(
        "0 deploy app a@2
         1 join 2 a
         2 called 9 zone 5
         2 up 9 zone 5
         3 from 9 deliver #1 1 a.f home 9
         4 from 9 deliver #2 2 b.f home 9",
        expect![[r#"
            0 deploy app a@2
            1 join 2 a
            2 called 9 zone 5
              connect 9
            2 up 9 zone 5
              -> 9 probe
            3 from 9 deliver #1 1 a.f home 9
              introduce 9 to 2
              -> 2 deliver #1 p1.0 a hops 2 steps 0 left 1
              -> 9 accepted #1 wait 0 level 0
            4 from 9 deliver #2 2 b.f home 9
              -> 9 refused #2 component
        "#]],
    );
}

/// If this fails, a zone does not tell others of itself, or every node of it does.
#[test]
fn the_lowest_id_speaks_for_its_zone() {
    check(
        "set summary_interval 1000
         set silent_after 3000
         0 deploy app a@all
         0 ready a
         0 join 2 a
         1 told 5 doors 7,8,9 abroad
         2 told 5 doors 7,8,9
         1500 wait",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            0 ready a
            0 join 2 a
            1 told 5 doors 7,8,9 abroad
              bulletin of 5 to the zone: doors 7,8,9; 
              connect 8
              bulletin of 0 to 7,8: doors 1,2; 2 idle
            2 told 5 doors 7,8,9
              at 1001: bulletin of 0 to 8,9: doors 1,2; 2 idle
            1500 wait
        "#]],
    );
}
