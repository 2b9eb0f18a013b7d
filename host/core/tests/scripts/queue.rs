//! The run queue and the slots.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a process that has come far waits behind one that was just born.
#[test]
fn the_oldest_birth_runs_first() {
    check(
        "0 deploy app a@all
         1 ready a
         1 join 2 -
         2 submit 1 a.f
         3 submit 2 a.f
         4 from 2 deliver #1 3 a.f age 500
         5 from 2 deliver #2 4 a.f age 1
         6 done 1 x
         7 done 3 x
         8 done 2 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 -
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 submit 2 a.f
            4 from 2 deliver #1 3 a.f age 500
              -> 2 accepted #1 wait 1500
            5 from 2 deliver #2 4 a.f age 1
              -> 2 accepted #2 wait 2000
            6 done 1 x
              reply p1 ok x by 1
              run h3 p3 a.f start in
            7 done 3 x
              -> 2 finish #1 p3 ok x
              run h2 p2 a.f start ii
            8 done 2 x
              reply p2 ok x by 1
              run h4 p4 a.f start in
        "#]],
    );
}

/// If this fails, more steps are handed out than there are slots for, or a step that waits for the
/// host keeps its slot.
#[test]
fn slots_max() {
    check(
        "set slots_max 2
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 a.f
         2 submit 4 a.f
         3 sliced 1
         4 sliced 1
         5 done 1 x
         6 done 2 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
              run h2 p2 a.f start ii
            2 submit 3 a.f
            2 submit 4 a.f
            3 sliced 1
              run h3 p3 a.f start ii
            4 sliced 1
            5 done 1 x
              reply p1 ok x by 1
            6 done 2 x
              reply p2 ok x by 1
              run h4 p4 a.f start ii
        "#]],
    );
}

/// If this fails, steps that have given up their slot pile up without end.
#[test]
fn sliced_max() {
    check(
        "set sliced_max 2
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         2 submit 2 a.f
         2 submit 3 a.f
         3 sliced 1
         4 sliced 2
         5 done 1 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            2 submit 3 a.f
            3 sliced 1
              run h2 p2 a.f start ii
            4 sliced 2
            5 done 1 x
              reply p1 ok x by 1
              run h3 p3 a.f start ii
        "#]],
    );
}

/// If this fails, a process runs on a node after its component was given up there.
#[test]
fn what_waits_for_a_released_component_moves_on() {
    check(
        "set retain_revision 100
         0 deploy app a@all
         1 ready a
         1 join 2 a wait 900000
         2 submit 1 a.f
         3 from 2 table-entries app@2 a@2
         4 submit 2 a.f
         350 done 1 x",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            1 join 2 a wait 900000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 from 2 table-entries app@2 a@2
              release a
            4 submit 2 a.f
              -> 2 deliver #1 p2.0 a hops 1 steps 0 left 1
            350 done 1 x
              reply p1 ok x by 1
        "#]],
    );
}
