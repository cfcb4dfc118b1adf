//! Flags of the engine, as `create` takes them, as the options that they are in its file.

use clap::Args;
use serde_json::{Map, Value};

use crate::daemon_json::{self, OptionKind};
use crate::error::Error;

/// The flags.
#[derive(Debug, Args)]
pub struct EngineOptions {
    /// An option of the engine, such as log-driver=journald; it is merged with what the host has
    #[arg(long, value_name = "KEY=VALUE")]
    engine_opt: Vec<String>,
    /// A label of the engine
    #[arg(long, value_name = "KEY=VALUE")]
    engine_label: Vec<String>,
    /// A registry that the engine may reach without TLS
    #[arg(long, value_name = "REGISTRY")]
    engine_insecure_registry: Vec<String>,
    /// A mirror of the registry that the engine takes by itself
    #[arg(long, value_name = "URL", env = "ENGINE_REGISTRY_MIRROR")]
    engine_registry_mirror: Vec<String>,
    /// How the engine keeps images and containers
    #[arg(long, value_name = "DRIVER")]
    engine_storage_driver: Option<String>,
    /// Refused: the environment of the engine's unit is the host's own
    #[arg(long, value_name = "KEY=VALUE")]
    engine_env: Vec<String>,
}

impl EngineOptions {
    /// As they are in the engine's file.
    pub fn options(&self) -> Result<Map<String, Value>, Error> {
        if !self.engine_env.is_empty() {
            return Err(Error::failed(
                "`--engine-env` is not here: write the variables into a drop-in of the engine's unit on the host \
                 (`systemctl edit docker.service`), which docker-cluster keeps",
            ));
        }
        let mut options = Map::new();
        for text in &self.engine_opt {
            let (flag, value) = match text.split_once('=') {
                Some((flag, value)) => (flag, value),
                // A switch, as on the engine's command line.
                None => (text.as_str(), "true"),
            };
            add(&mut options, flag.trim_start_matches('-'), value)?;
        }
        let lists = [
            ("label", &self.engine_label),
            ("insecure-registry", &self.engine_insecure_registry),
            ("registry-mirror", &self.engine_registry_mirror),
        ];
        for (flag, values) in lists {
            values
                .iter()
                .try_for_each(|value| add(&mut options, flag, value))?;
        }
        if let Some(driver) = &self.engine_storage_driver {
            add(&mut options, "storage-driver", driver)?;
        }
        Ok(options)
    }
}

/// Adds what a flag says. A value that is not of the option's kind stays text: reading the inventory says what is wrong with it.
fn add(options: &mut Map<String, Value>, flag: &str, value: &str) -> Result<(), Error> {
    let key = daemon_json::key_of_flag(flag).unwrap_or(flag);
    let text = || Value::from(value);
    let value = match daemon_json::kind(key) {
        Some(OptionKind::Switch) => value.parse::<bool>().map_or_else(|_| text(), Value::from),
        Some(OptionKind::Number) => value.parse::<i64>().map_or_else(|_| text(), Value::from),
        Some(OptionKind::List) => {
            let list = options
                .entry(key)
                .or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut()
                .into_iter()
                .for_each(|list| list.push(text()));
            return Ok(());
        }
        Some(OptionKind::Texts) => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            options
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()))[name] = value.into();
            return Ok(());
        }
        Some(OptionKind::Text) => text(),
        // Of an option that is not known nobody can say of which kind it is in the file.
        None => {
            return Err(Error::failed(format!(
                "`--engine-opt {flag}` is not one that can be translated for the engine's file"
            ))
            .hint("write it as `options:` into the machine's own inventory, and `docker-machine provision` it"));
        }
    };
    options.insert(key.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_are_options_of_the_right_kind() {
        let mut options = Map::new();
        for (flag, value) in [
            ("log-driver", "json-file"),
            ("log-opt", "max-size=10m"),
            ("log-opt", "max-file=3"),
            ("dns", "10.0.0.1"),
            ("dns", "10.0.0.2"),
            ("live-restore", "true"),
            ("mtu", "1400"),
            ("label", "a=b"),
            ("debug", "maybe"),
            ("cluster-store", "consul://10.0.0.5:8500"),
            ("cluster-advertise", "eth0:2376"),
            ("cluster-store-opt", "kv.path=x"),
        ] {
            add(&mut options, flag, value).unwrap();
        }
        let expected = json!({
            "log-driver": "json-file",
            "log-opts": {"max-size": "10m", "max-file": "3"},
            "dns": ["10.0.0.1", "10.0.0.2"],
            "live-restore": true,
            "mtu": 1400,
            "labels": ["a=b"],
            "debug": "maybe",
            "cluster-store": "consul://10.0.0.5:8500",
            "cluster-advertise": "eth0:2376",
            "cluster-store-opts": {"kv.path": "x"},
        });
        assert_eq!(Value::Object(options), expected);
        assert!(add(&mut Map::new(), "default-ulimit", "nofile=1:2").is_err());
    }
}
