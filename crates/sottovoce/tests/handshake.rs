//! The handshake between client and server, attacked by hand from either side (S2, S3, S12, B1): nothing older or weaker
//! is agreed on, nothing is resumed, renegotiated or brought early, and nobody gets in by another proof.
//!
//! What a side is told when it is refused is held to as well, by the alert's number (RFC 8446 section 6.2): a probe that is
//! refused for another reason than the one it is about shows nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may panic, and say what it left out"
)]

mod bent;
mod common;
mod people;
mod raw;

#[path = "handshake/after.rs"]
mod after;
#[path = "handshake/impostors.rs"]
mod impostors;
#[path = "handshake/offers.rs"]
mod offers;
#[path = "handshake/proofs.rs"]
mod proofs;

/// Alerts by the names that they have in RFC 8446 section 6.2.
mod alert {
    pub(crate) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(crate) const BAD_RECORD_MAC: u8 = 20;
    pub(crate) const RECORD_OVERFLOW: u8 = 22;
    pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
    pub(crate) const ILLEGAL_PARAMETER: u8 = 47;
    pub(crate) const DECODE_ERROR: u8 = 50;
    pub(crate) const DECRYPT_ERROR: u8 = 51;
    pub(crate) const PROTOCOL_VERSION: u8 = 70;
    pub(crate) const MISSING_EXTENSION: u8 = 109;
    pub(crate) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(crate) const NO_APPLICATION_PROTOCOL: u8 = 120;
}
