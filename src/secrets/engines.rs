//! The CA of engines that listen on the network: it gives engines certificates that only serve, and persons such that only ask.

use std::fmt;
use std::net::IpAddr;

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use time::OffsetDateTime;

use super::{Secret, SecretsError, is_one_certificate, lifetime, name, new_ca, random, server};
use crate::checksum::sha256_hex;
use crate::x509;

/// Length of a serial number, in bytes: enough that no two are alike (RFC 5280 allows 20).
const SERIAL_BYTES: usize = 16;

/// How many digits of a CA's checksum name it in the record of whom it has given certificates.
const FINGERPRINT: usize = 16;

/// Between certificate and key.
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";

/// The CA, as it is kept on a few hosts (`/var/lib/docker-cluster/secrets/engines.pem`, root only).
#[derive(Clone)]
pub struct EnginesCa {
    cert: String,
    key: String,
}

/// A certificate for a person.
pub struct Issued {
    /// The certificate, in PEM.
    pub cert: String,
    /// Its key, in PEM.
    pub key: Secret,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub ends: i64,
}

impl fmt::Debug for EnginesCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[CA of the engines]")
    }
}

impl EnginesCa {
    /// Makes a new one.
    pub fn mint(cluster: &str) -> Result<Self, SecretsError> {
        let (cert, key) = new_ca(&format!("docker-cluster {cluster} engines CA"))?;
        Ok(Self { cert, key })
    }

    /// Reads it as it is kept. What is in it ends in files of other hosts: it may be nothing but what it is said to be.
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let strange = SecretsError::Strange("engines.pem");
        let Some(at) = text.find(KEY_BEGINS) else {
            return Err(strange);
        };
        let (cert, key) = text.split_at(at);
        KeyPair::from_pem(key)?;
        let is_one_key = key.matches("-----BEGIN").count() == 1;
        match is_one_key && is_one_certificate(cert) {
            true => Ok(Self {
                cert: cert.to_owned(),
                key: key.to_owned(),
            }),
            false => Err(strange),
        }
    }

    /// As it is kept.
    #[must_use]
    pub fn kept(&self) -> Secret {
        Secret::new(format!("{}{}", self.cert, self.key))
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn cert(&self) -> &str {
        &self.cert
    }

    /// What names it in the record of whom it has given certificates.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.cert)
    }

    /// Issues a certificate for an engine, which proves to nobody that it may ask. Returns certificate and key in PEM.
    pub fn issue_server(
        &self,
        common_name: &str,
        dns_names: &[String],
        addresses: &[IpAddr],
        days: i64,
    ) -> Result<(String, Secret), SecretsError> {
        let params = server(common_name, dns_names, addresses)?;
        let (cert, key, _) = self.sign(params, &[ExtendedKeyUsagePurpose::ServerAuth], days)?;
        Ok((cert, key))
    }

    /// Issues a certificate for a manager of standalone Swarm, which serves as an engine does and asks engines as a person does.
    pub fn issue_manager(
        &self,
        common_name: &str,
        dns_names: &[String],
        addresses: &[IpAddr],
        days: i64,
    ) -> Result<(String, Secret), SecretsError> {
        let params = server(common_name, dns_names, addresses)?;
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let (cert, key, _) = self.sign(params, &both, days)?;
        Ok((cert, key))
    }

    /// Issues a certificate for a person, who may ask all engines for anything with it.
    pub fn issue_client(&self, person: &str, days: i64) -> Result<Issued, SecretsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(person);
        let serial = random::<SERIAL_BYTES>()?;
        // The first bit would make it a negative number, and as many zeros as there are a shorter one.
        let serial: Vec<u8> = [vec![serial[0] & 0x3f | 0x40], serial[1..].to_vec()].concat();
        params.serial_number = Some(SerialNumber::from(serial.clone()));
        let (cert, key, ends) = self.sign(params, &[ExtendedKeyUsagePurpose::ClientAuth], days)?;
        let serial = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Issued {
            cert,
            key,
            serial,
            ends,
        })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usages: &[ExtendedKeyUsagePurpose],
        days: i64,
    ) -> Result<(String, Secret, i64), SecretsError> {
        let issuer = Issuer::from_ca_cert_pem(&self.cert, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        params.extended_key_usages = usages.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = lifetime(days);
        // What outlives its CA is not believed.
        let last = x509::expiry(&self.cert)
            .and_then(|ends| OffsetDateTime::from_unix_timestamp(ends).ok());
        params.not_after = last.map_or(params.not_after, |last| last.min(params.not_after));
        let ends = params.not_after.unix_timestamp();
        let cert = params.signed_by(&key, &issuer)?;
        Ok((cert.pem(), Secret::new(key.serialize_pem()), ends))
    }
}

/// What names a CA whose certificate this is.
#[must_use]
pub fn fingerprint(cert: &str) -> String {
    sha256_hex(cert.trim().as_bytes())[..FINGERPRINT].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(pem: &str) -> (bool, bool) {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let cert = pem.parse_x509().unwrap();
        let usage = cert.extended_key_usage().unwrap().unwrap().value;
        (usage.server_auth, usage.client_auth)
    }

    #[test]
    fn an_engine_cannot_ask_and_a_person_cannot_serve() {
        let ca = EnginesCa::mint("c").unwrap();
        let ca = EnginesCa::parse(ca.kept().expose()).unwrap();
        let (server, _) = ca
            .issue_server("engine of a", &["a.example".to_owned()], &[], 10)
            .unwrap();
        let client = ca.issue_client("ada", 10).unwrap();
        assert_eq!(usages(&server), (true, false));
        assert_eq!(usages(&client.cert), (false, true));
        let (manager, _) = ca.issue_manager("manager on a", &[], &[], 10).unwrap();
        assert_eq!(usages(&manager), (true, true));
        assert_eq!(
            x509::due(&server, ca.cert(), &["a.example".to_owned()], &[], 0),
            None
        );
        let other = EnginesCa::mint("c").unwrap();
        assert_eq!(
            x509::due(&server, other.cert(), &[], &[], 0),
            Some(x509::Due::OtherAuthority)
        );
        assert_ne!(ca.fingerprint(), other.fingerprint());
    }

    #[test]
    fn no_certificate_outlives_its_ca() {
        let ca = EnginesCa::mint("c").unwrap();
        let client = ca.issue_client("ada", 100_000).unwrap();
        assert_eq!(Some(client.ends), x509::expiry(ca.cert()));
        assert_eq!(x509::expiry(&client.cert), x509::expiry(ca.cert()));
    }

    #[test]
    fn what_is_no_ca_is_refused() {
        let kept = EnginesCa::mint("c").unwrap().kept();
        let kept = kept.expose();
        for wrong in [
            "",
            "x",
            &kept.replacen("-----BEGIN CERT", "more\n-----BEGIN CERT", 1),
            &format!("{kept}{kept}"),
        ] {
            assert!(EnginesCa::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn its_key_does_not_show() {
        let ca = EnginesCa::mint("c").unwrap();
        assert_eq!(
            format!("{ca:?} {:?}", ca.kept()),
            "[CA of the engines] [secret]"
        );
    }
}
