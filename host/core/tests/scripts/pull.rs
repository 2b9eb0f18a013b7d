//! Idle nodes ask for work, and get it.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a node with nothing to do does not ask, or asks one that has nothing to give
/// while another has.
#[test]
fn an_idle_node_asks_where_most_waits() {
    check(
        "show pull
         0 deploy app a@all
         1 ready a
         1 join 2 a wait 3000
         1 join 3 a wait 9000
         1 join 4 b wait 99000
         2 submit 1 a.f
         3 done 1 x
         4 from 3 pulled 0 wait 500
         5 from 2 pulled 1 wait 2000
         6 from 2 deliver #1 7 a.f left 2 queue-moves 1
         7 done 2 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 3000
            1 join 3 a wait 9000
            1 join 4 b wait 99000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 done 1 x
              reply p1 ok x by 1
              -> 3 pull idle 1
            4 from 3 pulled 0 wait 500
              -> 2 pull idle 1
            5 from 2 pulled 1 wait 2000
            6 from 2 deliver #1 7 a.f left 2 queue-moves 1
              -> 2 accepted #1 wait 550
              run h2 p7 a.f start in
            7 done 2 x
              -> 2 finish #1 p7 ok x
              -> 3 pull idle 1
        "#]],
    );
}

/// If this fails, a node that is asked gives nothing, or what would run here at once, or what came
/// from there.
#[test]
fn a_node_that_is_asked_gives_what_waits() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 a wait 9000
         1 join 3 a wait 9000
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 a.f
         3 from 3 deliver #1 4 a.f left 3 age 900 wait 9000
         4 from 2 pull wait 0 idle 2
         5 from 3 pull wait 0 idle 2
         6 why",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 9000
            1 join 3 a wait 9000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            2 submit 3 a.f
            3 from 3 deliver #1 4 a.f left 3 age 900 wait 9000
              -> 3 accepted #1 wait 2000
            4 from 2 pull wait 0 idle 2
              -> 2 deliver #1 p4.0 a hops 2 steps 0 left 3,1
              -> 2 deliver #2 p2.0 a hops 1 steps 0 left 1
              -> 2 pulled 2
            5 from 3 pull wait 0 idle 2
              -> 3 deliver #3 p3.0 a hops 1 steps 0 left 1
              -> 3 pulled 1
            6 why
              p1: a core here was idle
                  here 500 us
              p2: an idle node asked
              p3: an idle node asked
              p4: an idle node asked
        "#]],
    );
}

/// If this fails, an idle node is forgotten in the moment before it is needed, or is sent
/// something long after.
#[test]
fn an_asking_stays_as_a_token_for_a_moment() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 a wait 1
         1 join 3 a wait 1
         2 submit 1 a.f
         3 from 2 pull wait 0 idle 1
         4 submit 2 a.f
         5 from 3 pull wait 0 idle 1
         6 done 1 x
         7 submit 3 a.f
         11 submit 4 a.f
         12 why",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 1
            1 join 3 a wait 1
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 from 2 pull wait 0 idle 1
              -> 2 pulled 0
            4 submit 2 a.f
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
            5 from 3 pull wait 0 idle 1
              -> 3 pulled 0
            6 done 1 x
              reply p1 ok x by 1
            7 submit 3 a.f
              run h3 p3 a.f start ii
            11 submit 4 a.f
              -> 3 deliver #2 p4.0 a hops 1 steps 0 left 1
            12 why
              p2: an idle node had asked
              p3: a core here was idle
                  here 550 us
              p4: drawn among the others
                  here 1100 us
                  1 others, best 3 680 us
                  drew 0.360: 3
        "#]],
    );
}

/// If this fails, a node that was asked and died keeps an idle node from ever asking again.
#[test]
fn an_asking_without_an_answer_ends() {
    check(
        "show pull
         set acknowledge_timeout 50
         0 deploy app a@all
         1 ready a
         1 join 2 a wait 9000
         2 submit 1 a.f
         3 done 1 x
         100 wait
         101 down 2
         102 submit 2 a.f
         103 done 2 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 9000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 done 1 x
              reply p1 ok x by 1
              -> 2 pull idle 1
              at 53: -> 2 pull idle 1
            100 wait
            101 down 2
              left 2
            102 submit 2 a.f
              run h2 p2 a.f start ii
            103 done 2 x
              reply p2 ok x by 1
        "#]],
    );
}
