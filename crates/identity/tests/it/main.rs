//! What the crate promises to others, tried from outside: on real files, on real sockets, and against the tools of
//! OpenSSH and OpenSSL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and says on stderr what it skips"
)]

mod certificate;
mod common;
mod key_file;
mod openssl;
mod pins;
mod rogue;
mod safety_number;
mod tls;
