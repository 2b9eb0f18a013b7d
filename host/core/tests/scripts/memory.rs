//! Cluster memory: each key is kept by one node.

use expect_test::expect;

use crate::machine::check;

/// If this fails, a node alone has no memory.
#[test]
fn a_key_of_this_node_is_answered_here() {
    check(
        "0 memory 1 k put v
         0 memory 2 k get
         0 memory 3 k remove
         0 memory 4 k get",
        expect![[r#"
            0 memory 1 k put v
              memory-answer 1 none
            0 memory 2 k get
              memory-answer 2 v
            0 memory 3 k remove
              memory-answer 3 none
            0 memory 4 k get
              memory-answer 4 none
        "#]],
    );
}

/// If this fails, the node that keeps a key is not asked, or its answer goes astray.
#[test]
fn a_key_of_another_node_is_asked_for_there() {
    check(
        "0 join 2 -
         1 memory 1 a get
         1 memory 2 b get
         1 memory 3 c get
         1 memory 4 d get
         2 from 3 memory-answer #1 wrong
         3 from 2 memory-answer #1 v
         4 from 2 memory-answer #1 again
         5 from 2 memory #9 k put v
         6 from 2 memory #10 k get",
        expect![[r#"
            0 join 2 -
            1 memory 1 a get
              -> 2 memory #1 get
            1 memory 2 b get
              -> 2 memory #2 get
            1 memory 3 c get
              memory-answer 3 none
            1 memory 4 d get
              memory-answer 4 none
            2 from 3 memory-answer #1 wrong
            3 from 2 memory-answer #1 v
              memory-answer 1 v
            4 from 2 memory-answer #1 again
            5 from 2 memory #9 k put v
              -> 2 memory-answer #9 none
            6 from 2 memory #10 k get
              -> 2 memory-answer #10 v
        "#]],
    );
}

/// If this fails, a step waits for ever for a node that is gone.
#[test]
fn a_lost_or_late_answer_is_unavailable() {
    check(
        "0 join 2 -
         1 memory 1 a get
         1 memory 2 b get
         1 memory 3 c get
         1 memory 4 d get
         2 down 2
         3 join 2 -
         4 memory 5 a get
         4 memory 6 b get
         4 memory 7 c get
         4 memory 8 d get
         300 wait",
        expect![[r#"
            0 join 2 -
            1 memory 1 a get
              -> 2 memory #1 get
            1 memory 2 b get
              -> 2 memory #2 get
            1 memory 3 c get
              memory-answer 3 none
            1 memory 4 d get
              memory-answer 4 none
            2 down 2
              left 2
              memory-answer 1 unavailable
              memory-answer 2 unavailable
            3 join 2 -
            4 memory 5 a get
              -> 2 memory #3 get
            4 memory 6 b get
              -> 2 memory #4 get
            4 memory 7 c get
              memory-answer 7 none
            4 memory 8 d get
              memory-answer 8 none
              at 254: memory-answer 5 unavailable
              at 254: memory-answer 6 unavailable
            300 wait
        "#]],
    );
}

/// If this fails, a slow keeper costs each step that asks it a long wait, or is not asked any more
/// when it is fast again.
#[test]
fn a_slow_keeper_rests() {
    check(
        "0 join 2 -
         1 memory 1 a get
         300 memory 2 a get
         400 memory 3 b get
         501 memory 4 a get
         501 memory 5 b get
         502 from 2 memory-answer #2 v
         503 memory 6 a get
         504 memory 7 b get",
        expect![[r#"
            0 join 2 -
            1 memory 1 a get
              -> 2 memory #1 get
              at 251: memory-answer 1 unavailable
            300 memory 2 a get
              memory-answer 2 unavailable
            400 memory 3 b get
              memory-answer 3 unavailable
            501 memory 4 a get
              -> 2 memory #2 get
            501 memory 5 b get
              memory-answer 5 unavailable
            502 from 2 memory-answer #2 v
              memory-answer 4 v
            503 memory 6 a get
              -> 2 memory #3 get
            504 memory 7 b get
              -> 2 memory #4 get
        "#]],
    );
}

/// If this fails, memory or what waits for it grows without limit.
#[test]
fn memory_limits() {
    check(
        "set memory_value_bytes_max 10
         set memory_bytes_max 300
         set memory_requests_max 1
         0 memory 1 k put bytes 11
         0 memory 2 a put bytes 10
         0 memory 3 b put bytes 10
         0 memory 4 c put bytes 10
         0 memory 5 a get
         0 memory 6 c get
         1 join 2 -
         2 memory 11 a get
         2 memory 12 b get
         2 memory 13 c get
         2 memory 14 d get",
        expect![[r#"
            0 memory 1 k put bytes 11
              memory-answer 1 too large: max 10
            0 memory 2 a put bytes 10
              memory-answer 2 none
            0 memory 3 b put bytes 10
              memory-answer 3 none
            0 memory 4 c put bytes 10
              memory-answer 4 none
            0 memory 5 a get
              memory-answer 5 none
            0 memory 6 c get
              memory-answer 6 [10 bytes]
            1 join 2 -
            2 memory 11 a get
              -> 2 memory #1 get
            2 memory 12 b get
              memory-answer 12 unavailable
            2 memory 13 c get
              memory-answer 13 [10 bytes]
            2 memory 14 d get
              memory-answer 14 none
        "#]],
    );
}
