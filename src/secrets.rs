//! Secrets: born here or fetched from a host, held in memory, written only to root-only files on hosts.

pub mod engines;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::RwLock;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::inventory::{BgpSpec, NamedFile};
use crate::plan::{Authority, Content, Piece, Slot};
use crate::secret;
use crate::stores::consul::certificates::CA_DAYS;
use crate::x509;

pub use crate::secret::Secret;
pub use engines::EnginesCa;

/// Length of a gossip key, in bytes: Consul takes 16, 24 or 32.
const GOSSIP_BYTES: usize = 32;

/// Certificates begin this long before now, in minutes: clocks of hosts may be a little behind.
const BACKDATE_MINUTES: i64 = 5;

/// The store's secrets, as they are kept on its servers (`/var/lib/docker-cluster/secrets/store.json`, root only).
#[derive(Clone, Serialize, Deserialize)]
pub struct StoreBundle {
    ca_cert: String,
    ca_key: String,
    /// Certificate of the CA of before, while a rotation is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_ca: Option<String>,
    gossip: String,
    management_token: String,
    agent_token: String,
    engine_token: String,
}

/// A secret could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The bundle on the host is not what it should be.
    #[error("the store's secrets on the host cannot be read: {0}")]
    Bundle(#[from] serde_json::Error),
    /// Something in the bundle is not of the kind that it should be. Whoever wrote it wants it to mean more.
    #[error(
        "the store's secrets on the host cannot be used: `{0}` is not what docker-cluster writes there"
    )]
    Strange(&'static str),
    /// A CA of the person's own, here.
    #[error("the CA of the engines in {file} cannot be used: {why}")]
    Own {
        /// The file that is wrong.
        file: NamedFile,
        /// Why.
        why: String,
    },
    /// No randomness.
    #[error("this machine gives no random numbers")]
    Random,
    /// A slot was used before it was filled: a defect of the plan.
    #[error("the slot {0:?} is not filled yet")]
    Empty(Slot),
}

impl StoreBundle {
    /// Makes new secrets: a CA, a gossip key of 32 bytes, three tokens.
    pub fn mint(cluster: &str) -> Result<Self, SecretsError> {
        let (ca_cert, ca_key) = new_ca(&store_ca(cluster))?;
        Ok(Self {
            ca_cert,
            ca_key,
            previous_ca: None,
            gossip: base64::engine::general_purpose::STANDARD.encode(random::<GOSSIP_BYTES>()?),
            management_token: uuid::Uuid::new_v4().to_string(),
            agent_token: uuid::Uuid::new_v4().to_string(),
            engine_token: uuid::Uuid::new_v4().to_string(),
        })
    }

    /// These secrets with a new CA beside the old one; the same ones if they have two already.
    pub fn rotated(self, cluster: &str) -> Result<Self, SecretsError> {
        if self.previous_ca.is_some() {
            return Ok(self);
        }
        let (ca_cert, ca_key) = new_ca(&store_ca(cluster))?;
        Ok(Self {
            previous_ca: Some(self.ca_cert),
            ca_cert,
            ca_key,
            ..self
        })
    }

    /// These secrets without the CA of before.
    #[must_use]
    pub fn retired(self) -> Self {
        Self {
            previous_ca: None,
            ..self
        }
    }

    /// The certificates that are trusted, in PEM: the present CA first.
    fn trusted(&self) -> String {
        format!(
            "{}{}",
            self.ca_cert,
            self.previous_ca.as_deref().unwrap_or_default()
        )
    }

    /// Reads them as they are kept. What is in them ends in files of other hosts: it may be nothing but what it is said to be.
    pub fn parse(json: &str) -> Result<Self, SecretsError> {
        let bundle: Self = serde_json::from_str(json)?;
        let tokens = [
            (&bundle.management_token, "management_token"),
            (&bundle.agent_token, "agent_token"),
            (&bundle.engine_token, "engine_token"),
        ];
        for (token, name) in tokens {
            if !uuid::Uuid::try_parse(token).is_ok_and(|uuid| uuid.to_string() == *token) {
                return Err(SecretsError::Strange(name));
            }
        }
        let gossip = base64::engine::general_purpose::STANDARD.decode(&bundle.gossip);
        if !gossip.is_ok_and(|key| key.len() == GOSSIP_BYTES) {
            return Err(SecretsError::Strange("gossip"));
        }
        let certificates = [
            (Some(&bundle.ca_cert), "ca_cert"),
            (bundle.previous_ca.as_ref(), "previous_ca"),
        ];
        for (text, name) in certificates {
            if text.is_some_and(|text| !is_one_certificate(text)) {
                return Err(SecretsError::Strange(name));
            }
        }
        Ok(bundle)
    }

    /// Issues a certificate for an agent; it serves and it asks, so it is good for both. Returns certificate and key in PEM.
    pub fn issue(
        &self,
        common_name: &str,
        dns_names: &[String],
        addresses: &[IpAddr],
        days: i64,
    ) -> Result<(String, Secret), SecretsError> {
        let params = server(common_name, dns_names, addresses)?;
        let (cert, key, _) = sign(
            (&self.ca_cert, &self.ca_key),
            params,
            &SERVES_AND_ASKS,
            days,
        )?;
        Ok((cert, key))
    }
}

/// What a certificate is good for whose owner serves and asks.
const SERVES_AND_ASKS: [ExtendedKeyUsagePurpose; 2] = [
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];

/// Signs a certificate for a new key with a CA (certificate and key in PEM). Returns both in PEM, and when it ends.
fn sign(
    (ca_cert, ca_key): (&str, &str),
    mut params: CertificateParams,
    usages: &[ExtendedKeyUsagePurpose],
    days: i64,
) -> Result<(String, Secret, i64), SecretsError> {
    let issuer = Issuer::from_ca_cert_pem(ca_cert, KeyPair::from_pem(ca_key)?)?;
    let key = KeyPair::generate()?;
    params.extended_key_usages = usages.to_vec();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = lifetime(days);
    // What outlives its CA is not believed.
    let last =
        x509::expiry(ca_cert).and_then(|ends| OffsetDateTime::from_unix_timestamp(ends).ok());
    params.not_after = last.map_or(params.not_after, |last| last.min(params.not_after));
    let ends = params.not_after.unix_timestamp();
    let cert = params.signed_by(&key, &issuer)?;
    Ok((cert.pem(), Secret::new(key.serialize_pem()), ends))
}

/// What is in the certificate of one who serves.
fn server(
    common_name: &str,
    dns_names: &[String],
    addresses: &[IpAddr],
) -> Result<CertificateParams, SecretsError> {
    let mut params = CertificateParams::new(dns_names.to_vec())?;
    params.distinguished_name = name(common_name);
    params
        .subject_alt_names
        .extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
    Ok(params)
}

/// Whether a text is one certificate in PEM, and nothing else.
fn is_one_certificate(text: &str) -> bool {
    let blocks: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).collect();
    let [Ok(block)] = &blocks[..] else {
        return false;
    };
    let is_bare = text.trim_start().starts_with("-----BEGIN CERTIFICATE-----")
        && text.trim_end().ends_with("-----END CERTIFICATE-----");
    is_bare && block.parse_x509().is_ok()
}

/// What the store's CA is called.
fn store_ca(cluster: &str) -> String {
    format!("docker-cluster {cluster} store CA")
}

/// A CA: certificate and key, in PEM.
fn new_ca(called: &str) -> Result<(String, String), SecretsError> {
    let key = KeyPair::generate()?;
    let cert = of_ca(called).self_signed(&key)?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// What the certificate of a CA says of it.
fn of_ca(called: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    // With the second of its birth: two of one name side by side would be told apart by trial only.
    let born = OffsetDateTime::now_utc().unix_timestamp();
    params.distinguished_name = name(&format!("{called} {born}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = lifetime(CA_DAYS);
    params
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Both dates: the default of rcgen ends in the year 4096, which some TLS stacks refuse.
fn lifetime(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (
        now - Duration::minutes(BACKDATE_MINUTES),
        now + Duration::days(days),
    )
}

fn random<const N: usize>() -> Result<[u8; N], SecretsError> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| SecretsError::Random)?;
    Ok(bytes)
}

/// The slots of a run, filled as the run goes on.
#[derive(Debug, Default)]
pub struct Slots {
    filled: RwLock<BTreeMap<Slot, Secret>>,
    bundle: RwLock<Option<StoreBundle>>,
    engines: RwLock<Option<EnginesCa>>,
}

impl fmt::Debug for StoreBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[store secrets]")
    }
}

impl Slots {
    /// Those that are there before a run begins: what the inventory names of this machine's files.
    #[must_use]
    pub fn of_inventory(bgp: &BgpSpec) -> Self {
        let slots = Self::default();
        for (slot, file) in bgp.passwords() {
            if let Ok(password) = &file.content {
                slots.fill(Slot::BgpPassword(slot), password.clone());
            }
        }
        slots
    }

    /// Fills a slot.
    pub fn fill(&self, slot: Slot, secret: Secret) {
        self.filled
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(slot, secret);
    }

    /// Fills all slots of the store.
    pub fn fill_store(&self, bundle: StoreBundle) -> Result<(), SecretsError> {
        let json = serde_json::to_string_pretty(&bundle)? + "\n";
        let pairs = [
            (Slot::StoreBundle, json),
            (Slot::StoreCa, bundle.trusted()),
            (Slot::Gossip, bundle.gossip.clone()),
            (Slot::ManagementToken, bundle.management_token.clone()),
            (Slot::AgentToken, bundle.agent_token.clone()),
            (Slot::EngineToken, bundle.engine_token.clone()),
        ];
        for (slot, text) in pairs {
            self.fill(slot, Secret::new(text));
        }
        *self
            .bundle
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(bundle);
        Ok(())
    }

    /// Fills the slots of the engines' CA.
    pub fn fill_engines(&self, ca: EnginesCa) {
        self.fill(Slot::EnginesBundle, ca.kept());
        self.fill(Slot::EnginesCa, Secret::new(ca.cert().to_owned()));
        *self
            .engines
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(ca);
    }

    /// The engines' CA.
    pub fn engines(&self) -> Result<EnginesCa, SecretsError> {
        self.engines
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
            .ok_or(SecretsError::Empty(Slot::EnginesBundle))
    }

    /// The secret in a slot.
    pub fn get(&self, slot: Slot) -> Result<Secret, SecretsError> {
        self.filled
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&slot)
            .cloned()
            .ok_or(SecretsError::Empty(slot))
    }

    /// The store's CA.
    pub fn bundle(&self) -> Result<StoreBundle, SecretsError> {
        self.bundle
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
            .ok_or(SecretsError::Empty(Slot::StoreBundle))
    }

    /// Content with its slots filled, and the checksum of the secrets that they are part of (empty if there were no slots).
    pub fn resolve(&self, content: &Content) -> Result<(Vec<u8>, String), SecretsError> {
        let mut bytes = Vec::new();
        let mut wholes = BTreeMap::new();
        for piece in &content.0 {
            match piece {
                Piece::Text(text) => bytes.extend(text.as_bytes()),
                Piece::Slot(slot) => {
                    bytes.extend(self.get(*slot)?.expose().as_bytes());
                    let whole = match slot {
                        Slot::EnginesBundle | Slot::EnginesCa => Authority::Engines.slot(),
                        Slot::BgpPassword(_) => *slot,
                        _ => Authority::Store.slot(),
                    };
                    if let Ok(secret) = self.get(whole) {
                        wholes.insert(whole, secret);
                    }
                }
            }
        }
        Ok((bytes, secret::checksum(wholes.values())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let bundle = StoreBundle::mint("c").unwrap();
        let slots = Slots::default();
        let token = bundle.engine_token.clone();
        slots.fill_store(bundle).unwrap();
        let shown = format!("{slots:?}");
        assert!(
            !shown.contains(&token) && shown.contains("[secret]"),
            "{shown}"
        );
    }

    #[test]
    fn secrets_of_another_kind_are_refused() {
        let bundle =
            serde_json::to_value(StoreBundle::mint("c").unwrap().rotated("c").unwrap()).unwrap();
        assert!(StoreBundle::parse(&bundle.to_string()).is_ok());
        let ca = bundle["ca_cert"].as_str().unwrap();
        for (key, value) in [
            (
                "gossip",
                "KEY\", \"enable_local_script_checks\": true".to_owned(),
            ),
            ("gossip", "c2hvcnQ=".to_owned()),
            ("agent_token", "\"}}, \"checks\": []".to_owned()),
            (
                "engine_token",
                "{00000000-0000-0000-0000-000000000000}".to_owned(),
            ),
            ("ca_cert", format!("{ca}{ca}")),
            ("ca_cert", format!("{ca}more")),
            ("ca_cert", String::new()),
            (
                "previous_ca",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            ),
        ] {
            let mut strange = bundle.clone();
            strange[key] = serde_json::json!(value);
            let refused = StoreBundle::parse(&strange.to_string());
            assert!(
                matches!(&refused, Err(SecretsError::Strange(name)) if *name == key),
                "{key} {value}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_rotation_trusts_both_until_the_old_one_retires() {
        let old = StoreBundle::mint("c").unwrap();
        let both = old.clone().rotated("c").unwrap();
        assert_eq!(both.trusted(), format!("{}{}", both.ca_cert, old.ca_cert));
        assert_ne!(both.ca_key, old.ca_key);
        assert_eq!(both.engine_token, old.engine_token);
        let again = both.clone().rotated("c").unwrap();
        assert_eq!(
            again.ca_cert, both.ca_cert,
            "one that is under way is gone on with"
        );
        assert_eq!(both.clone().retired().trusted(), both.ca_cert);
    }

    #[test]
    fn a_certificate_is_of_the_ca_and_names_its_host() {
        let bundle = StoreBundle::mint("c").unwrap();
        let bundle = StoreBundle::parse(&serde_json::to_string(&bundle).unwrap()).unwrap();
        let (cert, _) = bundle
            .issue(
                "a",
                &["server.dc1.consul".to_owned()],
                &["10.0.0.1".parse().unwrap()],
                30,
            )
            .unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(cert.as_bytes()).unwrap();
        let (_, ca) = x509_parser::pem::parse_x509_pem(bundle.ca_cert.as_bytes()).unwrap();
        let (cert, ca) = (pem.parse_x509().unwrap(), ca.parse_x509().unwrap());
        assert_eq!(cert.issuer(), ca.subject());
        let names = cert.subject_alternative_name().unwrap().unwrap();
        assert!(format!("{:?}", names.value).contains("server.dc1.consul"));
        assert!(cert.validity().not_before.to_datetime() < OffsetDateTime::now_utc());
    }
}
