//! Real clients at a relay that means ill (`sim::hostile_relay`): what their users see of each attack. The rows of
//! SECURITY.md's table name these tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod connection;
mod held_back;
mod keys;
mod lists;
mod requests;
mod sealed;
mod set_up;
mod sizes;
mod stage;
mod watched;
