//! The rules of the relay, in all states that the real session machine can be brought to within written bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test may panic, and says what it has seen"
)]

use std::time::Instant;

use sim::rules::{ALL, Action, BROKEN, Bounds, Fault, Relay, WIDE, World};
use stateright::{Checker as _, Expectation, Model as _};

macro_rules! bounds {
    ($(#[test] fn $test:ident() = $name:literal;)*) => {
        $(#[test]
        fn $test() {
            holds($name);
        })*

        #[test]
        fn all_bounds_have_a_test() {
            assert_eq!(ALL.map(|(name, _)| name), [$($name),*]);
        }
    };
}
// One after the other, these take the longest; they run beside each other.
bounds! {
    #[test]
    fn rules_hold_while_anybody_calls_anybody() = "requests";
    #[test]
    fn rules_hold_where_frames_take_time() = "slow frames";
    #[test]
    fn rules_hold_while_two_call_each_other() = "crossing";
    #[test]
    fn rules_hold_while_connections_break() = "broken connections";
    #[test]
    fn rules_hold_while_connections_break_and_frames_take_time() = "broken and slow";
    #[test]
    fn rules_hold_where_log_ins_come_late() = "late log-ins";
    #[test]
    fn rules_hold_while_signals_are_lost() = "losses";
    #[test]
    fn rules_hold_where_mailboxes_are_read_first() = "mailboxes first";
    #[test]
    fn rules_hold_where_a_mailbox_is_full() = "full";
    #[test]
    fn rules_hold_over_a_restart_of_the_server() = "restart";
    #[test]
    fn rules_hold_among_three() = "three";
    #[test]
    fn rules_hold_against_a_client_that_lies() = "lies";
    #[test]
    fn rules_hold_against_a_client_that_lies_again() = "more lies";
    #[test]
    fn rules_hold_while_anybody_calls_anybody_between_nodes() = "requests between nodes";
    #[test]
    fn rules_hold_while_two_call_each_other_between_nodes() = "crossing between nodes";
    #[test]
    fn rules_hold_while_clients_move_between_nodes() = "moving between nodes";
    #[test]
    fn rules_hold_where_log_ins_come_late_at_two_nodes() = "late log-ins at two nodes";
    #[test]
    fn rules_hold_while_words_between_nodes_are_lost() = "lost words";
    #[test]
    fn rules_hold_while_words_are_lost_and_clients_move() = "lost words and moving";
    #[test]
    fn rules_hold_where_a_mailbox_at_another_node_is_full() = "full at the other node";
    #[test]
    fn rules_hold_when_a_node_dies() = "death of a node";
    #[test]
    fn rules_hold_while_a_node_is_cut_off() = "cut off";
}

#[test]
#[ignore = "takes many minutes"]
fn rules_hold_within_wider_bounds() {
    for (name, bounds) in WIDE {
        all_hold(name, bounds, 2);
    }
}

fn holds(name: &str) {
    let (_, bounds) = ALL.into_iter().find(|(other, _)| *other == name).unwrap();
    all_hold(name, bounds, 1);
}

/// Checks all that can happen within these bounds.
fn all_hold(name: &str, bounds: Bounds, threads: usize) {
    #[expect(clippy::disallowed_methods, reason = "says how long it took")]
    let start = Instant::now();
    let checker = Relay::new(bounds.clone(), Fault::None).unwrap().checker().threads(threads).spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps between them, depth {}, {:.1} s, within {bounds:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f32(),
    );
    let mut found = checker.discoveries();
    for property in checker.model().properties() {
        let path = found.remove(property.name);
        match property.expectation {
            Expectation::Sometimes => {
                let is_expected = bounds.sights.contains(&property.name);
                assert!(path.is_some() || !is_expected, "{name}: never seen: {}", property.name);
            }
            _ => {
                let way = path.map(|path| way(path.into_vec()));
                assert!(way.is_none(), "{name}: {} fails:\n{}", property.name, way.unwrap());
            }
        }
    }
}

#[test]
fn each_rule_fails_on_machines_that_are_broken_on_purpose() {
    for (rule, fault, bounds) in BROKEN {
        fails(rule, fault, bounds);
    }
    let rules = Relay::new(BROKEN[0].2.clone(), Fault::None).unwrap().properties();
    for rule in rules.iter().filter(|property| property.expectation == Expectation::Always) {
        assert!(BROKEN.iter().any(|(broken, ..)| *broken == rule.name), "no machine breaks it: {}", rule.name);
    }
}

fn fails(rule: &'static str, fault: Fault, bounds: Bounds) {
    let checker = Relay::new(bounds, fault).unwrap().only(rule).checker().spawn_bfs().join();
    let path = checker.discovery(rule).unwrap_or_else(|| panic!("{fault:?} does not break it: {rule}"));
    println!("{fault:?}: {rule} fails after {} states:\n{}", checker.unique_state_count(), way(path.into_vec()));
}

/// The steps, and the state that they lead to.
fn way(path: Vec<(World, Option<Action>)>) -> String {
    let line = |(world, action): (World, Option<Action>)| match action {
        Some(action) => format!("  {action}\n"),
        None => format!("{world:?}\n"),
    };
    path.into_iter().map(line).collect()
}
