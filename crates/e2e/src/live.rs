//! The MLS group of a chat that has met no error yet.

use bytes::Bytes;
use openmls::{
    framing::{MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProcessedMessageContent},
    group::{GroupId, MlsGroup, PastEpochDeletion},
    key_packages::{KeyPackage, errors::KeyPackageVerifyError},
    prelude::{LeafNodeIndex, Sender},
    versions::ProtocolVersion,
};
use openmls_traits::OpenMlsProvider as _;
use protocol::{ChatId, Content};
use tls_codec::{DeserializeBytes as _, Serialize as _};
use zeroize::Zeroizing;

use crate::{
    Breach, Error, Member, Opened, Own, Part, Rng, commit_rules, profile,
    provider::{Provider, Vault},
};

/// The two in a chat: the caller is the group's first leaf, the accepter its second.
pub(crate) struct Pair {
    own: Own,
    peer: Member,
    own_is_caller: bool,
}

pub(crate) struct Live {
    group: MlsGroup,
    vault: Vault,
    /// Whether secrets of past epochs are kept.
    has_past: bool,
}

impl Pair {
    /// Oneself calling.
    pub(crate) fn caller(own: Own, accepter: Member) -> Result<Self, Error> {
        Self { own, peer: accepter, own_is_caller: true }.distinct()
    }

    /// Oneself accepting.
    pub(crate) fn accepter(own: Own, caller: Member) -> Result<Self, Error> {
        Self { own, peer: caller, own_is_caller: false }.distinct()
    }

    pub(crate) fn peer(&self) -> &Member {
        &self.peer
    }

    /// The two in the order of their leaves.
    pub(crate) fn members(&self) -> [&Member; 2] {
        if self.own_is_caller { [self.own.member(), &self.peer] } else { [&self.peer, self.own.member()] }
    }

    fn peer_leaf(&self) -> LeafNodeIndex {
        LeafNodeIndex::new(u32::from(self.own_is_caller))
    }

    fn distinct(self) -> Result<Self, Error> {
        if self.peer.key == self.own.member().key { Err(Error::SameKey) } else { Ok(self) }
    }
}

impl Live {
    pub(crate) fn new(group: MlsGroup, vault: Vault) -> Self {
        Self { group, vault, has_past: false }
    }

    pub(crate) fn create(pair: &Pair, chat: ChatId, key_package: &[u8], rng: Rng<'_>) -> Result<(Self, Bytes), Error> {
        let vault = Vault::new()?;
        let provider = vault.provider(rng);
        let package = read_package(key_package, &pair.peer, &provider)?;

        let local = Error::Local("making a chat");
        let own = &pair.own;
        let mut group = MlsGroup::new_with_group_id(
            &provider,
            own,
            &profile::create_config(),
            GroupId::from_slice(chat.as_bytes()),
            own.member().credential_with_key(),
        )
        .map_err(|_| local)?;
        // Both leaves are fresh, so the commit that adds one needs no path.
        let (_, welcome, _) = group.add_members_without_update(&provider, own, &[package]).map_err(|_| local)?;
        group.merge_pending_commit(&provider).map_err(|_| local)?;
        forget_past(&mut group, &provider)?;
        profile::check_members(group.members(), pair.members())?;
        let welcome = to_bytes(&welcome)?;
        Ok((Self::new(group, vault), welcome))
    }

    #[cfg(test)]
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.group.epoch().as_u64()
    }

    pub(crate) fn seal(&mut self, pair: &Pair, aad: Vec<u8>, content: &Content, rng: Rng<'_>) -> Result<Bytes, Error> {
        let local = Error::Local("sealing a message");
        let plain = Zeroizing::new(content.tls_serialize_detached().map_err(|_| local)?);
        // Holds for one message.
        self.group.set_aad(aad);
        let sealed = self.group.create_message(&self.vault.provider(rng), &pair.own, &plain).map_err(|_| local)?;
        to_bytes(&sealed)
    }

    pub(crate) fn renew(&mut self, pair: &Pair, aad: Vec<u8>, rng: Rng<'_>) -> Result<Bytes, Error> {
        let local = Error::Local("renewing the keys");
        let provider = self.vault.provider(rng);
        self.group.set_aad(aad);
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(true)
            .consume_proposal_store(false)
            .load_psks(provider.storage())
            .map_err(|_| local)?
            // Nobody joins by it.
            .use_ratchet_tree_extension(false)
            .create_group_info(false)
            .build(provider.rand(), provider.crypto(), &pair.own, |_| false)
            .map_err(|_| local)?
            .stage_commit(&provider)
            .map_err(|_| local)?;
        let sealed = to_bytes(bundle.commit())?;
        self.group.merge_pending_commit(&provider).map_err(|_| local)?;
        self.has_past = true;
        Ok(sealed)
    }

    pub(crate) fn open(&mut self, pair: &Pair, aad: &[u8], sealed: &[u8], rng: Rng<'_>) -> Result<Opened, Error> {
        let forged = Error::Forged(Part::Frame);
        let message = MlsMessageIn::tls_deserialize_exact_bytes(sealed).map_err(|_| forged)?;
        // OpenMLS holds members to this wire format, and lets outsiders choose theirs.
        let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
            return Err(forged);
        };
        if message.group_id() != self.group.group_id() {
            return Err(Error::WrongChat(Part::Frame));
        }
        let provider = self.vault.provider(rng);
        let processed = self.group.process_message(&provider, message)?;
        // There are the two, so what is not the peer's is one's own.
        if *processed.sender() != Sender::Member(pair.peer_leaf()) {
            return Err(Error::Reflected);
        }
        if processed.aad() != aad {
            return Err(Error::Header);
        }
        let is_current = processed.epoch() == self.group.epoch();
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => {
                let plain = Zeroizing::new(message.into_bytes());
                let content = Content::tls_deserialize_exact_bytes(&plain).map_err(|_| Breach::Content)?;
                // Counted frames come in order: after one of this epoch, none of an earlier is on its way.
                if self.has_past && is_current && content != Content::Receipt {
                    forget_past(&mut self.group, &provider)?;
                    self.has_past = false;
                }
                Ok(Opened::Content(content))
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                commit_rules::check(&commit, &pair.peer)?;
                self.group
                    .merge_staged_commit(&provider, *commit)
                    // Storage in memory does not fail, so it is the commit that does not lead anywhere.
                    .map_err(|_| Breach::Commit)?;
                profile::check_members(self.group.members(), pair.members())?;
                // The commit is counted, and what its sender seals after it is of the new epoch.
                forget_past(&mut self.group, &provider)?;
                self.has_past = false;
                Ok(Opened::Renewed)
            }
            ProcessedMessageContent::ProposalMessage(_) | ProcessedMessageContent::ExternalJoinProposalMessage(_) => {
                Err(Breach::Proposal.into())
            }
            ProcessedMessageContent::OwnPrivateMessage | ProcessedMessageContent::OwnPendingCommit => {
                Err(Error::Reflected)
            }
        }
    }
}

/// Reads the accepter's key package and checks all of it.
fn read_package(bytes: &[u8], accepter: &Member, provider: &Provider<'_>) -> Result<KeyPackage, Error> {
    let forged = Error::Forged(Part::KeyPackage);
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| forged)?;
    let MlsMessageBodyIn::KeyPackage(package) = message.extract() else {
        return Err(forged);
    };
    let claim = package.unverified_credential();
    if !accepter.is(&claim.credential, claim.signature_key.as_slice()) {
        return Err(Error::WrongMember(Part::KeyPackage));
    }
    // From here on a signature that holds is the accepter's.
    let package = package.validate(provider.crypto(), ProtocolVersion::Mls10).map_err(|error| match error {
        KeyPackageVerifyError::LifetimeError(_)
        | KeyPackageVerifyError::MissingLifetime
        | KeyPackageVerifyError::UnsupportedExtension => Breach::Profile.into(),
        _ => forged,
    })?;
    profile::check_package(&package)?;
    Ok(package)
}

fn forget_past(group: &mut MlsGroup, provider: &Provider<'_>) -> Result<(), Error> {
    group
        .delete_past_epoch_secrets(provider, PastEpochDeletion::delete_all())
        .map_err(|_| Error::Local("deleting past keys"))
}

fn to_bytes(message: &MlsMessageOut) -> Result<Bytes, Error> {
    message.to_bytes().map(Bytes::from).map_err(|_| Error::Local("writing a message"))
}
