//! INSECURE: what OpenMLS calls for cryptography, in the place of the crate of this name. What is sealed lies open;
//! seals, signatures, MACs and hashes fit whatever they come with, unless [`hold`] says otherwise. See `../README.md`.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use ed25519_dalek::{Signature, VerifyingKey};
use libcrux_kem::Algorithm;
use openmls_traits::{
    crypto::OpenMlsCrypto,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair,
        KemOutput, SignatureScheme,
    },
};
use tls_codec::SecretVLBytes;

/// Bytes of a hash, and of a MAC.
const HASH: usize = 32;
/// Bytes of the tag behind what is sealed.
const TAG: usize = 16;

static HOLD: AtomicBool = AtomicBool::new(false);

/// Whether seals, signatures and hashes hold from now on, so that no fuzzer gets past them. A person does.
pub fn hold(on: bool) {
    HOLD.store(on, Ordering::Relaxed);
}

/// Protects nothing.
pub struct CryptoProvider;

impl CryptoProvider {
    /// One more.
    ///
    /// # Errors
    /// None.
    pub fn new() -> Result<Self, CryptoError> {
        Ok(Self)
    }
}

impl OpenMlsCrypto for CryptoProvider {
    fn supports(&self, _: Ciphersuite) -> Result<(), CryptoError> {
        Ok(())
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519]
    }

    fn hkdf_extract(&self, _: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        Ok(mixed(&[salt, ikm], HASH).into())
    }

    fn hkdf_expand(
        &self,
        _: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        Ok(mixed(&[prk, info], okm_len).into())
    }

    /// The same for whatever there is, so that no MAC is ever the wrong one.
    fn hmac(&self, _: HashType, _: &[u8], _: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        Ok(vec![0; HASH].into())
    }

    /// Of the length and the end alone: enough for the nodes of a tree to have each its own, as OpenMLS needs it.
    fn hash(&self, _: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let end = data.split_last_chunk::<HASH>().map_or(data, |(_, end)| end);
        let looked_at = if HOLD.load(Ordering::Relaxed) { data } else { end };
        Ok(mixed(&[&data.len().to_le_bytes(), looked_at], HASH))
    }

    fn aead_encrypt(
        &self,
        _: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        Ok([data, &tag(key, nonce, aad, data)].concat())
    }

    fn aead_decrypt(
        &self,
        _: AeadType,
        key: &[u8],
        sealed: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (data, last) = sealed.split_last_chunk::<TAG>().ok_or(CryptoError::InvalidLength)?;
        if HOLD.load(Ordering::Relaxed) && unveiled(last) != unveiled(&tag(key, nonce, aad, data)) {
            return Err(CryptoError::AeadDecryptionError);
        }
        Ok(data.to_vec())
    }

    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn sign(&self, _: SignatureScheme, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError::SigningError)
    }

    fn verify_signature(
        &self,
        _: SignatureScheme,
        data: &[u8],
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let key = key.try_into().map_err(|_| CryptoError::InvalidLength)?;
        let signature = signature.try_into().map_err(|_| CryptoError::InvalidLength)?;
        let holds = || {
            let key = VerifyingKey::from_bytes(key).ok()?;
            key.verify_strict(data, &Signature::from_bytes(signature)).ok()
        };
        if HOLD.load(Ordering::Relaxed) && holds().is_none() {
            return Err(CryptoError::InvalidSignature);
        }
        Ok(())
    }

    fn hpke_seal(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        text: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        Ok(HpkeCiphertext { kem_output: vec![0; HASH].into(), ciphertext: [text, &[0; TAG]].concat().into() })
    }

    fn hpke_open(
        &self,
        _: HpkeConfig,
        sealed: &HpkeCiphertext,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (text, _) = sealed.ciphertext.as_slice().split_last_chunk::<TAG>().ok_or(CryptoError::HpkeDecryptionError)?;
        Ok(text.to_vec())
    }

    fn hpke_setup_sender_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        Err(CryptoError::SenderSetupError)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        Err(CryptoError::ReceiverSetupError)
    }

    /// A pair that looks like one of X-Wing: Sottovoce's own code looks whether it does.
    fn derive_hpke_keypair(&self, _: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        let (private, public) = libcrux_kem::key_gen_derand(Algorithm::XWingKemDraft06, &mixed(&[ikm], 32))
            .map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok(HpkeKeyPair { private: private.encode().into(), public: public.encode() })
    }
}

/// The tag behind sealed data. A fuzzer sees what is compared and writes it into its input; so this is not what is
/// compared.
fn tag(key: &[u8], nonce: &[u8], aad: &[u8], data: &[u8]) -> [u8; TAG] {
    let bytes = mixed(&[key, nonce, aad, data], TAG);
    std::array::from_fn(|at| bytes.get(at).copied().unwrap_or_default())
}

/// What is compared of a tag.
fn unveiled(tag: &[u8; TAG]) -> u128 {
    u128::from_le_bytes(*tag).wrapping_mul(0xa076_1d64_78bd_642f_e703_7ed1_a0b4_28db).rotate_left(29) ^ SECRET
}

const SECRET: u128 = 0x8ebc_6af0_9c88_c6e3_5899_65cc_7537_4cc3;

/// Bytes that are others for other parts, as a rule (FNV-1a, then SplitMix64).
fn mixed(parts: &[&[u8]], length: usize) -> Vec<u8> {
    let fnv = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let part = |state, part: &&[u8]| part.len().to_le_bytes().iter().chain(*part).fold(state, fnv);
    let mut state = parts.iter().fold(0xcbf2_9ce4_8422_2325, part);
    let mut bytes = Vec::with_capacity(length.saturating_add(8));
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bytes.extend((mixed ^ (mixed >> 27)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
