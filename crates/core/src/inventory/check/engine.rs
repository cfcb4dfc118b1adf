//! `engine`: its version and its options.

use ipnet::IpNet;
use serde_saphyr::Spanned;

use super::{Checker, OWNED_OPTIONS, overlap};
use crate::daemon_json::{self, OptionKind};
use crate::inventory::raw::{BridgeKind, FabricKind, InstallPolicy, RawInventory, RawValue};
use crate::inventory::{EngineSpec, NetworkSpec, OwnCa};

impl Checker<'_> {
    pub(super) fn engine(
        &mut self,
        raw: &RawInventory,
        network: Option<&NetworkSpec>,
    ) -> Option<EngineSpec> {
        let version = match &raw.engine.version {
            Some(text) => Some(self.parse(
                text,
                "write it like `>=20.10, <23`",
                semver::VersionReq::parse,
            )?),
            None => None,
        };
        let options = raw
            .engine
            .options
            .as_ref()
            .map(|options| options.value.clone())
            .unwrap_or_default();
        let json = options.to_json();
        let moves_docker0 = network.is_some_and(|network| network.bridge == BridgeKind::Docker0);
        for (key, value) in &options.0 {
            if moves_docker0 && daemon_json::DOCKER0_KEYS.contains(&key.as_str()) {
                self.wrong(
                    value,
                    format!("`{key}` decides about docker0, and `network: {{bridge: docker0}}` does so too"),
                    "keep one of the two; each host's part of the subnet is its `subnet:`, and the MTU `network.mtu`",
                );
            }
            // Without a network of docker-cluster's own, the store of one is the person's own affair.
            let by_hand = network.is_some_and(|network| network.fabric == FabricKind::Nat);
            if OWNED_OPTIONS.contains(&key.as_str()) && !by_hand {
                let message = format!("`{key}` is written by docker-cluster itself");
                let help = "remove it; `store:` and `private:` decide its value";
                self.wrong(value, message, help);
                continue;
            }
            self.engine_option(key, value);
            let swarm = network.is_some_and(|network| network.fabric == FabricKind::Swarm);
            if swarm
                && key == "live-restore"
                && matches!(value.value, RawValue::Plain(serde_json::Value::Bool(true)))
            {
                self.wrong(
                    value,
                    "`live-restore` excludes swarm mode",
                    "remove it, or use another `network.fabric`",
                );
            }
            let Some(network) = network else { continue };
            for theirs in option_subnets(key, &json)
                .iter()
                .filter(|theirs| overlap(theirs, &network.subnet))
            {
                let message = format!(
                    "`{key}` has {theirs}, which overlaps with the network's subnet {}",
                    network.subnet
                );
                self.wrong(
                    value,
                    message,
                    "choose another `network.subnet`, or another range here",
                );
            }
        }
        let install = raw.engine.install.unwrap_or(InstallPolicy::Auto);
        Some(EngineSpec {
            version,
            install,
            options: json,
            ca: self.own_ca(raw),
        })
    }

    /// A CA of the person's own, for engines that listen.
    fn own_ca(&mut self, raw: &RawInventory) -> Option<OwnCa> {
        match (&raw.engine.ca, &raw.engine.ca_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(OwnCa {
                cert: self.file(cert),
                key: self.file(key),
                text: String::new(),
                flaw: None,
            }),
            (Some(cert), None) => {
                let message = "a CA of your own issues certificates with its key";
                self.wrong(cert, message, "add `ca_key:` beside it");
                None
            }
            (None, Some(key)) => {
                self.wrong(key, "the key of no CA", "add `ca:` beside it, or remove it");
                None
            }
        }
    }

    /// An option that the engine would refuse, which is found here and not when an engine has been stopped for it.
    fn engine_option(&mut self, key: &str, value: &Spanned<RawValue>) {
        if let Some(right) = daemon_json::key_of_flag(key) {
            self.wrong(
                value,
                format!(
                    "`{key}` is a flag of the engine; in its file the option is called `{right}`"
                ),
                format!("write `{right}`"),
            );
            return;
        }
        let Some(kind) = daemon_json::kind(key) else {
            return;
        };
        if let (OptionKind::Texts, RawValue::Map(below)) = (kind, &value.value) {
            for (name, below) in below
                .0
                .iter()
                .filter(|(_, below)| !OptionKind::Text.fits(&below.value.to_json()))
            {
                let found = below.value.to_json();
                let message =
                    format!("`{key}.{name}` is {found}, and the engine takes text only here");
                self.wrong(
                    below,
                    message,
                    format!(
                        "write it in quotes: `\"{}\"`",
                        found.to_string().trim_matches('"')
                    ),
                );
            }
            return;
        }
        let found = value.value.to_json();
        if !kind.fits(&found) {
            self.wrong(
                value,
                format!("`{key}` is {found}, and the engine wants {kind} here"),
                kind.example(key),
            );
        }
    }
}

/// Ranges that a daemon option gives to other networks of the engine.
fn option_subnets(key: &str, options: &serde_json::Map<String, serde_json::Value>) -> Vec<IpNet> {
    let net =
        |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<IpNet>().ok());
    match key {
        "bip" | "fixed-cidr" => options.get(key).and_then(net).into_iter().collect(),
        "default-address-pools" => {
            let pools = options
                .get(key)
                .and_then(serde_json::Value::as_array)
                .into_iter()
                .flatten();
            pools.filter_map(|pool| net(pool.get("base")?)).collect()
        }
        _ => Vec::new(),
    }
}
