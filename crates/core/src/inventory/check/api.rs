//! Engines that listen on the network (`engine.api: tls`): where, and for which names.

use std::net::IpAddr;

use serde_saphyr::{Location, Spanned};

use super::{Checker, RawHost, RawHostMap, RawInventory, flaw};
use crate::inventory::raw::EngineApi;
use crate::inventory::{ApiSpec, HostSpec, PrivateAddress};

/// What of the engine's options `engine.api: tls` decides.
const DECIDES: &[&str] = &[
    "hosts",
    "tls",
    "tlsverify",
    "tlscacert",
    "tlscert",
    "tlskey",
];

/// Longest DNS name (RFC 1035), in bytes.
const MAX_NAME: usize = 253;

/// What a certificate can name.
enum San {
    Name(String),
    Address(IpAddr),
}

impl Checker<'_> {
    /// Where the engine of a host listens on the network, if it is to.
    pub(super) fn api(
        &mut self,
        raw: &RawInventory,
        entry: &Spanned<RawHost>,
        spec: &HostSpec,
        at: Location,
    ) -> Option<ApiSpec> {
        let empty = RawHostMap::default();
        let own = match &entry.value {
            RawHost::Full(map) => &map.engine,
            RawHost::Address(_) | RawHost::Empty => &empty.engine,
        };
        let api = own.api.as_ref().map(|api| api.value).or(raw.engine.api);
        if api != Some(EngineApi::Tls) {
            self.only_with_tls(own.address.as_ref(), &own.tls_san);
            return None;
        }
        let named = own.address.as_ref().map(|text| self.listens_on(text));
        let listen = match named {
            Some(found) => Some(found?),
            None => raw
                .engine
                .address
                .as_ref()
                .and_then(|text| text.value.parse().ok()),
        };
        let found: Vec<San> = raw
            .engine
            .tls_san
            .iter()
            .chain(&own.tls_san)
            .filter_map(|text| san(&text.value).ok())
            .collect();
        for text in &own.tls_san {
            self.san(text);
        }
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        for one in found {
            match one {
                San::Name(name) => names.push(name),
                San::Address(ip) => addresses.push(ip),
            }
        }
        let host = self.reached_at(spec, listen, at)?;
        Some(ApiSpec {
            listen,
            host,
            names,
            addresses,
        })
    }

    /// Where clients reach it, which `env` must know without asking anybody.
    fn reached_at(
        &mut self,
        spec: &HostSpec,
        listen: Option<IpAddr>,
        at: Location,
    ) -> Option<String> {
        if let Some(ip) = listen.filter(|ip| !ip.is_unspecified()) {
            return Some(ip.to_string());
        }
        if let PrivateAddress::Ip(ip) = spec.private {
            return Some(ip.to_string());
        }
        // On all addresses, or the very one that was typed: a plan says if the host has it not.
        let address = &spec.ssh.address;
        let typed = address.parse::<IpAddr>().is_ok() && spec.private == PrivateAddress::Auto;
        if typed || listen.is_some() {
            return Some(address.clone());
        }
        let message = format!(
            "nobody can tell at which address the engine of `{}` is to listen without asking it",
            spec.name
        );
        let help =
            "write its address on the network as `private: IP`, or as `engine: {address: IP}`";
        let range = self.at(&at);
        self.flaws.push(flaw(range, message, help, "here"));
        None
    }

    /// What is said for all hosts.
    pub(super) fn api_of_all(&mut self, raw: &RawInventory, hosts: &[HostSpec]) {
        let engine = &raw.engine;
        if let Some(options) = &engine.options
            && hosts.iter().any(|host| host.api.is_some())
        {
            let theirs = options.value.0.iter();
            for (key, value) in theirs.filter(|(key, _)| DECIDES.contains(&key.as_str())) {
                let message =
                    format!("`{key}` is decided by `api: tls`, which docker-cluster writes itself");
                self.wrong(value, message, "remove one of the two");
            }
        }
        if engine.api != Some(EngineApi::Tls) && hosts.iter().all(|host| host.api.is_none()) {
            self.only_with_tls(engine.address.as_ref(), &engine.tls_san);
            self.only_with_tls_is("ca", engine.ca.as_ref());
            return;
        }
        for text in &engine.tls_san {
            self.san(text);
        }
        let Some(address) = &engine.address else {
            return;
        };
        let is_everywhere = |ip: IpAddr| ip.is_unspecified();
        if !address.value.parse().is_ok_and(is_everywhere) {
            self.wrong(
                address,
                format!("{:?} cannot be an address of all hosts", address.value),
                "write `0.0.0.0`, which is on all addresses, or `engine: {address: IP}` at each host",
            );
        }
    }

    fn listens_on(&mut self, text: &Spanned<String>) -> Option<IpAddr> {
        let help = "write an address of the host that clients reach, or `0.0.0.0` for all of them";
        self.parse(text, help, |text| match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || ip.is_multicast() => {
                Err(format!("{ip} cannot be reached from other hosts"))
            }
            Ok(ip) => Ok(ip),
            Err(_) => Err(format!("{text:?} is not an IP address")),
        })
    }

    fn san(&mut self, text: &Spanned<String>) {
        let help = "write a DNS name or an IP address, such as `docker.example.com`";
        self.parse(text, help, san);
    }

    /// What means nothing to an engine that does not listen.
    fn only_with_tls(&mut self, address: Option<&Spanned<String>>, names: &[Spanned<String>]) {
        let given = [("address", address), ("tls_san", names.first())];
        for (key, at) in given {
            self.only_with_tls_is(key, at);
        }
    }

    fn only_with_tls_is(&mut self, key: &str, at: Option<&Spanned<String>>) {
        if let Some(at) = at {
            let message = format!("`{key}` is for engines that listen on the network");
            self.wrong(at, message, "add `api: tls`, or remove it");
        }
    }
}

fn san(text: &str) -> Result<San, String> {
    if let Ok(ip) = text.parse() {
        return Ok(San::Address(ip));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let labels = text.strip_prefix("*.").unwrap_or(text);
    match text.len() <= MAX_NAME && labels.split('.').all(is_label) {
        true => Ok(San::Name(text.to_owned())),
        false => Err(format!("{text:?} is no name that a certificate can have")),
    }
}
