//! The sealed chat through its public face: between two of ours, against a client that is not, and under attack.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;
mod cost;
mod epochs;
mod frames;
mod measure;
mod rogue;
mod rogue_frames;
mod rogue_setup;
mod secrets;
mod setup;
mod tampered;
