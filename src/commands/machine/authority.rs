//! The CA of all machines, and the person's certificate of it: files in docker-machine's own places (`certs/` beside the machines), or
//! where its flags say. Those that docker-machine has left there are taken as they are.

use std::path::{Path, PathBuf};

use clap::Args;
use time::OffsetDateTime;

use super::certificates::DAYS;
use crate::commands::cert::kept;
use crate::commands::private;
use crate::error::Error;
use crate::inventory::NamedFile;
use crate::secrets::EnginesCa;
use crate::secrets::engines::Issued;
use crate::ui::Ui;
use crate::x509::{self, Due};

/// Where the files are, if they are not in docker-machine's own places.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsFiles {
    /// The certificate of the CA of all machines [default: certs/ca.pem in that folder]
    #[arg(long, value_name = "FILE", env = "MACHINE_TLS_CA_CERT")]
    tls_ca_cert: Option<PathBuf>,
    /// Its key [default: certs/ca-key.pem]
    #[arg(long, value_name = "FILE", env = "MACHINE_TLS_CA_KEY")]
    tls_ca_key: Option<PathBuf>,
    /// Your certificate [default: certs/cert.pem]
    #[arg(long, value_name = "FILE", env = "MACHINE_TLS_CLIENT_CERT")]
    tls_client_cert: Option<PathBuf>,
    /// Its key [default: certs/key.pem]
    #[arg(long, value_name = "FILE", env = "MACHINE_TLS_CLIENT_KEY")]
    tls_client_key: Option<PathBuf>,
}

/// A certificate and its key, in two files.
#[derive(Debug)]
struct Pair {
    cert: PathBuf,
    key: PathBuf,
    /// Whether the person has named one of them, so that it is not ours to replace.
    is_named: bool,
}

impl Pair {
    fn of(cert: Option<&PathBuf>, key: Option<&PathBuf>, usual: [PathBuf; 2]) -> Self {
        let [usual_cert, usual_key] = usual;
        let absolute = |path: Option<&PathBuf>, usual| {
            path.map_or(usual, |path| {
                std::path::absolute(path).unwrap_or(path.clone())
            })
        };
        Self {
            is_named: cert.is_some() || key.is_some(),
            cert: absolute(cert, usual_cert),
            key: absolute(key, usual_key),
        }
    }

    /// Whether both are there. One without the other is neither a pair nor the lack of one.
    fn is_there(&self) -> Result<bool, Error> {
        match (self.cert.exists(), self.key.exists()) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (is_cert, _) => {
                let (one, other) = match is_cert {
                    true => (&self.cert, &self.key),
                    false => (&self.key, &self.cert),
                };
                let (one, other) = (one.display(), other.display());
                Err(Error::failed(format!("{one} is there, and {other} is not"))
                    .hint("put the other one beside it, or take both away: then new ones are made"))
            }
        }
    }

    /// The key first: a certificate without its key would look like a pair that somebody has torn apart.
    fn keep(&self, cert: &str, key: &str) -> Result<(), Error> {
        for (path, text) in [(&self.key, key), (&self.cert, cert)] {
            private::file(path, text.as_bytes()).map_err(|error| {
                Error::failed(format!("cannot keep {}", path.display())).because(error)
            })?;
        }
        Ok(())
    }
}

/// The CA of all machines, and the person's certificate.
#[derive(Debug)]
pub struct Authority {
    ca: Pair,
    person: Pair,
}

impl Authority {
    /// As the flags say, else in this folder.
    #[must_use]
    pub fn of(files: &TlsFiles, folder: &Path) -> Self {
        let usual = |names: [&str; 2]| names.map(|name| folder.join(name));
        let TlsFiles {
            tls_ca_cert,
            tls_ca_key,
            tls_client_cert,
            tls_client_key,
        } = files;
        Self {
            ca: Pair::of(
                tls_ca_cert.as_ref(),
                tls_ca_key.as_ref(),
                usual([kept::CA, "ca-key.pem"]),
            ),
            person: Pair::of(
                tls_client_cert.as_ref(),
                tls_client_key.as_ref(),
                usual([kept::CERT, kept::KEY]),
            ),
        }
    }

    /// The files of the CA: certificate and key.
    #[must_use]
    pub fn files(&self) -> [&Path; 2] {
        [&self.ca.cert, &self.ca.key]
    }

    /// The CA; one is made if there is none.
    pub fn ca(&self, ui: Ui) -> Result<EnginesCa, Error> {
        if self.ca.is_there()? {
            let [cert, key] = self.files().map(|path| NamedFile::from(path.to_owned()));
            return EnginesCa::read(&cert, &key)
                .map_err(|error| Error::failed("there is no CA to go by").because(error));
        }
        self.new_ca(ui)
    }

    /// A new one, in the place of one that may be there. Not of one that the person has named.
    pub fn replace(&self, ui: Ui) -> Result<EnginesCa, Error> {
        if self.ca.is_named && self.ca.is_there()? {
            return Err(Error::failed(format!(
                "{} is your own CA, which is not replaced here",
                self.ca.cert.display()
            ))
            .hint(
                "put another in its place, and `docker-machine regenerate-certs` every machine",
            ));
        }
        self.new_ca(ui)
    }

    fn new_ca(&self, ui: Ui) -> Result<EnginesCa, Error> {
        ui.print(&format!("Creating CA: {}", self.ca.cert.display()));
        let ca = EnginesCa::mint("docker-machine")
            .map_err(|error| Error::failed("no CA was made").because(error))?;
        self.ca.keep(ca.cert(), ca.key().expose())?;
        Ok(ca)
    }

    /// The person's certificate of this CA; one is made if there is none that could be used.
    pub fn person(&self, ca: &EnginesCa, ui: Ui) -> Result<Issued, Error> {
        if self.person.is_there()? {
            let text = |path: &Path| {
                std::fs::read_to_string(path).map_err(|error| {
                    Error::failed(format!("cannot read {}", path.display())).because(error)
                })
            };
            let (cert, key) = (text(&self.person.cert)?, text(&self.person.key)?);
            let now = OffsetDateTime::now_utc().unix_timestamp();
            let due = match x509::due(&cert, ca.cert(), &[], &[], now) {
                Some(Due::Ends(left)) if left > 0 => None,
                other => other,
            };
            match (due, Issued::of(cert, key)) {
                (None, Some(issued)) => return Ok(issued),
                _ if self.person.is_named => {
                    return Err(Error::failed(format!(
                        "{} is no certificate of the CA in {} that could be used",
                        self.person.cert.display(),
                        self.ca.cert.display()
                    ))
                    .hint("name another, or none: then one is made"));
                }
                _ => {}
            }
        }
        ui.print(&format!(
            "Creating client certificate: {}",
            self.person.cert.display()
        ));
        let issued = ca
            .issue_client(&kept::own_name(), i64::from(DAYS))
            .map_err(|error| Error::failed("no certificate was made").because(error))?;
        self.person.keep(&issued.cert, issued.key.expose())?;
        Ok(issued)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::ui::ColourChoice;

    fn ui() -> Ui {
        Ui::new(ColourChoice::Never)
    }

    #[test]
    fn one_ca_and_one_certificate_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        let authority = || Authority::of(&TlsFiles::default(), &certs);
        let ca = authority().ca(ui()).unwrap();
        let person = authority().person(&ca, ui()).unwrap();
        let again = authority().ca(ui()).unwrap();
        assert_eq!(again.cert(), ca.cert());
        let same = authority().person(&again, ui()).unwrap();
        assert_eq!((&same.cert, &same.serial), (&person.cert, &person.serial));
        let mode = |name: &str| certs.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(
            ["ca.pem", "ca-key.pem", "cert.pem", "key.pem"].map(mode),
            [0o600; 4]
        );
        // A new CA, and the certificate of the old one is of no use.
        let ca = authority().replace(ui()).unwrap();
        assert_ne!(ca.cert(), again.cert());
        assert_ne!(authority().person(&ca, ui()).unwrap().serial, person.serial);
        std::fs::remove_file(certs.join("ca-key.pem")).unwrap();
        let said = format!("{:?}", authority().ca(ui()).unwrap_err());
        assert!(said.contains("ca-key.pem is not"), "{said}");
    }

    #[test]
    fn what_a_person_has_named_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let files = TlsFiles {
            tls_ca_cert: path("mine.pem"),
            tls_ca_key: path("mine-key.pem"),
            tls_client_cert: path("me.pem"),
            tls_client_key: path("me-key.pem"),
        };
        let authority = Authority::of(&files, folder.path());
        let ca = authority.ca(ui()).unwrap();
        authority.person(&ca, ui()).unwrap();
        assert!(folder.path().join("me-key.pem").is_file());
        assert!(authority.replace(ui()).is_err());
        let other = EnginesCa::mint("other").unwrap();
        assert!(authority.person(&other, ui()).is_err());
    }
}
