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
