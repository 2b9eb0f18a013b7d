//! Who holds which component: by the table, by hand, and by adoption.

use expect_test::expect;

use crate::machine::{check, run};

/// The lines of what a script prints that have one of these words.
fn lines(script: &str, words: &[&str]) -> Vec<String> {
    let printed = run(script);
    let has = |line: &&str| line.starts_with("  ") && words.iter().any(|word| line.contains(word));
    printed.lines().filter(has).map(|line| line.trim().to_owned()).collect()
}

/// More clients than one core can serve, for so many milliseconds, from the millisecond 10 on.
fn crowd(millis: u64) -> String {
    let each = |n: u64| format!("{}.{} submit {n} a.f\n", 10 + n / 4, n % 4 * 2);
    (0..millis * 4).map(each).collect()
}

const QUIET: &str = "set adoption_interval 250
     set beacon_interval 100
     set held_max 100000
     set admit_max 100000
     set admit_wait_max 1000000
     set waiting_max 100000
";

/// If this fails, a component whose only holder drowns gets no other one, or gets more than there
/// is work for at once.
#[test]
fn a_full_holder_has_others_adopt() {
    let begin = "0 join 2 -\n0 join 3 - busy 900\n0 deploy app a@1\n1 ready a cost 300\n";
    let script = format!("{QUIET}{begin}{}", crowd(1200));
    let decided = lines(&script, &["spreads", "adopt"]);
    let [told, why] = &decided[..] else { panic!("{decided:?}") };
    assert!(told.contains("-> 2 adopt a 1 holders wait "), "{told}");
    assert!(why.contains("spreads a to 2: 1 holders wait "), "{why}");
}

/// If this fails, a component that was deployed with `adopt = false`, or that asks for what no idle
/// node has, spreads all the same.
#[test]
fn nobody_adopts_what_it_must_not() {
    let begin = "0 join 2 -\n0 join 3 - traits south/gpu\n0 deploy app a@1,3!/gpu\n";
    let script = format!("{QUIET}{begin}1 ready a\n{}", crowd(1000));
    assert_eq!(lines(&script, &["spreads", "adopt"]), Vec::<String>::new());
}

/// If this fails, nodes decide each for itself, and all of them at once.
#[test]
fn the_lowest_holder_is_told() {
    let begin = "0 join 0 a wait 9000\n0 join 2 -\n0 deploy app a@0,1\n1 ready a\n";
    let script = format!("{QUIET}set hops_max 0\n{begin}{}", crowd(600));
    let said = lines(&script, &["demands", "spreads", "adopt"]);
    assert!(
        !said.is_empty() && said.iter().all(|line| line.contains("-> 0 demands a ")),
        "{said:?}"
    );
}

/// If this fails, a node does not take in what it was told to, others hear of it late, or it does
/// not give it up.
#[test]
fn a_component_is_adopted_and_given_up() {
    check(
        "show inventory
         0 join 2 a
         0 deploy app a@2
         1 from 2 adopt a
         2 from 2 adopt a
         3 ready a cost 40
         4 from 2 give-up a",
        expect![[r#"
            0 join 2 a
            0 deploy app a@2
              -> 2 table-entries app@1
            1 from 2 adopt a
              adopts a: 1 holders wait 0 of 0 us, 0 of 0
              hold a from 2
            2 from 2 adopt a
            3 ready a cost 40
              has adopted a
              -> 2 inventory a*
            4 from 2 give-up a
              gives up a
              release a
              -> 2 inventory 
        "#]],
    );
}

/// If this fails, the last copy of a component is given up.
#[test]
fn the_last_copy_stays() {
    check(
        "0 join 2 a
         0 deploy app a@2
         1 from 2 adopt a
         3 ready a
         4 down 2
         5 measured memory 999
         6 from 2 give-up a",
        expect![[r#"
            0 join 2 a
            0 deploy app a@2
              -> 2 table-entries app@1
            1 from 2 adopt a
              adopts a: 1 holders wait 0 of 0 us, 0 of 0
              hold a from 2
            3 ready a
              has adopted a
            4 down 2
              left 2
            5 measured memory 999
            6 from 2 give-up a
        "#]],
    );
}

/// If this fails, a node whose memory is short keeps what it need not.
#[test]
fn short_memory_ends_an_adoption() {
    let begin = "set adoption_interval 250\n0 join 2 a\n0 deploy app a@2\n1 from 2 adopt a\n";
    let script = format!("{begin}3 ready a\n4 measured memory 950\n600 from 2 adopt a\n");
    let said = lines(&script, &["adopt", "gives up"]);
    assert_eq!(said[1..], ["has adopted a", "at 250: gives up a"], "and it is not taken in again");
}

/// If this fails, a node whose memory is short keeps all that it took in because one of them, the
/// least used, is the last in the cluster.
#[test]
fn short_memory_ends_what_can_end() {
    let begin = "set adoption_interval 250\n0 join 2 b\n0 join 3 a\n0 deploy app a@3 b@2\n";
    let took = "1 from 2 adopt a\n1 from 2 adopt b\n2 ready a\n2 ready b\n3 down 3\n";
    let work = "4 submit 1 b.f\n5 done 1 x\n";
    let script = format!("{begin}{took}{work}6 measured memory 950\n600 wait");
    assert_eq!(lines(&script, &["gives up"]), ["at 250: gives up b"]);
}

/// If this fails, adoptions fill a node.
#[test]
fn adopted_max() {
    let begin = "set adopted_max 1\n0 join 2 a,b\n0 deploy app a@2 b@2\n";
    let said = lines(&format!("{begin}1 from 2 adopt a\n2 from 2 adopt b\n"), &["adopts"]);
    assert_eq!(said.len(), 1, "{said:?}");
}

/// If this fails, a component that cannot be had is asked for without end, or never again.
#[test]
fn an_adoption_that_fails_ends() {
    let script = "0 join 2 a\n0 deploy app a@2\n1 from 2 adopt a\n2 not-ready a\n600 not-ready a\n\
                  1700 not-ready a\n9000 wait\n";
    let said = lines(script, &["hold a", "adopt", "release"]);
    let expected = ["hold a", "at 502: hold a", "at 1600: hold a", "cannot adopt a", "release a"];
    let told: Vec<&str> = said[1..].iter().map(|line| line.trim_end_matches(" from 2")).collect();
    assert_eq!(told, expected);
}

/// If this fails, copies that nobody needs any more stay for ever, or go at once.
#[test]
fn an_unneeded_copy_is_given_up_after_a_while() {
    let calm = |n: u64| format!("{} from 2 demands a inflow 10\n", n * 100 + 5);
    let told: String = (0..20).map(calm).collect();
    let begin = "set adoption_interval 250\nset unneeded_after 1000\n0 join 2 a*\n";
    let script = format!("{begin}0 deploy app a@1\n1 ready a\n{told}");
    let said = lines(&script, &["give-up"]);
    assert!(said.first().is_some_and(|line| line == "at 1250: -> 2 give-up a"), "{said:?}");
}

/// If this fails, a component runs where another of the same code was deployed.
#[test]
fn components_of_one_code_are_held_apart() {
    check(
        "0 join 2 -
         0 deploy app a@1 b=a@2
         1 ready a
         2 from 2 inventory b=a
         3 submit 1 a.f
         4 submit 2 b.f",
        expect![[r#"
            0 join 2 -
            0 deploy app a@1 b=a@2
              hold a from 2
              -> 2 table-entries app@1
            1 ready a
            2 from 2 inventory b=a
            3 submit 1 a.f
              run h1 p1 a.f start ii
            4 submit 2 b.f
              -> 2 deliver #1 p2.0 b hops 1 steps 0 left 1
        "#]],
    );
}

/// If this fails, what was added or removed by hand is not, or a component is nowhere for a while.
#[test]
fn hands_move_a_component() {
    check(
        "0 join 2 -
         0 deploy app a@1
         1 ready a
         2 hold a 2
         3 unhold a 1
         300 from 2 inventory a
         500 wait",
        expect![[r#"
            0 join 2 -
            0 deploy app a@1
              hold a from 2
              -> 2 table-entries app@1
            1 ready a
            2 hold a 2
              -> 2 table-entries app@2
            3 unhold a 1
              -> 2 table-entries app@3
            300 from 2 inventory a
              release a
            500 wait
        "#]],
    );
}
