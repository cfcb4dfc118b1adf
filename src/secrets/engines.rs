//! The CA of engines that listen on the network: it gives engines certificates that only serve, and persons such that only ask.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SerialNumber};
use x509_parser::pem::{Pem, parse_x509_pem};

use super::{
    SERVES_AND_ASKS, Secret, SecretsError, is_one_certificate, name, new_ca, random, server, sign,
};
use crate::checksum::sha256_hex;
use crate::files;
use crate::inventory::NamedFile;

/// Length of a serial number, in bytes: enough that no two are alike (RFC 5280 allows 20).
const SERIAL_BYTES: usize = 16;

/// How many digits of a CA's checksum name it in the record of whom it has given certificates.
const FINGERPRINT: usize = 16;

/// Letters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// What an encrypted key has in its head in OpenSSL's old frame (RFC 1421).
const ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

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

impl Issued {
    /// One that was issued before, from its two texts in PEM; `None` if they are none.
    #[must_use]
    pub fn of(cert: String, key: String) -> Option<Self> {
        let (_, pem) = parse_x509_pem(cert.as_bytes()).ok()?;
        let parsed = pem.parse_x509().ok()?;
        let serial = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}"));
        let (serial, ends) = (serial.collect(), parsed.validity().not_after.timestamp());
        Some(Self {
            cert,
            key: Secret::new(key),
            serial,
            ends,
        })
    }
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

    /// Reads one of a person's own, in two files. Its key may be in the frame that docker-machine and OpenSSL used (`RSA PRIVATE KEY`).
    pub fn read(cert: &NamedFile, key: &NamedFile) -> Result<Self, SecretsError> {
        Self::with_key(cert, Self::own_text(cert)?, key)
    }

    /// What is in one of the two files.
    pub fn own_text(file: &NamedFile) -> Result<String, SecretsError> {
        let read = files::read_small(&file.path).map_err(|error| wrong(file, error.to_string()))?;
        String::from_utf8(read).map_err(|_| wrong(file, "it is not in PEM".to_owned()))
    }

    /// The CA whose certificate has been read already.
    pub fn with_key(cert: &NamedFile, own: String, key: &NamedFile) -> Result<Self, SecretsError> {
        let own_key = Self::own_text(key)?;
        let own_key = framed(&own_key).map_err(|why| wrong(key, why))?;
        let pair = KeyPair::from_pem(&own_key).map_err(|error| wrong(key, error.to_string()))?;
        if !is_one_certificate(&own) {
            return Err(wrong(cert, "it is not one certificate in PEM".to_owned()));
        }
        match no_ca(&own, &pair) {
            Some(why) => Err(wrong(cert, why.to_owned())),
            None => Ok(Self {
                cert: own,
                key: own_key,
            }),
        }
    }

    /// Its key, in PEM.
    #[must_use]
    pub fn key(&self) -> Secret {
        Secret::new(self.key.clone())
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
        let (cert, key, _) = sign(
            self.hand(),
            params,
            &[ExtendedKeyUsagePurpose::ServerAuth],
            days,
        )?;
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
        let (cert, key, _) = sign(self.hand(), params, &SERVES_AND_ASKS, days)?;
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
        let (cert, key, ends) = sign(
            self.hand(),
            params,
            &[ExtendedKeyUsagePurpose::ClientAuth],
            days,
        )?;
        let serial = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Issued {
            cert,
            key,
            serial,
            ends,
        })
    }

    fn hand(&self) -> (&str, &str) {
        (&self.cert, &self.key)
    }
}

/// A file of a person's own CA that cannot be used.
fn wrong(file: &NamedFile, why: String) -> SecretsError {
    SecretsError::Own {
        file: file.clone(),
        why,
    }
}

/// How to get a key that can be read here.
const PLAIN_KEY: &str =
    "`openssl pkcs8 -topk8 -nocrypt` makes a PRIVATE KEY without a passphrase of it";

/// A key in PEM as it can be signed with here: what OpenSSL and docker-machine wrote for RSA is put into the frame that all kinds of keys
/// have by now (PKCS#8, RFC 5208).
fn framed(key: &str) -> Result<String, String> {
    // The reader of PEM takes no headers, and a key in OpenSSL's old frame says in one that it is encrypted.
    if key.lines().any(|line| line.trim() == ENCRYPTED) {
        return Err(format!("it is encrypted; {PLAIN_KEY}"));
    }
    // OpenSSL writes the name of the curve before a key of one.
    let blocks: Vec<Pem> = Pem::iter_from_buffer(key.as_bytes())
        .flatten()
        .filter(|block| block.label != "EC PARAMETERS")
        .collect();
    match &blocks[..] {
        [key] if key.label == "PRIVATE KEY" => Ok(pem_of(&key.contents)),
        [key] if key.label == "RSA PRIVATE KEY" => {
            let inner = [
                vec![0x02, 0x01, 0x00],
                RSA_ALGORITHM.to_vec(),
                der(0x04, &key.contents),
            ];
            Ok(pem_of(&der(0x30, &inner.concat())))
        }
        [key] => Err(format!("its kind is {}; {PLAIN_KEY}", key.label)),
        _ => Err("it is not one key in PEM".to_owned()),
    }
}

/// `rsaEncryption` without parameters, as DER (RFC 8017, appendix C).
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// A value of DER with its tag and its length.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let bytes = value.len().to_be_bytes();
    let mut all = vec![tag];
    match u8::try_from(value.len()) {
        Ok(short) if short < 0x80 => all.push(short),
        _ => {
            let length: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            all.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            all.extend(length);
        }
    }
    all.extend(value);
    all
}

fn pem_of(key: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(key);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(PEM_LINE)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "{KEY_BEGINS}\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

/// Why a certificate and a key are not those of a CA.
fn no_ca(cert: &str, key: &KeyPair) -> Option<&'static str> {
    let (_, pem) = parse_x509_pem(cert.as_bytes()).ok()?;
    let cert = pem.parse_x509().ok()?;
    if !cert.is_ca() {
        return Some("it is not the certificate of a CA");
    }
    let is_its = cert.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
    (!is_its).then_some("it is of another key than the one beside it")
}

/// What names a CA whose certificate this is.
#[must_use]
pub fn fingerprint(cert: &str) -> String {
    sha256_hex(cert.trim().as_bytes())[..FINGERPRINT].to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::x509;

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

    /// A CA as docker-machine made them, with RSA and in the frame of then (PKCS#1). Only OpenSSH makes such a key here, and it is no file of
    /// this repository: keys are not.
    fn as_docker_machine_made_it(folder: &Path) -> [String; 2] {
        let file = folder.join("rsa");
        let mut make = std::process::Command::new("ssh-keygen");
        make.args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"]);
        assert!(make.arg(&file).status().unwrap().success());
        let key = std::fs::read_to_string(&file).unwrap();
        assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        let pair = KeyPair::from_pem(&framed(&key).unwrap()).unwrap();
        let cert = super::super::of_ca("ada").self_signed(&pair).unwrap();
        [cert.pem(), key]
    }

    #[test]
    fn a_ca_that_docker_machine_has_left_signs() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["ca.pem", "ca-key.pem"].map(|name| folder.path().join(name));
        let [cert, key] = files.map(NamedFile::from);
        let theirs = as_docker_machine_made_it(folder.path());
        let [their_cert, their_key] = theirs.each_ref().map(String::as_str);
        let read = |texts: [&str; 2]| {
            std::fs::write(&cert.path, texts[0]).unwrap();
            std::fs::write(&key.path, texts[1]).unwrap();
            EnginesCa::read(&cert, &key)
        };
        let said = |key: &str| format!("{}", read([their_cert, key]).err().unwrap());
        let old = their_key.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1);
        assert!(said(&old).contains("it is encrypted; `openssl pkcs8"));
        let curve = "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n";
        let of_curve = format!("{curve}{}", their_key.replace("RSA PRIVATE", "EC PRIVATE"));
        assert!(said(&of_curve).contains("its kind is EC PRIVATE KEY; `openssl pkcs8"));
        let ca = read([their_cert, their_key]).unwrap();
        let (server, _) = ca.issue_server("engine of a", &[], &[], 10).unwrap();
        assert_eq!(x509::due(&server, their_cert, &[], &[], 0), None);
        let client = ca.issue_client("ada", 10).unwrap();
        let again = Issued::of(client.cert.clone(), client.key.expose().to_owned()).unwrap();
        assert_eq!((again.serial, again.ends), (client.serial, client.ends));

        let own = EnginesCa::mint("c").unwrap();
        let own_key = own.key();
        assert!(read([own.cert(), own_key.expose()]).is_ok());
        let said = |texts| read(texts).unwrap_err().to_string();
        assert!(said([their_cert, own_key.expose()]).contains("of another key"));
        assert!(said([&client.cert, client.key.expose()]).contains("not the certificate of a CA"));
        assert!(said([their_cert, "x"]).contains("not one key in PEM"));
        let old = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n";
        assert!(said([their_cert, old]).contains("openssl pkcs8 -topk8"));
        std::fs::remove_file(&key.path).unwrap();
        let said = EnginesCa::read(&cert, &key).unwrap_err().to_string();
        assert!(said.contains("ca-key.pem cannot be used"), "{said}");
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
