//! What OpenMLS is given to work with, for the length of one call.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use hpke_rs::{
    Hpke, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use hpke_rs_libcrux::HpkeLibcrux;
use openmls_libcrux_crypto::CryptoProvider;
use openmls_memory_storage::MemoryStorage;
use openmls_traits::{
    OpenMlsProvider,
    crypto::OpenMlsCrypto,
    random::OpenMlsRand,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext, HpkeConfig,
        HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
    },
};
use tls_codec::SecretVLBytes;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    Error, Rng,
    profile::{CIPHERSUITE, kem_key},
};

/// Bytes that an X-Wing encapsulation draws: 32 for ML-KEM-768, 32 for X25519 (draft-connolly-cfrg-xwing-kem-06
/// section 5.4).
const ENCAPSULATION_SEED: usize = 64;

/// What a chat or an invitation keeps between calls besides its group: OpenMLS's storage, and libcrux.
pub(crate) struct Vault {
    storage: MemoryStorage,
    libcrux: CryptoProvider,
}

/// A [`Vault`] together with the generator of one call.
pub(crate) struct Provider<'a> {
    storage: &'a MemoryStorage,
    crypto: Crypto<'a>,
}

/// libcrux, but for what is drawn at random.
///
/// The generator is behind a lock since OpenMLS shares this among threads. It encrypts to several members in parallel;
/// with one other member nothing is drawn concurrently, which is what keeps the order of draws the same in each run.
pub(crate) struct Crypto<'a> {
    libcrux: &'a CryptoProvider,
    rng: Mutex<Rng<'a>>,
}

impl Vault {
    pub(crate) fn new() -> Result<Self, Error> {
        // Seeds a generator from the operating system that is never drawn from: `Crypto` passes nothing on that would.
        let libcrux = CryptoProvider::new().map_err(|_| Error::Local("starting the cryptographic library"))?;
        Ok(Self { storage: MemoryStorage::default(), libcrux })
    }

    #[cfg(test)]
    pub(crate) fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    pub(crate) fn provider<'a>(&'a self, rng: Rng<'a>) -> Provider<'a> {
        Provider { storage: &self.storage, crypto: Crypto { libcrux: &self.libcrux, rng: Mutex::new(rng) } }
    }
}

impl Zeroize for Vault {
    fn zeroize(&mut self) {
        // The keys of the map are labels and public references; the values are OpenMLS's state, its secrets included.
        let values = self.storage.values.get_mut().unwrap_or_else(PoisonError::into_inner);
        // As a slice: a vector would be empty afterwards, and nobody could see that its memory is.
        values.values_mut().for_each(|value| value.as_mut_slice().zeroize());
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = Crypto<'a>;
    type RandProvider = Crypto<'a>;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        self.storage
    }

    fn crypto(&self) -> &Crypto<'a> {
        &self.crypto
    }

    fn rand(&self) -> &Crypto<'a> {
        &self.crypto
    }
}

impl Crypto<'_> {
    fn draw(&self, bytes: &mut [u8]) {
        // A generator whose user panicked is as good as before.
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

impl OpenMlsRand for Crypto<'_> {
    type Error = Infallible;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Infallible> {
        let mut bytes = [0; N];
        self.draw(&mut bytes);
        Ok(bytes)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, Infallible> {
        let mut bytes = vec![0; len];
        self.draw(&mut bytes);
        Ok(bytes)
    }
}

impl OpenMlsCrypto for Crypto<'_> {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        if ciphersuite == CIPHERSUITE { Ok(()) } else { Err(CryptoError::UnsupportedCiphersuite) }
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![CIPHERSUITE]
    }

    /// Encapsulates to `pk_r` and seals, RFC 9180 section 6.1 in base mode, with the randomness of the call: libcrux's
    /// own would draw it from the operating system.
    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let HpkeConfig(HpkeKemType::XWingKemDraft6, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305) = config
        else {
            return Err(CryptoError::UnsupportedCiphersuite);
        };
        let public = kem_key(pk_r).ok_or(CryptoError::InvalidPublicKey)?;
        let mut seed = Zeroizing::new([0; ENCAPSULATION_SEED]);
        self.draw(seed.as_mut_slice());
        let (shared, encapsulated) =
            public.encapsulate_derand(seed.as_slice()).map_err(|_| CryptoError::HpkeEncryptionError)?;
        let shared = Zeroizing::new(shared.encode());
        // Seeds a generator from the operating system that the two calls below do not draw from.
        let hpke = Hpke::<HpkeLibcrux>::new(
            Mode::Base,
            KemAlgorithm::XWingDraft06,
            KdfAlgorithm::HkdfSha256,
            AeadAlgorithm::ChaCha20Poly1305,
        );
        let mut context = hpke.key_schedule(&shared, info, &[], &[]).map_err(|_| CryptoError::SenderSetupError)?;
        let ciphertext = context.seal(aad, ptxt).map_err(|_| CryptoError::HpkeEncryptionError)?;
        Ok(HpkeCiphertext { kem_output: encapsulated.encode().into(), ciphertext: ciphertext.into() })
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.libcrux.hpke_open(config, input, sk_r, info, aad)
    }

    /// Refused: it serves members who join by themselves, which nobody does here.
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

    /// Refused, as its counterpart is.
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

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        self.libcrux.derive_hpke_keypair(config, ikm)
    }

    /// Refused: signature keys are the users' registered ones.
    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    /// Refused, since signing is the key's own affair: its private half never comes here.
    fn sign(&self, _: SignatureScheme, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError::SigningError)
    }

    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.libcrux.verify_signature(alg, data, pk, signature)
    }

    fn hkdf_extract(&self, hash_type: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.libcrux.hkdf_extract(hash_type, salt, ikm)
    }

    fn hkdf_expand(
        &self,
        hash_type: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        self.libcrux.hkdf_expand(hash_type, prk, info, okm_len)
    }

    fn hmac(&self, hash_type: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.libcrux.hmac(hash_type, key, message)
    }

    fn hash(&self, hash_type: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.libcrux.hash(hash_type, data)
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.libcrux.aead_encrypt(alg, key, data, nonce, aad)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.libcrux.aead_decrypt(alg, key, ct_tag, nonce, aad)
    }
}

#[cfg(test)]
mod tests {
    use openmls_traits::crypto::OpenMlsCrypto as _;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

    use super::*;

    fn seal(seed: u64, public: &[u8]) -> HpkeCiphertext {
        let vault = Vault::new().unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        vault
            .provider(&mut rng)
            .crypto()
            .hpke_seal(CIPHERSUITE.hpke_config(), public, b"info", b"aad", b"text")
            .unwrap()
    }

    #[test]
    fn libcrux_opens_what_is_sealed_with_the_randomness_handed_in() {
        let libcrux = CryptoProvider::new().unwrap();
        let pair = libcrux.derive_hpke_keypair(CIPHERSUITE.hpke_config(), &[7; 32]).unwrap();
        let sealed = seal(1, &pair.public);
        let open =
            |info: &[u8], aad: &[u8]| libcrux.hpke_open(CIPHERSUITE.hpke_config(), &sealed, &pair.private, info, aad);
        assert_eq!(open(b"info", b"aad").unwrap(), b"text");
        assert!(open(b"other", b"aad").is_err());
        assert!(open(b"info", b"other").is_err());
        let theirs = libcrux.hpke_seal(CIPHERSUITE.hpke_config(), &pair.public, b"info", b"aad", b"text").unwrap();
        assert_eq!(theirs.kem_output.as_slice().len(), sealed.kem_output.as_slice().len());
        assert_eq!(theirs.ciphertext.as_slice().len(), sealed.ciphertext.as_slice().len());
    }

    #[test]
    fn the_same_randomness_seals_to_the_same_bytes() {
        let pair = CryptoProvider::new().unwrap().derive_hpke_keypair(CIPHERSUITE.hpke_config(), &[7; 32]).unwrap();
        assert_eq!(seal(1, &pair.public), seal(1, &pair.public));
        assert_ne!(seal(1, &pair.public).kem_output, seal(2, &pair.public).kem_output);
    }

    #[test]
    fn what_is_stored_is_zeroed() {
        let mut vault = Vault::new().unwrap();
        vault.storage.values.write().unwrap().insert(b"label".to_vec(), b"secret".to_vec());
        vault.zeroize();
        assert_eq!(vault.storage.values.read().unwrap()[b"label".as_slice()], [0; 6]);
    }

    #[test]
    fn everything_but_the_one_suite_is_refused() {
        let vault = Vault::new().unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let provider = vault.provider(&mut rng);
        let crypto = provider.crypto();
        assert_eq!(crypto.supported_ciphersuites(), [CIPHERSUITE]);
        assert_eq!(crypto.supports(CIPHERSUITE), Ok(()));
        for suite in [
            Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
            Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
        ] {
            assert_eq!(crypto.supports(suite), Err(CryptoError::UnsupportedCiphersuite));
            assert_eq!(
                crypto.hpke_seal(suite.hpke_config(), &[0; 1216], b"", b"", b""),
                Err(CryptoError::UnsupportedCiphersuite)
            );
        }
        let config = || CIPHERSUITE.hpke_config();
        assert!(crypto.hpke_setup_sender_and_export(config(), &[0; 1216], b"", b"", 32).is_err());
        assert!(crypto.hpke_setup_receiver_and_export(config(), &[0; 1120], &[0; 32], b"", b"", 32).is_err());
        assert!(crypto.signature_key_gen(SignatureScheme::ED25519).is_err());
        assert!(crypto.sign(SignatureScheme::ED25519, b"", &[0; 32]).is_err());
        for length in 0..1300 {
            assert!(crypto.hpke_seal(config(), &vec![0xff; length], b"", b"", b"").is_err(), "no key");
        }
    }
}
