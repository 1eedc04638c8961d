use std::{fmt, sync::Arc};

use identity::UserKey;
use openmls::{
    credentials::{BasicCredential, Credential, CredentialWithKey},
    group,
};
use openmls_traits::{
    signatures::{Signer, SignerError},
    types::SignatureScheme,
};
use protocol::{PublicKey, ServerName, UserName};

/// One of the two in a chat, as the other has to see them.
///
/// In MLS: a leaf whose credential is basic, with the bytes `user@server`, and whose signature key is `key`
/// (RFC 9420 sections 5.1.1 and 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What they are called.
    pub user: UserName,
    /// The server that knows them by that name.
    pub server: ServerName,
    /// Their registered key.
    pub key: PublicKey,
}

/// Oneself: a [`Member`] with the private key to it.
#[derive(Clone)]
pub struct Own {
    member: Member,
    key: Arc<UserKey>,
}

impl Own {
    /// The user with this name and key on this server.
    pub fn new(user: UserName, server: ServerName, key: Arc<UserKey>) -> Self {
        Self { member: Member { user, server, key: key.public() }, key }
    }

    /// What others know of oneself.
    pub fn member(&self) -> &Member {
        &self.member
    }
}

impl Member {
    pub(crate) fn credential(&self) -> Credential {
        BasicCredential::new(format!("{}@{}", self.user, self.server).into_bytes()).into()
    }

    pub(crate) fn credential_with_key(&self) -> CredentialWithKey {
        CredentialWithKey { credential: self.credential(), signature_key: self.key.as_bytes().as_slice().into() }
    }

    /// Whether a leaf's credential and signature key are this member's.
    pub(crate) fn is(&self, credential: &Credential, signature_key: &[u8]) -> bool {
        *credential == self.credential() && signature_key == self.key.as_bytes()
    }

    pub(crate) fn is_at(&self, index: u32, member: &group::Member) -> bool {
        member.index.u32() == index && self.is(&member.credential, &member.signature_key)
    }
}

impl Signer for Own {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.key.sign(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("member", &self.member).finish_non_exhaustive()
    }
}
