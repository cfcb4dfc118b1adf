//! Standalone Swarm (`swarm.mode: standalone`): what it needs, and what is only for it.

use serde_saphyr::Spanned;

use super::store::store_url;
use super::{Checker, RawInventory, resolve_path};
use crate::inventory::{
    API_PORT, DEFAULT_SWARM_IMAGE, FabricKind, HostSpec, NetworkSpec, SWARM_PORT, StandaloneSpec,
    Strategy, SwarmKind, SwarmTar,
};

impl Checker<'_> {
    /// Standalone Swarm, if it is wanted.
    pub(super) fn standalone(
        &mut self,
        raw: &RawInventory,
        hosts: &[HostSpec],
        network: Option<&NetworkSpec>,
    ) -> Option<StandaloneSpec> {
        let swarm = &raw.swarm;
        let wanted = swarm.mode.as_ref();
        let Some(mode) = wanted.filter(|mode| mode.value == SwarmKind::Standalone) else {
            self.only_standalone(raw);
            return None;
        };
        self.not_standalone(raw);
        let carries = |fabric| matches!(fabric, FabricKind::Overlay | FabricKind::Auto);
        if network.is_some_and(|network| !carries(network.fabric)) && swarm.discovery.is_none() {
            self.wrong(
                mode,
                "standalone Swarm finds its hosts in the store of a classic overlay, which this fabric does not have",
                "say `network: {fabric: overlay}`, or name a store of your own as `swarm: {discovery: consul://...}`",
            );
        }
        if let Some(host) = hosts.iter().find(|host| host.api.is_none()) {
            self.wrong(
                mode,
                format!(
                    "standalone Swarm asks engines over TLS, and that of `{}` does not listen",
                    host.name
                ),
                "add `engine: {api: tls}` for all hosts",
            );
        }
        let image = self.image(swarm.image.as_ref(), DEFAULT_SWARM_IMAGE);
        let tar = self.swarm_tar(raw);
        let help = "write it like `consul://10.0.0.5:8500`";
        let discovery = match &swarm.discovery {
            Some(url) => Some(self.parse(url, help, store_url)?),
            None => None,
        };
        Some(StandaloneSpec {
            image,
            tar,
            strategy: swarm
                .strategy
                .as_ref()
                .map_or(Strategy::Spread, |strategy| strategy.value),
            discovery,
            filters: swarm.filters.iter().map(|filter| filter.value).collect(),
            port: self.swarm_port(raw),
            agents: swarm.agents.as_ref().is_none_or(|agents| agents.value),
            options: self.swarm_flags(&swarm.options),
            join_options: self.swarm_flags(&swarm.join_options),
            experimental: swarm.experimental.as_ref().is_some_and(|wish| wish.value),
        })
    }

    fn swarm_port(&mut self, raw: &RawInventory) -> u16 {
        let Some(port) = &raw.swarm.port else {
            return SWARM_PORT;
        };
        if [0, API_PORT].contains(&port.value) {
            let message = format!("managers of Swarm cannot listen on port {}", port.value);
            self.wrong(port, message, "leave it out for 3376, or choose another");
        }
        port.value
    }

    /// Flags as they are typed after two dashes.
    fn swarm_flags(&mut self, flags: &[Spanned<String>]) -> Vec<String> {
        for flag in flags {
            if !flag.value.starts_with(|c: char| c.is_ascii_lowercase()) {
                let message = format!("{:?} is no flag of Swarm", flag.value);
                self.wrong(
                    flag,
                    message,
                    "write it without dashes, such as `heartbeat=5s`",
                );
            }
        }
        flags.iter().map(|flag| flag.value.clone()).collect()
    }

    fn swarm_tar(&mut self, raw: &RawInventory) -> Option<SwarmTar> {
        match (&raw.swarm.tar, &raw.swarm.sha256) {
            (None, None) => None,
            (Some(tar), Some(sha256)) => Some(SwarmTar {
                path: resolve_path(&tar.value, self.file),
                sha256: self.sha256(sha256)?,
            }),
            (Some(tar), None) => {
                let message = "an image from a tar needs the checksum of the tar";
                self.wrong(tar, message, "add `sha256:` beside it");
                None
            }
            (None, Some(sha256)) => {
                let help = "add `tar:` beside it, or remove it";
                self.wrong(sha256, "a checksum without `tar`", help);
                None
            }
        }
    }

    /// Keys that swarm mode alone has.
    fn not_standalone(&mut self, raw: &RawInventory) {
        let help = "remove it, or `mode: standalone`";
        let message = |key| format!("`{key}` is of swarm mode: standalone Swarm has no such thing");
        if let Some(pool) = &raw.swarm.address_pool {
            self.wrong(pool, message("address_pool"), help);
        }
        if let Some(port) = &raw.swarm.data_path_port {
            self.wrong(port, message("data_path_port"), help);
        }
        if let Some(tag) = raw.swarm.spread.first() {
            self.wrong(tag, message("spread"), help);
        }
    }

    /// Keys that standalone Swarm alone has.
    fn only_standalone(&mut self, raw: &RawInventory) {
        let swarm = &raw.swarm;
        let help = "add `mode: standalone` beside it, or remove it";
        let message = |key| format!("`{key}` is for standalone Swarm");
        for (key, text) in [
            ("image", &swarm.image),
            ("tar", &swarm.tar),
            ("sha256", &swarm.sha256),
            ("discovery", &swarm.discovery),
        ] {
            if let Some(text) = text {
                self.wrong(text, message(key), help);
            }
        }
        if let Some(strategy) = &swarm.strategy {
            self.wrong(strategy, message("strategy"), help);
        }
        if let Some(filter) = swarm.filters.first() {
            self.wrong(filter, message("filters"), help);
        }
        if let Some(port) = &swarm.port {
            self.wrong(port, message("port"), help);
        }
        for (key, flags) in [
            ("options", &swarm.options),
            ("join_options", &swarm.join_options),
        ] {
            if let Some(flag) = flags.first() {
                self.wrong(flag, message(key), help);
            }
        }
        for (key, wish) in [
            ("agents", &swarm.agents),
            ("experimental", &swarm.experimental),
        ] {
            if let Some(wish) = wish {
                self.wrong(wish, message(key), help);
            }
        }
    }
}
