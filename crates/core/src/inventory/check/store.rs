//! `store`: who runs it, or where it is.

use serde_saphyr::Spanned;

use super::Checker;
use crate::inventory::raw::{RawInventory, RawSource, StoreKind};
use crate::inventory::{ExternalStore, HostName, ProgramSource, StoreSpec, resolve_path};

impl Checker<'_> {
    pub(super) fn store(&mut self, raw: &RawInventory, names: &[HostName]) -> Option<StoreSpec> {
        let servers = self.members(raw.store.servers.as_ref(), "servers", names)?;
        let source = match &raw.store.source {
            None => ProgramSource::Package,
            Some(source) => self.source(source)?,
        };
        let external = match &raw.store.url {
            Some(url) => Some(ExternalStore {
                url: self.parse(
                    url,
                    "write it as the engine takes it, such as `consul://10.0.0.5:8500/prefix`",
                    store_url,
                )?,
                options: raw.store.options.clone(),
            }),
            None => None,
        };
        if let Some(servers) = raw
            .store
            .servers
            .as_ref()
            .filter(|_| raw.store.url.is_some())
        {
            self.wrong(
                servers,
                "`servers` are of a store that docker-cluster runs, and `url` is one that it does not",
                "keep one of the two",
            );
        }
        if let Some(at) = raw
            .store
            .source
            .as_ref()
            .filter(|_| raw.store.url.is_some())
            .and_then(|source| {
                [&source.path, &source.url, &source.sha256, &source.version]
                    .into_iter()
                    .find_map(Option::as_ref)
            })
        {
            self.wrong(
                at,
                "`source` is the program of a store that docker-cluster runs, and `url` is a store that it does not",
                "keep one of the two",
            );
        }
        Some(StoreSpec {
            kind: raw.store.kind.unwrap_or(StoreKind::Consul),
            servers,
            source,
            external,
        })
    }

    pub(super) fn image(&mut self, image: Option<&Spanned<String>>, default: &str) -> String {
        let Some(image) = image else {
            return default.to_owned();
        };
        let text = &image.value;
        if text.is_empty() || text.starts_with('-') || text.contains(char::is_whitespace) {
            let message = format!("{text:?} is not the name of an image");
            self.wrong(image, message, format!("write it like `{default}`"));
        }
        text.clone()
    }

    pub(super) fn sha256(&mut self, text: &Spanned<String>) -> Option<String> {
        let help = "write the 64 hexadecimal digits that sha256sum prints";
        self.parse(text, help, |text| {
            let text = text.to_ascii_lowercase();
            match text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
                true => Ok(text),
                false => Err("this is not a SHA-256"),
            }
        })
    }

    fn source(&mut self, source: &RawSource) -> Option<ProgramSource> {
        let (at, is_path) = match (&source.path, &source.url) {
            (Some(path), None) => (path, true),
            (None, Some(url)) => (url, false),
            (Some(_), Some(url)) => {
                self.wrong(
                    url,
                    "`path` and `url` exclude each other",
                    "keep one of the two",
                );
                return None;
            }
            (None, None) => match &source.sha256 {
                Some(sha) => {
                    self.wrong(
                        sha,
                        "a checksum without `path` or `url`",
                        "add one of the two, or remove `source`",
                    );
                    return None;
                }
                None => return Some(ProgramSource::Package),
            },
        };
        let Some(sha256) = &source.sha256 else {
            self.wrong(
                at,
                "a program from elsewhere needs its checksum",
                "add `sha256:` beside it",
            );
            return None;
        };
        let sha256 = self.sha256(sha256)?;
        let Some(version) = &source.version else {
            self.wrong(
                at,
                "a program from elsewhere needs its version",
                "add `version:` beside it, such as `1.20.1`",
            );
            return None;
        };
        let version = self.parse(version, "write it like `1.20.1`", |text| {
            crate::versions::parse_engine_version(text)
                .ok_or_else(|| format!("{text:?} is not a version"))
        })?;
        if !is_path && !at.value.starts_with("https://") && !at.value.starts_with("http://") {
            self.wrong(
                at,
                "the URL must begin with https:// or http://",
                "correct the URL, or use `path:` for a file",
            );
            return None;
        }
        Some(match is_path {
            true => ProgramSource::Path {
                path: resolve_path(&at.value, self.file),
                sha256,
                version,
            },
            false => ProgramSource::Url {
                url: at.value.clone(),
                sha256,
                version,
            },
        })
    }
}

/// A store URL as libkv parses it: exactly one `://`, a known provider, one endpoint for Consul.
pub(super) fn store_url(text: &str) -> Result<String, String> {
    let mut parts = text.split("://");
    let (Some(provider), Some(rest), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!(
            "{text:?} is not `provider://address[,address...][/prefix]`"
        ));
    };
    let endpoints = rest.split('/').next().unwrap_or_default();
    if endpoints.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!("{text:?} names no address"));
    }
    match provider {
        "consul" if endpoints.contains(',') => Err(
            "Consul takes one address; run a local agent on every host for high availability"
                .to_owned(),
        ),
        "consul" | "etcd" if !endpoints.split(',').all(|endpoint| endpoint.contains(':')) => Err(
            format!("{provider} needs the port as well, such as {provider}://10.0.0.5:8500"),
        ),
        "consul" | "etcd" | "zk" => Ok(text.to_owned()),
        _ => Err(format!("`{provider}` is none of consul, etcd, zk")),
    }
}
