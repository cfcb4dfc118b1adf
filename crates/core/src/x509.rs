//! Certificates in PEM: when they end, and whether one is what it should be.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{Pem, parse_x509_pem};

/// Certificates that end within this time of each other end together, in seconds: the one is made a moment after the other.
const TOGETHER: i64 = 3600;

/// When a certificate in PEM ends, in seconds since 1970.
#[must_use]
pub fn expiry(pem: &str) -> Option<i64> {
    let pem = first(pem)?;
    Some(pem.parse_x509().ok()?.validity().not_after.timestamp())
}

/// Why a certificate must be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// There is none, or nothing that it could be of.
    Missing,
    /// What is there is no certificate.
    Unreadable,
    /// It is of another CA.
    OtherAuthority,
    /// It lacks a name or an address.
    OtherNames,
    /// Less than a third of its life is left: so many seconds.
    Ends(i64),
}

/// Whether a certificate must be issued for these names, by a CA (the first in its text), at this time.
#[must_use]
pub fn due(cert: &str, ca: &str, names: &[String], addresses: &[IpAddr], now: i64) -> Option<Due> {
    let (Some(cert), Some(ca)) = (first(cert), first(ca)) else {
        return Some(Due::Missing);
    };
    let (Ok(cert), Ok(ca)) = (cert.parse_x509(), ca.parse_x509()) else {
        return Some(Due::Unreadable);
    };
    if cert.verify_signature(Some(ca.public_key())).is_err() {
        return Some(Due::OtherAuthority);
    }
    if !has_names(&cert, names, addresses) {
        return Some(Due::OtherNames);
    }
    let ends = cert.validity().not_after.timestamp();
    let left = ends - now;
    // Of the life that it was given: one of another length is not renewed every day. One that ends with its CA cannot live longer.
    let third = (ends - cert.validity().not_before.timestamp()) / 3;
    let with_its_ca = ends + TOGETHER >= ca.validity().not_after.timestamp() && left > 0;
    (left < third && !with_its_ca).then_some(Due::Ends(left))
}

fn first(pem: &str) -> Option<Pem> {
    parse_x509_pem(pem.as_bytes()).ok().map(|(_, pem)| pem)
}

fn has_names(cert: &X509Certificate<'_>, wanted: &[String], addresses: &[IpAddr]) -> bool {
    let alternative = cert.subject_alternative_name().ok().flatten();
    let names = || {
        alternative
            .iter()
            .flat_map(|names| &names.value.general_names)
    };
    let has_name = |wanted: &String| {
        names().any(|name| matches!(name, GeneralName::DNSName(found) if found == wanted))
    };
    let octets = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let has_address = |ip: &IpAddr| {
        names().any(|name| matches!(name, GeneralName::IPAddress(found) if *found == octets(ip)))
    };
    wanted.iter().all(has_name) && addresses.iter().all(has_address)
}
