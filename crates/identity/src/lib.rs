//! Who is who: the keys of users and where they lie, the certificates of servers, the TLS configurations that prove
//! both (S2), the pins that remember a peer's key, and the safety numbers that two people compare (B4).
//!
//! Files are read and written here, sockets are not. Randomness for users' keys is passed in; TLS and the making of
//! certificates draw their own from AWS-LC.

mod certificate;
mod host;
mod key;
mod key_file;
mod pins;
mod public_line;
mod safety_number;
mod tls;

pub use certificate::{Authority, CertificateError, issue, make_authority};
pub use host::subject;
pub use key::UserKey;
pub use key_file::{KeyFileError, LockedKey, MAX_ROUNDS, ROUNDS, UnlockError, write_key_file};
pub use pins::{Pin, PinError, PinFile, Trust};
pub use public_line::{PublicLineError, parse_public_line, public_line};
pub use safety_number::{SafetyNumber, safety_number};
pub use tls::{
    Negotiated, Roots, TlsError, certificate_bears, certifies, check_authority, client_config, client_key,
    client_verifier, is_untrusted, negotiated, server_config, server_goes_by, tls_error,
};
