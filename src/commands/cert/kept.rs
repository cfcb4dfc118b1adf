//! The certificates that this person has here: a folder each, as Docker's client wants it (`DOCKER_CERT_PATH`).

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use crate::commands::private;
use crate::error::Error;
use crate::global::Global;
use crate::inventory::{ClusterName, HostSpec, Inventory};
use crate::secrets::engines::Issued;
use crate::x509;

/// The CA's certificate, in such a folder.
pub const CA: &str = "ca.pem";
/// The person's certificate.
pub const CERT: &str = "cert.pem";
/// Its key.
pub const KEY: &str = "key.pem";

/// Longest name in a certificate (RFC 5280's `ub-common-name`).
const MAX_NAME: usize = 64;

/// The name of a person, which is in a certificate and names a folder.
pub fn check_name(name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= MAX_NAME
        && name.chars().all(is_plain);
    if is_name {
        return Ok(());
    }
    Err(
        Error::usage(format!("{name:?} cannot be the name of a certificate"))
            .hint("letters, digits, `-`, `_`, `.` and `@`, such as `ada` or `ada@laptop`"),
    )
}

/// Who is meant where nobody is named: the login here.
pub fn own_name() -> String {
    let who = crate::whoami::whoami();
    let user = who.split('@').next().unwrap_or_default().to_owned();
    if check_name(&user).is_ok() {
        user
    } else {
        "me".to_owned()
    }
}

/// The folder of a person's certificate for a cluster.
pub fn folder(cluster: &ClusterName, person: &str) -> Result<PathBuf, Error> {
    Ok(of_cluster(cluster)?.join(person))
}

fn of_cluster(cluster: &ClusterName) -> Result<PathBuf, Error> {
    let base = etcetera::choose_base_strategy()
        .map_err(|error| Error::failed("this user has no home folder").because(error))?;
    let folder = base.data_dir().join("docker-cluster/certs");
    Ok(folder.join(cluster.as_str()))
}

/// The folder of the certificate that is used for a host: that of the login here, else the only one that there is.
pub fn folder_for(
    inventory: &Inventory,
    host: &HostSpec,
    global: &Global,
) -> Result<PathBuf, Error> {
    if let Some(machines) = &global.certs {
        return Ok(machines.join(host.name.as_str()));
    }
    let all = of_cluster(&inventory.cluster)?;
    let own = all.join(own_name());
    if own.is_dir() {
        return Ok(own);
    }
    let mut others = std::fs::read_dir(&all)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    match (others.next(), others.next()) {
        (Some(only), None) => Ok(only),
        _ => Ok(own),
    }
}

/// Whether Docker's client could use what is in a folder.
pub fn check(folder: &Path, host: &HostSpec, again: &str) -> Result<(), Error> {
    let missing = [CA, CERT, KEY]
        .into_iter()
        .find(|name| !folder.join(name).is_file());
    if missing.is_some() {
        return Err(Error::failed(format!(
            "there is no certificate here for the engine of {}, which asks for one",
            host.name
        ))
        .because(format!("{} is not there", folder.display()))
        .hint(format!("`{again}` makes one")));
    }
    let text = std::fs::read_to_string(folder.join(CERT)).unwrap_or_default();
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    match x509::expiry(&text) {
        Some(ends) if ends > now => Ok(()),
        Some(_) => Err(Error::failed(format!(
            "the certificate in {} has expired",
            folder.display()
        ))
        .hint(format!("`{again}` makes a new one"))),
        None => Err(
            Error::failed(format!("{} is no certificate", folder.join(CERT).display()))
                .hint(format!("`{again}` makes a new one")),
        ),
    }
}

/// Keeps a certificate, for this user alone. Each file is whole or not there (a temporary file is 0600).
pub fn keep(folder: &Path, ca: &str, issued: &Issued) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::failed(format!(
            "cannot keep the certificate in {}",
            folder.display()
        ))
        .because(error)
    };
    let files = [(KEY, issued.key.expose()), (CERT, &issued.cert), (CA, ca)];
    for (name, text) in files {
        private::file(&folder.join(name), text.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::secrets::EnginesCa;

    #[test]
    fn names_are_safe_in_a_path() {
        for name in ["ada", "ada@laptop", "ci-1.example_2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "-x", "a b", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone_and_is_checked() {
        let inventory = Inventory::parse(
            "engine: {api: tls}\nhosts: [{name: a, address: 10.0.0.1}]",
            "x",
        )
        .unwrap();
        let host = &inventory.hosts[0];
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("certs/c/ada");
        let ca = EnginesCa::mint("c").unwrap();
        assert!(format!("{:?}", check(&folder, host, "AGAIN").unwrap_err()).contains("AGAIN"));
        keep(&folder, ca.cert(), &ca.issue_client("ada", -1).unwrap()).unwrap();
        assert!(format!("{:?}", check(&folder, host, "AGAIN").unwrap_err()).contains("expired"));
        keep(&folder, ca.cert(), &ca.issue_client("ada", 1).unwrap()).unwrap();
        check(&folder, host, "AGAIN").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(
            [CA, CERT, KEY].map(|name| mode(&folder.join(name))),
            [0o600; 3]
        );
    }
}
