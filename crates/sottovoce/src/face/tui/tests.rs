//! The screen, driven without a terminal: what it shows, what keys do to it, and what it costs.
#![allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "a test may panic")]

mod answering;
mod cost;
mod leaving;
mod line;
mod listing;
mod random;
mod saying;
mod signing_in;
mod stage;
mod time;
mod views;
