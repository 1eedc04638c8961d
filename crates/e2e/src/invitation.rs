use std::fmt;

use bytes::Bytes;
use openmls::{
    framing::{MlsMessageBodyIn, MlsMessageIn, MlsMessageOut},
    group::{StagedWelcome, WelcomeError},
    key_packages::KeyPackage,
    prelude::ExtensionType,
};
use protocol::ChatId;
use tls_codec::DeserializeBytes as _;

use crate::{
    Breach, Chat, Error, Member, Own, Part, Rng,
    live::Pair,
    profile::{self, CIPHERSUITE},
    provider::Vault,
};

/// What the accepter holds between accepting a request and getting the caller's welcome: the private part of a key
/// package made for this chat alone (RFC 9420 section 10).
///
/// It is used once: [`Invitation::join`] takes it, whatever comes of it. Its secrets are zeroed when it is dropped.
pub struct Invitation {
    own: Own,
    vault: Vault,
}

impl Invitation {
    /// Makes fresh keys, and the key package that lets a caller put oneself in a group.
    ///
    /// The package is an `MLSMessage` (RFC 9420 section 6), about 2.7 kB.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn new(own: &Own, rng: Rng<'_>) -> Result<(Self, Bytes), Error> {
        let vault = Vault::new()?;
        let package = KeyPackage::builder()
            .leaf_node_capabilities(profile::capabilities())
            .key_package_lifetime(profile::forever())
            .build(CIPHERSUITE, &vault.provider(rng), own, own.member().credential_with_key())
            .map_err(|_| Error::Local("making a key package"))?;
        let package = MlsMessageOut::from(package.into_key_package())
            .to_bytes()
            .map_err(|_| Error::Local("writing a key package"))?;
        Ok((Self { own: own.clone(), vault }, package.into()))
    }

    /// Joins the group that `caller` made for `chat`, if the welcome says just that.
    ///
    /// Checked: the welcome opens with this invitation's private key, the group's id is `chat`, its only members are
    /// `caller`, who made it and signed the welcome, and oneself, each with name and key; it is new (epoch 1), has the
    /// one suite, no extensions and no pre-shared keys.
    ///
    /// # Errors
    /// [`Error::Forged`] for what does not open or is not signed, [`Error::WrongChat`], [`Error::WrongMember`] if
    /// someone else made the group, [`Error::Breach`] for a genuine welcome to a group that is not as it has to be.
    pub fn join(self, chat: ChatId, caller: &Member, welcome: &[u8], rng: Rng<'_>) -> Result<Chat, Error> {
        let Self { own, vault } = self;
        let pair = Pair::accepter(own, caller.clone())?;
        let forged = Error::Forged(Part::Welcome);
        let message = MlsMessageIn::tls_deserialize_exact_bytes(welcome).map_err(|_| forged)?;
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
            return Err(forged);
        };
        let provider = vault.provider(rng);
        // Lifetimes are all the same; not looking at them keeps the clock out of it.
        let builder = StagedWelcome::build_from_welcome(&provider, &profile::join_config(), welcome)
            .map_err(welcome_error)?
            .skip_lifetime_validation();
        let processed = builder.processed_welcome();
        let has_psks = !processed.psks().is_empty();
        let has_extensions = processed
            .unverified_group_info()
            .extensions()
            .iter()
            .any(|extension| extension.extension_type() != ExtensionType::RatchetTree);
        // Verifies the signature of the group's maker, those of the leaves, and the tree.
        let staged = builder.build().map_err(welcome_error)?;

        let maker = staged.welcome_sender().map_err(|_| forged)?;
        if !caller.is(maker.credential(), maker.signature_key().as_slice()) {
            return Err(Error::WrongMember(Part::Welcome));
        }
        let context = staged.group_context();
        profile::check_context(context)?;
        if context.group_id().as_slice() != chat.as_bytes() {
            return Err(Error::WrongChat(Part::Welcome));
        }
        if has_psks || has_extensions {
            return Err(Breach::Profile.into());
        }
        if context.epoch().as_u64() != 1 {
            return Err(Breach::Members.into());
        }
        profile::check_members(staged.members(), pair.members())?;
        profile::check_leaf(maker)?;

        let group = staged.into_group(&provider).map_err(welcome_error)?;
        Ok(Chat::joined(chat, pair, group, vault))
    }
}

/// The invitation itself is known to be good, so the welcome is at fault; and it is signed by nobody yet.
fn welcome_error<S>(error: WelcomeError<S>) -> Error {
    match error {
        WelcomeError::StorageError(_) => Error::Local("joining a chat"),
        _ => Error::Forged(Part::Welcome),
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("own", &self.own).finish_non_exhaustive()
    }
}
