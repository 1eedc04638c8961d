//! The one shape that version 1 gives a chat's group. Whatever MLS leaves open is fixed here, so that there is nothing
//! to negotiate, and nothing to negotiate down (B1).

use libcrux_kem::{Algorithm, PublicKey};
use openmls::{
    credentials::CredentialType,
    group::{GroupContext, MlsGroupCreateConfig, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY},
    key_packages::{KeyPackage, Lifetime},
    prelude::{Capabilities, LeafNode, SenderRatchetConfiguration},
    versions::ProtocolVersion,
};
use openmls_traits::types::Ciphersuite;
use protocol::limits::{PADDING, WINDOW_FRAMES};

use crate::{Breach, Error, Member};

/// The ciphersuite of every chat, as the drafts of the MLS working group name it. Its number is provisional.
pub const SUITE: &str = "MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519";

/// The same for OpenMLS.
pub(crate) const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519;

/// Frames by which one may lag behind the newest of its sender that was opened, within one epoch: a few receipts that
/// changed places.
///
/// The order of the stream is the order in which frames were sealed: a counted frame opens after the one before it, a
/// receipt between the two that it was sealed between, and what was lost is sent again before anything new. So hardly a
/// key of what was left out is kept. Were they kept, a peer who leaves out many would have them kept, and written down
/// again with each frame that follows.
pub const OUT_OF_ORDER: u32 = 16;

/// Frames of a sender that may be missing before one that still opens, within one epoch.
///
/// Missing are receipts alone, sealed and then lost with a connection: before one of them arrives, at most one for each
/// frame of the reader's own window, and one for each time that the line was opened in vain. Each costs the reader
/// a few microseconds, so the number is also a bound on what a frame of a peer's who means ill can cost.
pub const MAX_FORWARD: u32 = 2 * WINDOW_FRAMES as u32;

/// Past epochs whose frames still open, until a counted frame of the current epoch shows that none is on its way.
///
/// One is enough where the two take turns to renew; two leave room for a turn that both count otherwise.
pub const MAX_PAST_EPOCHS: usize = 2;

/// Bytes of a public key to encrypt to: 1,184 of ML-KEM-768, then 32 of X25519 (draft-connolly-cfrg-xwing-kem-06 section
/// 5).
const KEM_KEY: usize = 1216;

/// How the caller makes a group.
pub(crate) fn create_config() -> MlsGroupCreateConfig {
    MlsGroupCreateConfig::builder()
        .ciphersuite(CIPHERSUITE)
        .capabilities(capabilities())
        .lifetime(forever())
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(PADDING)
        .max_past_epochs(MAX_PAST_EPOCHS)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER, MAX_FORWARD))
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(true)
        .build()
}

/// How the accepter joins one.
pub(crate) fn join_config() -> MlsGroupJoinConfig {
    create_config().join_config().clone()
}

/// What every leaf says it can do: this, and nothing else.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[CIPHERSUITE]),
        Some(&[]),
        Some(&[]),
        Some(&[CredentialType::Basic]),
    )
}

/// From 1970 to the end of time: a key package is used once and at once, so its lifetime says nothing, and whether a
/// chat can start must not depend on two clocks.
pub(crate) fn forever() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

/// Checks a key package whose signatures hold.
pub(crate) fn check_package(package: &KeyPackage) -> Result<(), Error> {
    if package.ciphersuite() != CIPHERSUITE {
        return Err(Breach::Suite.into());
    }
    let plain = package.extensions().iter().next().is_none()
        && *package.life_time() == forever()
        && is_kem_key(package.hpke_init_key().as_slice());
    if !plain {
        return Err(Breach::Profile.into());
    }
    check_leaf(package.leaf_node())
}

/// Checks a leaf, whoever's it is.
pub(crate) fn check_leaf(leaf: &LeafNode) -> Result<(), Error> {
    if leaf.capabilities() != &capabilities() || leaf.extensions().iter().next().is_some() {
        return Err(Breach::Profile.into());
    }
    Ok(())
}

/// Checks what all members of a group agree on.
pub(crate) fn check_context(context: &GroupContext) -> Result<(), Error> {
    if context.ciphersuite() != CIPHERSUITE || context.protocol_version() != ProtocolVersion::Mls10 {
        return Err(Breach::Suite.into());
    }
    if context.extensions().iter().next().is_some() {
        return Err(Breach::Profile.into());
    }
    Ok(())
}

/// Checks that a group's members are the caller, then the accepter, and nobody else.
pub(crate) fn check_members(
    members: impl Iterator<Item = openmls::group::Member>,
    [caller, accepter]: [&Member; 2],
) -> Result<(), Error> {
    let members: Vec<_> = members.collect();
    let [first, second] = members.as_slice() else {
        return Err(Breach::Members.into());
    };
    if !caller.is_at(0, first) || !accepter.is_at(1, second) {
        return Err(Breach::Members.into());
    }
    // A key that nobody can encrypt to would come to light only at the next renewal, and look like a fault here.
    if !is_kem_key(&first.encryption_key) || !is_kem_key(&second.encryption_key) {
        return Err(Breach::Profile.into());
    }
    Ok(())
}

/// The X-Wing key of these bytes, if they are one.
pub(crate) fn kem_key(bytes: &[u8]) -> Option<PublicKey> {
    // libcrux cuts bytes apart before it looks how many there are, and panics where there are too few.
    if bytes.len() != KEM_KEY {
        return None;
    }
    PublicKey::decode(Algorithm::XWingKemDraft06, bytes).ok()
}

fn is_kem_key(bytes: &[u8]) -> bool {
    kem_key(bytes).is_some()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_suite_is_the_one_that_is_named() {
        assert_eq!(format!("{CIPHERSUITE:?}"), SUITE);
        assert_eq!(u16::from(CIPHERSUITE), 0x004d, "the provisional number");
    }

    #[test]
    fn no_clock_is_outside_the_lifetime() {
        for years in [0, 1, 30, 56, 100, 1_000] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(years * 31_556_952);
            assert_eq!(forever().validate_with_time(now), Ok(()), "{years} years after 1970");
        }
    }

    #[test]
    fn ratchets_reach_over_the_receipts_of_a_window() {
        assert!(MAX_FORWARD as usize >= 2 * WINDOW_FRAMES);
    }
}
