//! No certification authority at all, in the place of the crate of this name, which is Mozilla's list of them.
//!
//! `sqlx` trusts that list for connections to PostgreSQL, besides the authority that `sslrootcert` names, and has no way to
//! leave it out. With it, each of some hundred authorities could let somebody stand in for the database that says which key
//! is whose. With this, the named one alone counts.
#![forbid(unsafe_code)]
#![no_std]

/// Nobody.
pub const TLS_SERVER_ROOTS: &[pki_types::TrustAnchor<'static>] = &[];
