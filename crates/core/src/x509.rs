//! Certificates in PEM.

/// When a certificate in PEM ends, in seconds since 1970.
#[must_use]
pub fn expiry(pem: &str) -> Option<i64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(pem.parse_x509().ok()?.validity().not_after.timestamp())
}
