//! Steps, calls and returns: the life of a process on one node.

use expect_test::expect;

use crate::machine::check;

/// If this fails, nothing works.
#[test]
fn a_request_becomes_a_process_and_a_reply() {
    check(
        "0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         3 done 1 x
         4 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 done 1 x
              reply p1 ok x by 1
            4 status
              nothing
        "#]],
    );
}

/// If this fails, a call does not come back to the component that made it.
#[test]
fn a_call_returns_to_its_caller() {
    check(
        "0 deploy app a@all b@all
         1 ready a
         1 ready b
         2 submit 1 a.f
         3 call 1 b.g arg
         4 done 1 y
         5 done 1 x",
        expect![[r#"
            0 deploy app a@all b@all
              hold a from -
              hold b from -
            1 ready a
            1 ready b
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 call 1 b.g arg
              run h1 p1 b.g start arg
            4 done 1 y
              run h1 p1 a.f resume k ok y
            5 done 1 x
              reply p1 ok x by 1,1,1
        "#]],
    );
}

/// If this fails, a failed callee ends the process, not just its call.
#[test]
fn a_caller_learns_of_a_failure() {
    check(
        "0 deploy app a@all b@all
         1 ready a
         1 ready b
         2 submit 1 a.f
         3 call 1 b.g
         4 fail 1 broken
         5 call 1 z.g
         6 fail 1 enough",
        expect![[r#"
            0 deploy app a@all b@all
              hold a from -
              hold b from -
            1 ready a
            1 ready b
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 call 1 b.g
              run h1 p1 b.g start in
            4 fail 1 broken
              run h1 p1 a.f resume k (failed: broken)
            5 call 1 z.g
              run h1 p1 a.f resume k (not-found: component a has no link named "z" to call g; its ..)
            6 fail 1 enough
              reply p1 (failed: enough) by 1,1,1,1
        "#]],
    );
}

/// If this fails, a call by a local link leaves its node for one with less to do, on the way there,
/// back, or while it waits; or its process is not given away before and after it.
#[test]
fn a_local_link_keeps_the_process_here() {
    check(
        "0 deploy app a@all b!@all
         1 ready a
         1 ready b
         1 join 2 a,b wait 9000
         2 submit 1 a.f
         2 submit 2 a.f
         3 sliced 1
         4 call 1 b.g arg
         5 from 2 pull wait 0 idle 2
         6 done 2 y
         7 done 1 y
         8 done 1 x",
        expect![[r#"
            0 deploy app a@all b!@all
              hold a from -
              hold b from -
            1 ready a
            1 ready b
            1 join 2 a,b wait 9000
            2 submit 1 a.f
              run h1 p1 a.f start ii
            2 submit 2 a.f
            3 sliced 1
              run h2 p2 a.f start ii
            4 call 1 b.g arg
            5 from 2 pull wait 0 idle 2
              -> 2 pulled 0
            6 done 2 y
              reply p2 ok y by 1
              run h1 p1 b.g start arg
            7 done 1 y
              run h1 p1 a.f resume k ok y
            8 done 1 x
              reply p1 ok x by 1,1,1
        "#]],
    );
}

/// If this fails, a call by a local link goes to a node that cannot make it, or waits for ever for
/// what this node does not get.
#[test]
fn a_local_link_needs_its_target_here() {
    check(
        "0 deploy app a@all b!@all
         1 ready a
         2 submit 1 a.f
         500 join 2 a
         900 join 3 a,b
         1500 ready b
         1501 submit 2 a.f
         1502 not-ready b
         1503 call 2 b.g arg
         9000 wait
         9001 done 2 x",
        expect![[r#"
            0 deploy app a@all b!@all
              hold a from -
              hold b from -
            1 ready a
            2 submit 1 a.f
            500 join 2 a
            900 join 3 a,b
              at 902: -> 3 deliver #1 p1.0 a hops 1 steps 0 left 1
            1500 ready b
            1501 submit 2 a.f
              run h2 p2 a.f start ii
            1502 not-ready b
              not ready: b: no
            1503 call 2 b.g arg
              at 2002: hold b from 3,2
              at 4503: run h2 p2 a.f resume k (unavailable: component b of app app is not on this node, whe..)
            9000 wait
            9001 done 2 x
              reply p2 ok x by 1,1
        "#]],
    );
}

/// If this fails, a function that waits as it stands is started again elsewhere though its node has
/// room, or waits for that node though to start it again is quicker.
#[test]
fn a_call_returns_to_where_its_caller_waits() {
    check(
        "0 deploy app a@2,3,4 b@1
         1 ready b
         1 join 2 a
         1 join 3 a
         1 join 4 a wait 30000
         2 from 2 deliver #1 1 b.g warm 2 replay 5000
         3 done 1 x
         3 from 2 accepted #1
         4 from 3 deliver #2 2 b.g warm 3 replay 5000
         5 done 2 x
         5 from 3 accepted #2
         6 from 2 deliver #3 3 b.g warm 2 replay 5000
         7 done 3 x
         7 from 2 accepted #3
         8 from 4 deliver #4 4 b.g warm 4 replay 5000 wait 30000
         9 done 4 x
         9 from 2 accepted #4
         9 from 3 accepted #4
         10 from 4 deliver #5 5 b.g warm 4 replay 60000 wait 30000
         11 done 5 x",
        expect![[r#"
            0 deploy app a@2,3,4 b@1
              hold b from -
            1 ready b
            1 join 2 a
            1 join 3 a
            1 join 4 a wait 30000
            2 from 2 deliver #1 1 b.g warm 2 replay 5000
              -> 2 accepted #1 wait 500
              run h1 p1 b.g start in
            3 done 1 x
              -> 2 deliver #1 p1.0 a hops 2 steps 1 left 1
            3 from 2 accepted #1
            4 from 3 deliver #2 2 b.g warm 3 replay 5000
              -> 3 accepted #2 wait 550
              run h2 p2 b.g start in
            5 done 2 x
              -> 3 deliver #2 p2.0 a hops 2 steps 1 left 1
            5 from 3 accepted #2
            6 from 2 deliver #3 3 b.g warm 2 replay 5000
              -> 2 accepted #3 wait 595
              run h3 p3 b.g start in
            7 done 3 x
              -> 2 deliver #3 p3.0 a hops 2 steps 1 left 1
            7 from 2 accepted #3
            8 from 4 deliver #4 4 b.g warm 4 replay 5000 wait 30000
              -> 4 accepted #4 wait 635
              run h4 p4 b.g start in
            9 done 4 x
              -> 3 deliver #4 p4.0 a hops 2 steps 1 left 1
            9 from 2 accepted #4
            9 from 3 accepted #4
            10 from 4 deliver #5 5 b.g warm 4 replay 60000 wait 30000
              -> 4 accepted #5 wait 671
              run h5 p5 b.g start in
            11 done 5 x
              -> 4 deliver #5 p5.0 a hops 2 steps 1 left 1
        "#]],
    );
}

/// If this fails, a tail call comes back to the component that made it.
#[test]
fn a_forward_takes_the_place() {
    check(
        "0 deploy app a@all b@all
         1 ready a
         1 ready b
         2 submit 1 a.f
         3 forward 1 b.g arg
         4 done 1 x",
        expect![[r#"
            0 deploy app a@all b@all
              hold a from -
              hold b from -
            1 ready a
            1 ready b
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 forward 1 b.g arg
              run h1 p1 b.g start arg
            4 done 1 x
              reply p1 ok x by 1,1
        "#]],
    );
}

/// If this fails, a component calls another on a node that does not hold it, or a return does not
/// go where its caller's component is.
#[test]
fn a_call_crosses_nodes() {
    check(
        "0 deploy app a@1 b@2
         1 ready a
         1 join 2 b
         2 submit 1 a.f
         3 call 1 b.g arg
         4 from 2 accepted #1
         5 from 2 deliver #9 1 a.f home 1 hops 2 steps 2
         6 done 2 x",
        expect![[r#"
            0 deploy app a@1 b@2
              hold a from -
            1 ready a
            1 join 2 b
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 call 1 b.g arg
              -> 2 deliver #1 p1.0 a>b hops 1 steps 1 left 1
            4 from 2 accepted #1
            5 from 2 deliver #9 1 a.f home 1 hops 2 steps 2
              -> 2 accepted #9 wait 550
              run h2 p1 a.f start in
            6 done 2 x
              reply p1 ok x by 1
        "#]],
    );
}

/// If this fails, a process whose deadline has passed goes on to use the cluster.
#[test]
fn a_deadline_ends_it_for_the_client_and_after_its_step_for_the_node() {
    check(
        "0 deploy app a@all
         1 ready a
         2 submit 1 a.f deadline 50
         2 submit 2 a.f deadline 50
         60 status
         70 call 1 a.f
         71 status",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f deadline 50
              run h1 p1 a.f start ii
            2 submit 2 a.f deadline 50
              at 52: reply p1 (deadline: no result after 50 ms) by -
              at 52: reply p2 (deadline: no result after 50 ms) by -
            60 status
              p1.0 a running
            70 call 1 a.f
            71 status
              nothing
        "#]],
    );
}

/// If this fails, a component that calls for ever runs for ever.
#[test]
fn steps_max() {
    check(
        "set steps_max 2
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         3 forward 1 a.f
         4 forward 1 a.f",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 forward 1 a.f
              run h1 p1 a.f start in
            4 forward 1 a.f
              reply p1 (limit: the process has run 2 steps) by 1,1
        "#]],
    );
}

/// If this fails, one payload can be as large as a guest likes.
#[test]
fn payload_bytes_max() {
    check(
        "set payload_bytes_max 100
         0 deploy app a@all b@all
         1 ready a
         1 ready b
         2 submit 1 a.f bytes 101
         2 submit 2 a.f bytes 100
         3 call 1 b.f
         4 done 1 bytes 101
         5 done 1 bytes 100",
        expect![[r#"
            0 deploy app a@all b@all
              hold a from -
              hold b from -
            1 ready a
            1 ready b
            2 submit 1 a.f bytes 101
              reply p1 (limit: a payload of 101 bytes, over the limit of 100) by -
            2 submit 2 a.f bytes 100
              run h1 p2 a.f start [100 bytes]
            3 call 1 b.f
              run h1 p2 b.f start in
            4 done 1 bytes 101
              run h1 p2 a.f resume k (limit: a payload of 101 bytes, over the limit of 100)
            5 done 1 bytes 100
              reply p2 ok [100 bytes] by 1,1,1
        "#]],
    );
}

/// If this fails, a process grows over what a message can carry.
#[test]
fn process_bytes_max() {
    check(
        "set process_bytes_max 100
         0 deploy app a@all
         1 ready a
         2 submit 1 a.f
         3 call 1 a.f keep 60
         4 call 1 a.f keep 60",
        expect![[r#"
            0 deploy app a@all
              hold a from -
            1 ready a
            2 submit 1 a.f
              run h1 p1 a.f start ii
            3 call 1 a.f keep 60
              run h1 p1 a.f start in
            4 call 1 a.f keep 60
              reply p1 (limit: the process holds 122 bytes of payload, over the limi..) by 1,1
        "#]],
    );
}
