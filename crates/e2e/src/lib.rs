//! The sealed chat between two clients: invite, create, join, seal, open, renew (S8, S9, S12, B1, B2, B6).
//!
//! A chat is an MLS group (RFC 9420) of two, made for this chat alone, with the one ciphersuite [`SUITE`]. The caller
//! is its first member and the accepter its second, each with their registered key as signature key, and it never has
//! others:
//!
//! 1. The accepter makes an [`Invitation`] and sends its key package.
//! 2. The caller checks the package against the accepter's registered key, makes the group with [`Chat::create`] and
//!    sends the welcome.
//! 3. The accepter checks the welcome against the caller's registered key in [`Invitation::join`].
//!
//! Then both [`Chat::seal`], [`Chat::open`] and [`Chat::renew`]. The [`ChatHeader`](protocol::ChatHeader) of each
//! frame is the authenticated data of the MLS message in it.
//!
//! Nothing here does I/O, and no decision depends on a clock. Random bytes come from the generator that each call is
//! handed, so the same seed and the same calls give the same bytes. OpenMLS and libcrux do look further, without
//! effect: OpenMLS notes when it put a past epoch's secrets away, and libcrux seeds a generator that is never drawn
//! from.

mod chat;
mod commit_rules;
mod error;
mod invitation;
mod live;
mod member;
mod profile;
mod provider;

pub use chat::{Chat, Opened};
pub use error::{Breach, Culprit, Error, Part};
pub use invitation::Invitation;
pub use member::{Member, Own};
pub use profile::{MAX_FORWARD, MAX_PAST_EPOCHS, OUT_OF_ORDER, SUITE};

/// The generator that a call draws its random bytes from; lent for the call alone.
pub type Rng<'a> = &'a mut (dyn rand_core::CryptoRng + Send);
