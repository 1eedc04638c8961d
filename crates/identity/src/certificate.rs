use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use protocol::ServerName;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::{self, CertificateDer, UnixTime, pem::PemObject as _};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use zeroize::Zeroizing;

use crate::host;

/// A certification authority for one host, which clients of that host trust (S2). `Debug` does not show the key.
#[derive(Clone)]
pub struct Authority {
    /// Its certificate, which clients need.
    pub certificate_pem: String,
    /// Its private key (PKCS #8), which nobody needs but [`issue`].
    pub key_pem: Zeroizing<String>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate can be made out to such a name.
    #[error(
        "{0} cannot stand on a certificate; give the host's DNS name, without a final dot, or its IP address in its usual form"
    )]
    BadHost(ServerName),
    /// The time is outside of what certificates can say.
    #[error("this machine's clock is wrong by many years; set it right and try again")]
    BadTime,
    /// The authority is damaged, or for another host.
    #[error("the authority cannot vouch for {host}: {reason}; make a new one, and give its certificate to the users")]
    NotForHost {
        /// Whom it should vouch for.
        host: ServerName,
        /// What is wrong.
        reason: String,
    },
    /// The certificate could not be put together.
    #[error("the certificate could not be made: {0}")]
    Failed(String),
}

/// How long an authority and what it issues are valid: ten years.
///
/// The server's certificate lasts as long as its authority, on purpose: the two keys lie side by side, so a shorter
/// life protects nobody, and a relay that runs for years without anybody looking must not stop one morning.
const VALID_FOR: Duration = Duration::from_secs(3653 * 24 * 60 * 60);

/// How long before `now` they begin to be valid, for clients whose clocks are slow.
const VALID_SINCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes an authority that can vouch for the TLS server `host` and no other: its certificate says so (name constraints
/// and extended key usage, RFC 5280 sections 4.2.1.10 and 4.2.1.12), so that whoever steals its key gains nothing
/// against other sites from users who put it among their system's roots. Valid for ten years from a day before `now`.
///
/// Keys are ECDSA on P-256, which every TLS library and every tool for certificates takes; many still refuse Ed25519
/// in X.509, RFC 8410 notwithstanding.
///
/// # Errors
/// [`CertificateError::BadHost`], [`CertificateError::BadTime`], [`CertificateError::Failed`].
pub fn make_authority(host: &ServerName, now: SystemTime) -> Result<Authority, CertificateError> {
    let mut params = authority_params(host);
    (params.not_before, params.not_after) = validity(now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(only(&subjects(host)?));

    let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    let certificate = params.self_signed(&*key)?;
    Ok(Authority { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
}

/// Has the authority certify a new key for the server `host`; `localhost` also gets 127.0.0.1 and ::1. Gives the
/// certificate chain and the private key (PKCS #8), both as PEM. Valid as long as an authority that is made now.
///
/// # Errors
/// [`CertificateError::NotForHost`] when a client that trusts the authority would not believe the certificate, which
/// is tried before it is given out; and those of [`make_authority`].
pub fn issue(
    authority: &Authority,
    host: &ServerName,
    now: SystemTime,
) -> Result<(String, Zeroizing<String>), CertificateError> {
    let unfit = |reason: String| CertificateError::NotForHost { host: host.clone(), reason };
    let subjects = subjects(host)?;
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity(now)?;
    params.distinguished_name = common_name("Sottovoce server");
    params.subject_alt_names = subjects.iter().map(alternative_name).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;

    let signer = KeyPair::from_pem(&authority.key_pem).map_err(|error| unfit(format!("its key: {error}")))?;
    let signer = Zeroizing::new(signer);
    let issuer = Issuer::new(authority_params(host), &*signer);
    let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    let certificate = params.signed_by(&*key, &issuer)?;
    try_out(authority, certificate.der(), &subjects, now).map_err(unfit)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What an authority and the certificates it issues have in common: the authority's name, which is made from the
/// host's, so that its certificate need not be taken apart to issue another.
fn authority_params(host: &ServerName) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("Sottovoce authority of {host}"));
    params
}

/// A name for people; RFC 5280 allows 64 characters (`ub-common-name`).
fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text.chars().take(64).collect::<String>());
    name
}

fn validity(now: SystemTime) -> Result<(OffsetDateTime, OffsetDateTime), CertificateError> {
    let from = now.checked_sub(VALID_SINCE).ok_or(CertificateError::BadTime)?;
    let to = from.checked_add(VALID_FOR).ok_or(CertificateError::BadTime)?;
    Ok((date(from)?, date(to)?))
}

fn date(time: SystemTime) -> Result<OffsetDateTime, CertificateError> {
    let seconds = since_epoch(time)?.as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(CertificateError::BadTime)
}

fn since_epoch(time: SystemTime) -> Result<Duration, CertificateError> {
    time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| CertificateError::BadTime)
}

/// All that the host is called.
fn subjects(host: &ServerName) -> Result<Vec<pki_types::ServerName<'static>>, CertificateError> {
    let mut subjects = vec![host::subject(host).ok_or_else(|| CertificateError::BadHost(host.clone()))?];
    if host.as_str() == "localhost" {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            subjects.push(pki_types::ServerName::IpAddress(address.into()));
        }
    }
    Ok(subjects)
}

fn alternative_name(subject: &pki_types::ServerName<'_>) -> Result<SanType, CertificateError> {
    match subject {
        pki_types::ServerName::IpAddress(address) => Ok(SanType::IpAddress((*address).into())),
        name => Ok(SanType::DnsName(name.to_str().into_owned().try_into()?)),
    }
}

/// Constraints that rule out every host but these. A kind of name that no permitted subtree mentions is free in RFC
/// 5280, and a DNS subtree takes in all that lies below it; hence the excluded ones.
fn only(subjects: &[pki_types::ServerName<'_>]) -> NameConstraints {
    let mut permitted = Vec::new();
    let mut excluded = Vec::new();
    for subject in subjects {
        match subject {
            pki_types::ServerName::IpAddress(address) => permitted.push(match IpAddr::from(*address) {
                IpAddr::V4(address) => GeneralSubtree::IpAddress(CidrSubnet::V4(address.octets(), [0xff; 4])),
                IpAddr::V6(address) => GeneralSubtree::IpAddress(CidrSubnet::V6(address.octets(), [0xff; 16])),
            }),
            name => {
                permitted.push(GeneralSubtree::DnsName(name.to_str().into_owned()));
                excluded.push(GeneralSubtree::DnsName(format!(".{}", name.to_str())));
            }
        }
    }
    if !permitted.iter().any(|subtree| matches!(subtree, GeneralSubtree::DnsName(_))) {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    if !permitted.iter().any(|subtree| matches!(subtree, GeneralSubtree::IpAddress(_))) {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}

/// Does what a client will do with a certificate.
fn try_out(
    authority: &Authority,
    certificate: &CertificateDer<'_>,
    subjects: &[pki_types::ServerName<'_>],
    now: SystemTime,
) -> Result<(), String> {
    let now = since_epoch(now).map_err(|error| error.to_string())?;
    let root = CertificateDer::from_pem_slice(authority.certificate_pem.as_bytes())
        .map_err(|error| format!("its certificate: {error}"))?;
    let root = anchor_from_trusted_cert(&root).map_err(|error| format!("its certificate: {error}"))?;
    let certificate = EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    certificate
        .verify_for_usage(
            algorithms,
            &[root],
            &[],
            UnixTime::since_unix_epoch(now),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| error.to_string())?;
    subjects
        .iter()
        .try_for_each(|subject| certificate.verify_is_valid_for_subject_name(subject))
        .map_err(|error| error.to_string())
}
