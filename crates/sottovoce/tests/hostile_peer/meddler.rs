//! What OpenMLS encrypts and signs with, and what the peer does to it on its way there: for what OpenMLS itself would
//! never send.

use std::{collections::VecDeque, sync::Mutex};

use openmls_libcrux_crypto::{CryptoProvider, Provider};
use openmls_traits::{
    OpenMlsProvider,
    crypto::OpenMlsCrypto,
    random::OpenMlsRand,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair,
        KemOutput, SignatureScheme,
    },
};
use tls_codec::SecretVLBytes;

/// A change to what is about to be encrypted by AEAD. OpenMLS encrypts a message's content first, then the 12 bytes that
/// say who sends it: leaf, generation, guard (RFC 9420 section 6.3.2).
pub(crate) type Meddling = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

pub(crate) struct Meddler {
    libcrux: Provider,
    crypto: Crypto,
}

pub(crate) struct Crypto {
    libcrux: CryptoProvider,
    meddling: Mutex<Option<Meddling>>,
    /// What is drawn next, if it is not drawn at random.
    foreseen: Mutex<Option<u8>>,
    /// How long the next public keys are to be that it makes.
    lengths: Mutex<VecDeque<usize>>,
}

impl Meddler {
    pub(crate) fn new() -> Self {
        let crypto = Crypto {
            libcrux: CryptoProvider::new().unwrap(),
            meddling: Mutex::default(),
            foreseen: Mutex::default(),
            lengths: Mutex::default(),
        };
        Self { libcrux: Provider::new().unwrap(), crypto }
    }

    /// From now on it draws what it drew after the last such call.
    pub(crate) fn starts_over(&self) {
        *self.crypto.foreseen.lock().unwrap() = Some(0);
    }

    /// From now on all that is encrypted is changed so.
    pub(crate) fn meddles(&self, meddling: Meddling) {
        *self.crypto.meddling.lock().unwrap() = Some(meddling);
    }

    /// The next public keys that it makes to encrypt to are cut or filled up to these lengths.
    pub(crate) fn makes_keys_of(&self, lengths: impl IntoIterator<Item = usize>) {
        *self.crypto.lengths.lock().unwrap() = lengths.into_iter().collect();
    }
}

impl OpenMlsProvider for Meddler {
    type CryptoProvider = Crypto;
    type RandProvider = Crypto;
    type StorageProvider = <Provider as OpenMlsProvider>::StorageProvider;

    fn storage(&self) -> &Self::StorageProvider {
        self.libcrux.storage()
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Crypto {
        &self.crypto
    }
}

impl OpenMlsRand for Crypto {
    type Error = <CryptoProvider as OpenMlsRand>::Error;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], <CryptoProvider as OpenMlsRand>::Error> {
        match self.foresee() {
            Some(byte) => Ok([byte; N]),
            None => self.libcrux.random_array(),
        }
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, <CryptoProvider as OpenMlsRand>::Error> {
        match self.foresee() {
            Some(byte) => Ok(vec![byte; len]),
            None => self.libcrux.random_vec(len),
        }
    }
}

impl Crypto {
    fn foresee(&self) -> Option<u8> {
        let mut foreseen = self.foreseen.lock().unwrap();
        let byte = (*foreseen)?;
        *foreseen = Some(byte.wrapping_add(1));
        Some(byte)
    }
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, suite: Ciphersuite) -> Result<(), CryptoError> {
        self.libcrux.supports(suite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.libcrux.supported_ciphersuites()
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut data = data.to_vec();
        if let Some(meddling) = &*self.meddling.lock().unwrap() {
            meddling(&mut data);
        }
        self.libcrux.aead_encrypt(alg, key, &data, nonce, aad)
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

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        self.libcrux.hpke_seal(config, pk_r, info, aad, ptxt)
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

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        self.libcrux.hpke_setup_sender_and_export(config, pk_r, info, exporter_context, exporter_length)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        self.libcrux.hpke_setup_receiver_and_export(config, enc, sk_r, info, exporter_context, exporter_length)
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        let mut pair = self.libcrux.derive_hpke_keypair(config, ikm)?;
        if let Some(length) = self.lengths.lock().unwrap().pop_front() {
            pair.public.resize(length, 0);
        }
        Ok(pair)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        self.libcrux.signature_key_gen(alg)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.libcrux.sign(alg, data, key)
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
}
