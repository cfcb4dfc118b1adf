//! Merging `daemon.json`: keys that are there stay, in their order; a conflict is reported, never won.

use serde_json::{Map, Value};

use super::step::Options;

/// Where the engine reads its options.
pub const PATH: &str = "/etc/docker/daemon.json";

/// The options of an overlay over a store; fatal for engines from 23 on.
pub const STORE_KEYS: &[&str] = &["cluster-store", "cluster-advertise", "cluster-store-opts"];

/// A key that is set to something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The key.
    pub key: String,
    /// What the file says.
    pub found: Value,
    /// What is wanted.
    pub wanted: Value,
}

/// Why a `daemon.json` cannot be merged.
#[derive(Debug, Clone, PartialEq)]
pub enum MergeError {
    /// It is no JSON object; with the parser's words.
    Invalid(String),
    /// Keys are set to something else.
    Conflicts(Vec<Conflict>),
}

/// Merges `wanted` into the text of a `daemon.json`. `ours` are keys that docker-cluster wrote itself, whose values it may
/// change; of `keys` in objects below (such as `log-opts`) the same holds. `None` if nothing changes.
pub fn merge(
    current: Option<&str>,
    wanted: &Options,
    ours: &[String],
    remove: &[&str],
) -> Result<Option<String>, MergeError> {
    let text = current.unwrap_or_default();
    // An empty file is what the engine takes for no options.
    let mut options: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        json => serde_json::from_str(json).map_err(|error| MergeError::Invalid(error.to_string()))?,
    };
    let before = options.clone();
    let mut conflicts = Vec::new();
    for (key, value) in wanted {
        match options.get_mut(key) {
            None => {
                options.insert(key.clone(), value.clone());
            }
            Some(found) if found == value => {}
            Some(found) if ours.contains(key) => *found = value.clone(),
            Some(found) => conflicts.push(Conflict { key: key.clone(), found: found.clone(), wanted: value.clone() }),
        }
    }
    if !conflicts.is_empty() {
        return Err(MergeError::Conflicts(conflicts));
    }
    for key in remove.iter().filter(|key| ours.iter().any(|own| own == *key)) {
        // `shift_remove` keeps the order of the others.
        options.shift_remove(*key);
    }
    if options == before {
        return Ok(None);
    }
    Ok(Some(render(&options, indent_of(text))))
}

/// The other way: takes out what was written, where others changed the file since. A key that is still as it was written gets its
/// original value, or goes; one that somebody changed stays, and is told. Keys of others stay in any case.
#[must_use]
pub fn take_out(current: &str, written: &Options, original: &Options) -> (String, Vec<Conflict>) {
    // What is no object any more is somebody's work in progress, and nothing of it is ours.
    let Ok(mut options) = serde_json::from_str::<Options>(current) else { return (current.to_owned(), Vec::new()) };
    let before = options.clone();
    let mut kept = Vec::new();
    for (key, wrote) in written.iter().filter(|(key, wrote)| original.get(*key) != Some(wrote)) {
        match (options.get_mut(key), original.get(key)) {
            (Some(found), Some(before)) if found == wrote => *found = before.clone(),
            (Some(found), None) if found == wrote => {
                options.shift_remove(key);
            }
            (Some(found), _) => {
                kept.push(Conflict { key: key.clone(), found: found.clone(), wanted: wrote.clone() });
            }
            (None, _) => {}
        }
    }
    // Nothing of ours is left in it: then it is not written in our way either.
    if options == before {
        return (current.to_owned(), kept);
    }
    (render(&options, indent_of(current)), kept)
}

fn indent_of(text: &str) -> String {
    let indent: String = text
        .lines()
        .find(|line| line.trim_start().starts_with('"') && line.starts_with([' ', '\t']))
        .map(|line| line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect())
        .unwrap_or_default();
    if indent.is_empty() { "  ".to_owned() } else { indent }
}

fn render(options: &Options, indent: String) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a JSON map into memory has nothing to fail on.
    let _ = serde::Serialize::serialize(options, &mut serializer);
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}

/// Options on a command line such as `/usr/sbin/dockerd -H fd:// --log-driver=journald $DOCKER_OPTS`: the long names, with
/// the short ones that clash with keys of the file translated.
#[must_use]
pub fn flags_of(command_line: &str) -> Vec<String> {
    let words =
        shlex::split(command_line).unwrap_or_else(|| command_line.split_whitespace().map(str::to_owned).collect());
    words
        .iter()
        .filter_map(|word| match word.as_str() {
            "-H" => Some("host".to_owned()),
            "-D" => Some("debug".to_owned()),
            "-l" => Some("log-level".to_owned()),
            "-s" => Some("storage-driver".to_owned()),
            word => word.strip_prefix("--").map(|flag| flag.split('=').next().unwrap_or(flag).to_owned()),
        })
        .filter(|flag| !flag.is_empty())
        .collect()
}

/// The flag that says the same as a key of the file, where the engine refuses to see both.
#[must_use]
pub fn flag_for(key: &str) -> String {
    match key {
        // Flags that can be repeated have a plural key (dockerd's opts.NamedListOpts and NamedMapOpts).
        "hosts" => "host".to_owned(),
        "labels" => "label".to_owned(),
        "cluster-store-opts" => "cluster-store-opt".to_owned(),
        "log-opts" => "log-opt".to_owned(),
        "storage-opts" => "storage-opt".to_owned(),
        "exec-opts" => "exec-opt".to_owned(),
        "authorization-plugins" => "authorization-plugin".to_owned(),
        "insecure-registries" => "insecure-registry".to_owned(),
        "registry-mirrors" => "registry-mirror".to_owned(),
        "dns-opts" => "dns-opt".to_owned(),
        key => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(value: Value) -> Options {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn other_keys_and_their_order_stay() {
        let current = "{\n    \"zeta\": 1,\n    \"log-driver\": \"journald\",\n    \"alpha\": [1, 2]\n}\n";
        let merged = merge(Some(current), &wanted(json!({"cluster-store": "consul://127.0.0.1:8501"})), &[], &[])
            .unwrap()
            .unwrap();
        let keys: Vec<String> = serde_json::from_str::<Options>(&merged).unwrap().keys().cloned().collect();
        assert_eq!(keys, ["zeta", "log-driver", "alpha", "cluster-store"]);
        assert!(merged.contains("\n    \"zeta\": 1"), "the indent of four stays: {merged}");
        assert!(merged.ends_with("}\n"));
    }

    #[test]
    fn what_is_there_already_changes_nothing() {
        assert_eq!(merge(Some("{\"mtu\":1400}"), &wanted(json!({"mtu": 1400})), &[], &[]).unwrap(), None);
        assert_eq!(merge(None, &Options::new(), &[], &[]).unwrap(), None);
        assert_eq!(merge(Some("  \n"), &Options::new(), &[], &[]).unwrap(), None);
    }

    #[test]
    fn a_value_of_somebody_else_is_a_conflict_with_both_values() {
        let error = merge(Some("{\"mtu\": 9000}"), &wanted(json!({"mtu": 1400})), &[], &[]).unwrap_err();
        let MergeError::Conflicts(conflicts) = error else { panic!("{error:?}") };
        assert_eq!((conflicts[0].found.clone(), conflicts[0].wanted.clone()), (json!(9000), json!(1400)));
    }

    #[test]
    fn our_own_value_may_change_and_go() {
        let ours = ["mtu".to_owned()];
        let merged =
            merge(Some("{\"mtu\": 9000, \"a\": 1}"), &wanted(json!({"mtu": 1400})), &ours, &[]).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), json!({"mtu": 1400, "a": 1}));
        let merged = merge(Some("{\"mtu\": 9000, \"a\": 1}"), &Options::new(), &ours, &["mtu", "a"]).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), json!({"a": 1}));
    }

    #[test]
    fn what_was_written_is_taken_out_and_what_others_changed_stays() {
        let original = wanted(json!({"log-driver": "journald", "mtu": 1400}));
        let written =
            wanted(json!({"log-driver": "journald", "mtu": 1500, "cluster-store": "consul://x", "debug": true}));
        let current = r#"{"debug": false, "dns": ["10.0.0.2"], "log-driver": "local", "mtu": 1500, "cluster-store": "consul://x"}"#;
        let (text, kept) = take_out(current, &written, &original);
        let left: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(left, json!({"debug": false, "dns": ["10.0.0.2"], "log-driver": "local", "mtu": 1400}));
        assert_eq!(kept.iter().map(|conflict| conflict.key.as_str()).collect::<Vec<_>>(), ["debug"]);
        assert_eq!(take_out("{ not json", &written, &original).0, "{ not json");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(matches!(merge(Some("[1]"), &Options::new(), &[], &[]), Err(MergeError::Invalid(_))));
        assert!(matches!(merge(Some("{\"a\": }"), &Options::new(), &[], &[]), Err(MergeError::Invalid(_))));
    }

    #[test]
    fn flags_and_keys_that_clash() {
        let flags = flags_of("/usr/sbin/dockerd -H fd:// --log-driver=journald --cluster-store-opt kv.path=x");
        assert_eq!(flags, ["host", "log-driver", "cluster-store-opt"]);
        assert_eq!(flag_for("cluster-store-opts"), "cluster-store-opt");
        assert_eq!(flag_for("mtu"), "mtu");
    }
}
