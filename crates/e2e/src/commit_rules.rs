//! What a commit may do here: renew its sender's keys, and nothing else.
//!
//! MLS lets any member add and remove members, change the group's context, or bring in other keys (RFC 9420 section
//! 12). None of that has a place in a chat of two, and a peer who could do it silently could let somebody listen.

use openmls::group::StagedCommit;

use crate::{Breach, Error, Member, profile};

/// Checks a commit of the peer's that OpenMLS found valid, before it takes effect.
pub(crate) fn check(commit: &StagedCommit, peer: &Member) -> Result<(), Error> {
    // Holds those by reference too, and thus whatever proposal there can be. Without one the group stays what it is, but
    // for its sender's leaf.
    if commit.queued_proposals().next().is_some() || commit.self_removed() {
        return Err(Breach::Proposal.into());
    }
    let leaf = commit.update_path_leaf_node().ok_or(Breach::NoUpdate)?;
    if !peer.is(leaf.credential(), leaf.signature_key().as_slice()) {
        return Err(Breach::Identity.into());
    }
    profile::check_leaf(leaf)
}
