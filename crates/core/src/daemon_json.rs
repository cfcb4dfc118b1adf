//! Merging `daemon.json`: keys that are there stay, in their order; a conflict is reported, never won.

use serde_json::Value;

/// Daemon options: keys of `daemon.json` with their values, in their order.
pub type Options = serde_json::Map<String, Value>;

/// Where the engine reads its options.
pub const PATH: &str = "/etc/docker/daemon.json";

/// The options of an overlay over a store; fatal for engines from 23 on.
pub const STORE_KEYS: &[&str] = &["cluster-store", "cluster-advertise", "cluster-store-opts"];

/// The options that decide about `docker0`, its addresses, and who may send to it.
pub const DOCKER0_KEYS: &[&str] = &[
    "allow-direct-routing",
    "bip",
    "bridge",
    "default-gateway",
    "fixed-cidr",
    "ip-masq",
    "mtu",
];

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

/// What docker-cluster knows of a `daemon.json` beside what is in it now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// As it was before docker-cluster came.
    pub original: Options,
    /// What docker-cluster has set in it, as it wrote it last; without what others have.
    pub written: Options,
    /// Of what was before, what docker-cluster took out, as a migration does with a store.
    pub taken: Options,
}

impl History {
    /// Whether a value is one that docker-cluster put there and nobody has changed since.
    fn is_ours(&self, key: &str, found: &Value) -> bool {
        self.written.get(key) == Some(found) && self.original.get(key) != Some(found)
    }

    /// The history of the object below a key.
    fn below(&self, key: &str) -> Self {
        let of = |options: &Options| {
            options
                .get(key)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        Self {
            original: of(&self.original),
            written: of(&self.written),
            taken: Options::new(),
        }
    }
}

/// The options in the text of a `daemon.json`; none in an empty one. The error is the parser's words.
pub fn parse(text: &str) -> Result<Options, String> {
    // Engines from 23 on skip the mark (moby/moby#44777); whether this one does is a question of its own.
    match text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim() {
        "" => Ok(Options::new()),
        json => serde_json::from_str(json).map_err(|error| error.to_string()),
    }
}

/// What some editors put before a text in UTF-8.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Merges `wanted` into the text of a `daemon.json`, three-way, key by key. What docker-cluster wrote itself and nobody has changed
/// since may be changed, and goes where it is not wanted any more: back to what was there before. A value of somebody else is a
/// conflict if another is wanted, and stays if none is. Objects such as `log-opts` are merged in the same way, except those of
/// [`STORE_KEYS`], which mean something only as a whole. `None` if nothing changes.
pub fn merge(
    current: Option<&str>,
    wanted: &Options,
    history: &History,
) -> Result<Option<String>, MergeError> {
    let text = current.unwrap_or_default();
    let before = parse(text).map_err(MergeError::Invalid)?;
    let (mut options, mut conflicts) = (before.clone(), Vec::new());
    merge_into(&mut options, wanted, history, "", &mut conflicts);
    if !conflicts.is_empty() {
        return Err(MergeError::Conflicts(conflicts));
    }
    if options == before {
        return Ok(None);
    }
    Ok(Some(render(&options, indent_of(text))))
}

/// The keys of a merged file that docker-cluster has set, in this merge or before: those of an object are in an object, and the value of
/// every other is `null`, so that no value is told where it need not be. A key that this merge takes out is among them, for a run that is
/// cut off before the file is written.
#[must_use]
pub fn claim(before: &Options, wanted: &Options, history: &History) -> Options {
    let mut all = Options::new();
    for (key, value) in wanted {
        match (before.get(key), value) {
            (Some(Value::Object(found)), Value::Object(value))
                if !STORE_KEYS.contains(&key.as_str()) =>
            {
                claim_below(&mut all, key, found, value, history);
            }
            (None, _) => drop(all.insert(key.clone(), keys_of(key, value))),
            (Some(found), _) if history.is_ours(key, found) => {
                drop(all.insert(key.clone(), keys_of(key, value)))
            }
            (Some(_), _) => {}
        }
    }
    for key in history
        .written
        .keys()
        .filter(|key| !wanted.contains_key(*key))
    {
        match before.get(key) {
            Some(Value::Object(found)) if !STORE_KEYS.contains(&key.as_str()) => {
                claim_below(&mut all, key, found, &Options::new(), history);
            }
            Some(found) if history.is_ours(key, found) => {
                drop(all.insert(key.clone(), keys_of(key, found)))
            }
            _ => {}
        }
    }
    // What was taken out goes back with the last of what was put in, however many writes there are between.
    for key in history
        .taken
        .keys()
        .filter(|key| !before.contains_key(*key))
    {
        all.entry(key.clone()).or_insert(Value::Null);
    }
    all
}

fn claim_below(all: &mut Options, key: &str, found: &Options, wanted: &Options, history: &History) {
    let below = claim(found, wanted, &history.below(key));
    if !below.is_empty() || history.is_ours(key, &Value::Object(found.clone())) {
        all.insert(key.to_owned(), Value::Object(below));
    }
}

fn keys_of(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(below) if !STORE_KEYS.contains(&key) => Value::Object(
            below
                .iter()
                .map(|(key, value)| (key.clone(), keys_of(key, value)))
                .collect(),
        ),
        _ => Value::Null,
    }
}

/// The [`claim`] on what nobody sets beside docker-cluster.
#[must_use]
pub fn store_claim() -> Options {
    STORE_KEYS
        .iter()
        .map(|key| ((*key).to_owned(), Value::Null))
        .collect()
}

/// What a [`claim`] says of options.
#[must_use]
pub fn claimed(options: &Options, claim: &Options) -> Options {
    let one = |(key, claim): (&String, &Value)| {
        let value = match (options.get(key)?, claim) {
            (Value::Object(found), Value::Object(claim)) => Value::Object(claimed(found, claim)),
            (found, _) => found.clone(),
        };
        Some((key.clone(), value))
    };
    claim.iter().filter_map(one).collect()
}

fn merge_into(
    options: &mut Options,
    wanted: &Options,
    history: &History,
    above: &str,
    conflicts: &mut Vec<Conflict>,
) {
    for (key, value) in wanted {
        match (options.get_mut(key), value) {
            (None, _) => {
                options.insert(key.clone(), value.clone());
            }
            (Some(found), _) if found == value => {}
            (Some(Value::Object(found)), Value::Object(value))
                if !STORE_KEYS.contains(&key.as_str()) =>
            {
                merge_into(
                    found,
                    value,
                    &history.below(key),
                    &format!("{above}{key}."),
                    conflicts,
                );
            }
            (Some(found), _) if history.is_ours(key, found) => *found = value.clone(),
            (Some(found), _) => conflicts.push(Conflict {
                key: format!("{above}{key}"),
                found: found.clone(),
                wanted: value.clone(),
            }),
        }
    }
    for key in history
        .written
        .keys()
        .filter(|key| !wanted.contains_key(*key))
    {
        let Some(found) = options.get_mut(key) else {
            continue;
        };
        let below = history.below(key);
        // What somebody took out of an object that was there before stays out of it.
        let is_shared = found.is_object()
            && !STORE_KEYS.contains(&key.as_str())
            && history.original.get(key).is_some_and(Value::is_object);
        if history.is_ours(key, found) && !is_shared {
            match history.original.get(key) {
                Some(original) => *found = original.clone(),
                // `shift_remove` keeps the order of the others.
                None => drop(options.shift_remove(key)),
            }
        } else if let Value::Object(found) = found
            && !below.written.is_empty()
        {
            // Somebody has added to what we began: only our part of it goes.
            merge_into(found, &Options::new(), &below, "", &mut Vec::new());
        }
    }
}

/// The text of a `daemon.json` without these keys, whoever wrote them. `None` if none of them is there.
pub fn without(current: Option<&str>, keys: &[&str]) -> Result<Option<String>, MergeError> {
    let text = current.unwrap_or_default();
    let before = parse(text).map_err(MergeError::Invalid)?;
    let mut options = before.clone();
    for key in keys {
        options.shift_remove(*key);
    }
    Ok((options != before).then(|| render(&options, indent_of(text))))
}

/// The other way: takes out what was written, where others changed the file since. A key that is still as it was written gets its
/// original value, or goes; one that somebody changed stays, and is told. Keys of others stay in any case.
#[must_use]
pub fn take_out(current: &str, history: &History) -> (String, Vec<Conflict>) {
    // What is no object any more is somebody's work in progress, and nothing of it is ours.
    let Ok(mut options) = parse(current) else {
        return (current.to_owned(), Vec::new());
    };
    let before = options.clone();
    let mut kept = Vec::new();
    changed(&options, history, "", &mut kept);
    merge_into(&mut options, &Options::new(), history, "", &mut Vec::new());
    for (key, value) in &history.taken {
        options.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // Nothing of ours is left in it: then it is not written in our way either.
    if options == before {
        return (current.to_owned(), kept);
    }
    (render(&options, indent_of(current)), kept)
}

/// What of docker-cluster's part somebody has changed.
fn changed(options: &Options, history: &History, above: &str, kept: &mut Vec<Conflict>) {
    for (key, wrote) in &history.written {
        let original = history.original.get(key);
        match (options.get(key), wrote) {
            (Some(Value::Object(found)), Value::Object(_))
                if !STORE_KEYS.contains(&key.as_str()) =>
            {
                changed(found, &history.below(key), &format!("{above}{key}."), kept);
            }
            (Some(found), _)
                if found != wrote && Some(found) != original && Some(wrote) != original =>
            {
                kept.push(Conflict {
                    key: format!("{above}{key}"),
                    found: found.clone(),
                    wanted: wrote.clone(),
                });
            }
            _ => {}
        }
    }
}

fn indent_of(text: &str) -> String {
    let indent: String = text
        .lines()
        .find(|line| line.trim_start().starts_with('"') && line.starts_with([' ', '\t']))
        .map(|line| {
            line.chars()
                .take_while(|c| matches!(c, ' ' | '\t'))
                .collect()
        })
        .unwrap_or_default();
    if indent.is_empty() {
        "  ".to_owned()
    } else {
        indent
    }
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

/// What kind of value the engine takes for an option. Of another kind it does not start at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// Text.
    Text,
    /// A list of texts.
    List,
    /// Keys whose values are texts.
    Texts,
}

impl OptionKind {
    /// Whether a value is of this kind.
    #[must_use]
    pub fn fits(self, value: &Value) -> bool {
        match self {
            Self::Switch => value.is_boolean(),
            Self::Number => value.is_i64() || value.is_u64(),
            Self::Text => value.is_string(),
            Self::List => value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string)),
            Self::Texts => value
                .as_object()
                .is_some_and(|map| map.values().all(Value::is_string)),
        }
    }

    /// How to write one.
    #[must_use]
    pub fn example(self, key: &str) -> String {
        match self {
            Self::Switch => format!("write `{key}: true` or `{key}: false`"),
            Self::Number => format!("write a number without quotes, such as `{key}: 10`"),
            Self::Text => format!("write it in quotes: `{key}: \"...\"`"),
            Self::List => format!("write a list of texts: `{key}: [\"...\"]`"),
            Self::Texts => format!("write keys with texts: `{key}: {{name: \"...\"}}`"),
        }
    }
}

impl std::fmt::Display for OptionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Switch => "true or false",
            Self::Number => "a whole number",
            Self::Text => "text",
            Self::List => "a list of texts",
            Self::Texts => "keys with texts",
        })
    }
}

/// The kinds of the options that people set (moby's `daemon/config`, 20.10 to 28); of others the engine is the judge.
const KINDS: &[(OptionKind, &[&str])] = &[
    (
        OptionKind::Switch,
        &[
            "allow-direct-routing",
            "debug",
            "experimental",
            "icc",
            "init",
            "ip-forward",
            "ip-forward-no-drop",
            "ip-masq",
            "ip6tables",
            "iptables",
            "ipv6",
            "live-restore",
            "no-new-privileges",
            "raw-logs",
            "selinux-enabled",
            "tls",
            "tlsverify",
            "userland-proxy",
        ],
    ),
    (
        OptionKind::Number,
        &[
            "cpu-rt-period",
            "cpu-rt-runtime",
            "max-concurrent-downloads",
            "max-concurrent-uploads",
            "max-download-attempts",
            "mtu",
            "network-control-plane-mtu",
            "network-diagnostic-port",
            "oom-score-adjust",
            "shutdown-timeout",
        ],
    ),
    (
        OptionKind::Text,
        &[
            "cluster-advertise",
            "cluster-store",
            "bridge-accept-fwmark",
            "bip",
            "bip6",
            "bridge",
            "cgroup-parent",
            "containerd",
            "containerd-namespace",
            "data-root",
            "default-cgroupns-mode",
            "default-gateway",
            "default-gateway-v6",
            "default-ipc-mode",
            "default-runtime",
            "default-shm-size",
            "exec-root",
            "firewall-backend",
            "fixed-cidr",
            "fixed-cidr-v6",
            "graph",
            "group",
            "host-gateway-ip",
            "init-path",
            "ip",
            "log-driver",
            "log-format",
            "log-level",
            "metrics-addr",
            "pidfile",
            "seccomp-profile",
            "storage-driver",
            "tlscacert",
            "tlscert",
            "tlskey",
            "userland-proxy-path",
            "userns-remap",
        ],
    ),
    (
        OptionKind::List,
        &[
            "allow-nondistributable-artifacts",
            "authorization-plugins",
            "cdi-spec-dirs",
            "dns",
            "dns-opts",
            "dns-search",
            "exec-opts",
            "hosts",
            "insecure-registries",
            "labels",
            "node-generic-resources",
            "registry-mirrors",
            "storage-opts",
        ],
    ),
    (OptionKind::Texts, &["cluster-store-opts", "log-opts"]),
];

/// The kind of an option, if it is known.
#[must_use]
pub fn kind(key: &str) -> Option<OptionKind> {
    KINDS
        .iter()
        .find(|(_, keys)| keys.contains(&key))
        .map(|(kind, _)| *kind)
}

/// The key of the file, where somebody writes the name of the flag that says the same.
#[must_use]
pub fn key_of_flag(name: &str) -> Option<&'static str> {
    let mut keys = KINDS
        .iter()
        .flat_map(|(_, keys)| *keys)
        .chain(&["default-address-pools", "default-ulimits"]);
    // `graph` is what `data-root` was called, and still a key.
    keys.find(|key| {
        **key != name && **key != "graph" && flag_for(key) == name && kind(name).is_none()
    })
    .copied()
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
        "default-ulimits" => "default-ulimit".to_owned(),
        "default-address-pools" => "default-address-pool".to_owned(),
        "default-network-opts" => "default-network-opt".to_owned(),
        "node-generic-resources" => "node-generic-resource".to_owned(),
        "allow-nondistributable-artifacts" => "allow-nondistributable-artifact".to_owned(),
        "cdi-spec-dirs" => "cdi-spec-dir".to_owned(),
        "graph" => "data-root".to_owned(),
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

    fn history(original: Value, written: Value) -> History {
        History {
            original: wanted(original),
            written: wanted(written),
            taken: Options::new(),
        }
    }

    fn new() -> History {
        History::default()
    }

    fn merged(current: &str, want: Value, history: &History) -> Value {
        let text = merge(Some(current), &wanted(want), history).unwrap();
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    fn conflicts(current: &str, want: Value, history: &History) -> Vec<String> {
        match merge(Some(current), &wanted(want), history).unwrap_err() {
            MergeError::Conflicts(all) => all
                .iter()
                .map(|c| format!("{} {} {}", c.key, c.found, c.wanted))
                .collect(),
            other @ MergeError::Invalid(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn other_keys_and_their_order_stay() {
        let current =
            "{\n    \"zeta\": 1,\n    \"log-driver\": \"journald\",\n    \"alpha\": [1, 2]\n}\n";
        let merged = merge(
            Some(current),
            &wanted(json!({"cluster-store": "consul://127.0.0.1:8501"})),
            &new(),
        )
        .unwrap()
        .unwrap();
        let keys: Vec<String> = serde_json::from_str::<Options>(&merged)
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, ["zeta", "log-driver", "alpha", "cluster-store"]);
        assert!(
            merged.contains("\n    \"zeta\": 1"),
            "the indent of four stays: {merged}"
        );
        assert!(merged.ends_with("}\n"));
    }

    #[test]
    fn what_is_there_already_changes_nothing() {
        assert_eq!(
            merge(
                Some("{\"mtu\":1400}"),
                &wanted(json!({"mtu": 1400})),
                &new()
            )
            .unwrap(),
            None
        );
        assert_eq!(merge(None, &Options::new(), &new()).unwrap(), None);
        assert_eq!(merge(Some("  \n"), &Options::new(), &new()).unwrap(), None);
    }

    #[test]
    fn a_value_of_somebody_else_is_a_conflict_with_both_values() {
        assert_eq!(
            conflicts("{\"mtu\": 9000}", json!({"mtu": 1400}), &new()),
            ["mtu 9000 1400"]
        );
    }

    #[test]
    fn each_key_is_ours_or_theirs_by_itself() {
        // The file has changes of both sides: ours may change and go, theirs are a conflict or stay.
        let known = history(
            json!({"a": 1}),
            json!({"a": 1, "mtu": 9000, "debug": true, "icc": false}),
        );
        let current = r#"{"a": 2, "mtu": 9000, "debug": false, "icc": false}"#;
        assert_eq!(
            merged(current, json!({"mtu": 1400}), &known),
            json!({"a": 2, "mtu": 1400, "debug": false})
        );
        assert_eq!(
            conflicts(current, json!({"debug": true}), &known),
            ["debug false true"]
        );
        // Back to their own value since we wrote: theirs.
        let known = history(json!({"mtu": 1400}), json!({"mtu": 9000}));
        assert_eq!(
            conflicts(r#"{"mtu": 1400}"#, json!({"mtu": 8000}), &known),
            ["mtu 1400 8000"]
        );
        // Not wanted any more: what was there before comes back.
        assert_eq!(
            merged(r#"{"mtu": 9000}"#, json!({}), &known),
            json!({"mtu": 1400})
        );
        assert_eq!(merged(r#"{"mtu": 1400}"#, json!({}), &known), Value::Null);
    }

    #[test]
    fn objects_are_merged_and_stores_are_whole() {
        let current = r#"{"log-opts": {"max-size": "10m", "max-file": "3"}}"#;
        assert_eq!(
            merged(current, json!({"log-opts": {"max-size": "10m"}}), &new()),
            Value::Null
        );
        assert_eq!(
            merged(
                current,
                json!({"log-opts": {"mode": "non-blocking"}}),
                &new()
            ),
            json!({"log-opts": {"max-size": "10m", "max-file": "3", "mode": "non-blocking"}})
        );
        assert_eq!(
            conflicts(current, json!({"log-opts": {"max-size": "1m"}}), &new()),
            [r#"log-opts.max-size "10m" "1m""#]
        );
        let ours = history(json!({}), json!({"log-opts": {"max-size": "10m"}}));
        assert_eq!(
            merged(current, json!({}), &ours),
            json!({"log-opts": {"max-file": "3"}})
        );
        let store = r#"{"cluster-store-opts": {"kv.path": "x"}}"#;
        assert_eq!(
            conflicts(
                store,
                json!({"cluster-store-opts": {"kv.cacertfile": "y"}}),
                &new()
            )
            .len(),
            1
        );
    }

    #[test]
    fn what_was_written_is_taken_out_and_what_others_changed_stays() {
        let known = history(
            json!({"log-driver": "journald", "mtu": 1400}),
            json!({"log-driver": "journald", "mtu": 1500, "cluster-store": "consul://x", "debug": true}),
        );
        let current = r#"{"debug": false, "dns": ["10.0.0.2"], "log-driver": "local", "mtu": 1500, "cluster-store": "consul://x"}"#;
        let (text, kept) = take_out(current, &known);
        let left: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            left,
            json!({"debug": false, "dns": ["10.0.0.2"], "log-driver": "local", "mtu": 1400})
        );
        assert_eq!(
            kept.iter()
                .map(|conflict| conflict.key.as_str())
                .collect::<Vec<_>>(),
            ["debug"]
        );
        assert_eq!(take_out("{ not json", &known).0, "{ not json");
    }

    #[test]
    fn keys_go_whoever_wrote_them_where_nobody_can_need_them() {
        let text = without(Some(r#"{"cluster-store": "x", "a": 1}"#), STORE_KEYS)
            .unwrap()
            .unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"a": 1})
        );
        assert_eq!(without(Some(r#"{"a": 1}"#), STORE_KEYS).unwrap(), None);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(matches!(
            merge(Some("[1]"), &Options::new(), &new()),
            Err(MergeError::Invalid(_))
        ));
        assert!(matches!(
            merge(Some("{\"a\": }"), &Options::new(), &new()),
            Err(MergeError::Invalid(_))
        ));
    }

    #[test]
    fn a_byte_order_mark_hides_nothing() {
        assert_eq!(
            merged("\u{feff}{\"a\": 1}", json!({"b": 2}), &new()),
            json!({"a": 1, "b": 2})
        );
    }

    /// Options as people have them: few keys, so that those of both sides meet, with values of every kind.
    fn some_options() -> impl proptest::strategy::Strategy<Value = Options> {
        use proptest::prelude::*;
        let plain = prop_oneof![
            Just(json!(1)),
            Just(json!("a")),
            Just(json!(true)),
            Just(json!(["x"]))
        ];
        let below = proptest::collection::btree_map("[pq]", plain.clone(), 0..2);
        let object = below.prop_map(|map| Value::Object(map.into_iter().collect()));
        proptest::collection::btree_map("[a-d]", prop_oneof![plain, object], 0..4)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest::proptest! {
        #[test]
        fn what_was_merged_is_taken_out_again(original in some_options(), first in some_options(), second in some_options()) {
            let text = json!(original).to_string();
            let mut history = History { original: original.clone(), written: Options::new(), taken: Options::new() };
            let mut now = text.clone();
            for wanted in [&first, &second] {
                if let Ok(Some(merged)) = merge(Some(&now), wanted, &history) {
                    let ours = claim(&parse(&now).unwrap(), wanted, &history);
                    now = merged;
                    history.written = claimed(&parse(&now).unwrap(), &ours);
                }
            }
            let kept = |key: &String| !first.contains_key(key) && !second.contains_key(key);
            let left = parse(&now).unwrap();
            for (key, value) in original.iter().filter(|(key, _)| kept(key)) {
                proptest::prop_assert_eq!(left.get(key), Some(value), "a key of others stays");
            }
            let (back, conflicts) = take_out(&now, &history);
            proptest::prop_assert_eq!(parse(&back).unwrap(), original);
            proptest::prop_assert!(conflicts.is_empty());
        }

        #[test]
        fn what_others_changed_since_is_never_lost(original in some_options(), wanted in some_options(), theirs in some_options()) {
            let Ok(Some(merged)) = merge(Some(&json!(original).to_string()), &wanted, &History { original: original.clone(), written: Options::new(), taken: Options::new() }) else {
                return Ok(());
            };
            let ours = claim(&original, &wanted, &History::default());
            let history = History { original, written: claimed(&parse(&merged).unwrap(), &ours), taken: Options::new() };
            let mut changed = parse(&merged).unwrap();
            for (key, value) in &theirs {
                changed.insert(key.clone(), value.clone());
            }
            let plain = |value: &Value| !value.is_object();
            let (back, _) = take_out(&json!(changed).to_string(), &history);
            let back = parse(&back).unwrap();
            for (key, value) in theirs.iter().filter(|(key, value)| plain(value) && history.written.get(*key) != Some(value)) {
                proptest::prop_assert_eq!(back.get(key), Some(value), "{}", key);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_others_add_between_two_writes_is_theirs(original in some_options(), first in some_options(), theirs in some_options(), second in some_options()) {
            let mut history = History { original: original.clone(), written: Options::new(), taken: Options::new() };
            let mut now = original.clone();
            let mut write = |now: &mut Options, wanted: &Options| {
                let Ok(Some(merged)) = merge(Some(&json!(now).to_string()), wanted, &history) else { return };
                let ours = claim(now, wanted, &history);
                *now = parse(&merged).unwrap();
                history.written = claimed(now, &ours);
            };
            write(&mut now, &first);
            let before = now.clone();
            for (key, value) in &theirs {
                now.insert(key.clone(), value.clone());
            }
            write(&mut now, &second);
            let (back, _) = take_out(&json!(now).to_string(), &history);
            let back = parse(&back).unwrap();
            for (key, value) in theirs.iter().filter(|(key, value)| !value.is_object() && before.get(*key) != Some(value)) {
                proptest::prop_assert_eq!(back.get(key), Some(value), "{}", key);
            }
        }
    }

    #[test]
    fn a_claim_tells_keys_and_no_values() {
        let empty = Options::new();
        let wanted_now = wanted(
            json!({"mtu": 1400, "log-opts": {"max-size": "1m"}, "cluster-store-opts": {"kv.path": "x"}}),
        );
        assert_eq!(
            json!(claim(&empty, &wanted_now, &new())),
            json!({"mtu": null, "log-opts": {"max-size": null}, "cluster-store-opts": null}),
            "a store's options are one"
        );
        // Of somebody's object our keys alone are ours; a store's options that somebody set are not.
        let theirs = wanted(
            json!({"mtu": 1400, "log-opts": {"max-file": "3"}, "cluster-store-opts": {"kv.path": "x"}}),
        );
        assert_eq!(
            json!(claim(&theirs, &wanted_now, &new())),
            json!({"log-opts": {"max-size": null}})
        );
        // What goes with this very write is claimed until it is gone, for a run that is cut off before.
        let known = history(json!({}), json!(wanted_now));
        let claimed =
            json!({"mtu": null, "log-opts": {"max-size": null}, "cluster-store-opts": null});
        assert_eq!(json!(claim(&wanted_now, &empty, &known)), claimed);
        assert_eq!(
            json!(claim(&wanted_now, &wanted_now, &known)),
            claimed,
            "and so is what stays"
        );
        let shared = wanted(json!({"log-opts": {"max-size": "1m", "max-file": "3"}}));
        assert_eq!(
            json!(claim(&shared, &empty, &known)),
            json!({"log-opts": {"max-size": null}})
        );
        // What was taken out stays ours to put back, unless somebody has done so.
        let known = History {
            taken: wanted(json!({"a": 1, "b": 2})),
            ..new()
        };
        assert_eq!(
            json!(claim(&wanted(json!({"b": 3})), &empty, &known)),
            json!({"a": null})
        );
        let keys: Vec<String> = store_claim().keys().cloned().collect();
        assert_eq!(keys, STORE_KEYS);
    }

    #[test]
    fn what_others_did_to_an_object_of_both_stays_done() {
        // They took `max-file` out of what was there before; a store's options come back as a whole.
        let known = history(
            json!({"log-opts": {"max-file": "3"}, "cluster-store-opts": {"kv.path": "x"}}),
            json!({"log-opts": {"max-size": "1m"}, "cluster-store-opts": {"kv.path": "y"}}),
        );
        let current = r#"{"log-opts": {"max-size": "1m"}, "cluster-store-opts": {"kv.path": "y"}}"#;
        assert_eq!(
            merged(current, json!({}), &known),
            json!({"log-opts": {}, "cluster-store-opts": {"kv.path": "x"}})
        );
        let changed = r#"{"log-opts": {"max-size": "2m"}, "cluster-store-opts": {"kv.path": "z"}}"#;
        let told: Vec<String> = take_out(changed, &known)
            .1
            .into_iter()
            .map(|conflict| conflict.key)
            .collect();
        assert_eq!(told, ["log-opts.max-size", "cluster-store-opts"]);
    }

    #[test]
    fn the_indent_is_that_of_a_key() {
        // A first line that is not indented, or is no key, tells nothing.
        for text in [
            "{\"a\": 1,\n\t\"b\": 2\n}",
            "{\n      // no key\n\t\"a\": 1}",
            "\"x\"\n\t\"a\": 1",
        ] {
            assert_eq!(indent_of(text), "\t", "{text}");
        }
        assert_eq!(indent_of("{}"), "  ");
    }

    #[test]
    fn a_value_fits_its_kind_alone() {
        let values = [
            json!(true),
            json!(-1),
            json!(1),
            json!("a"),
            json!(["a"]),
            json!({"a": "b"}),
            json!([1]),
            json!({"a": 1}),
        ];
        let fits = |kind: OptionKind| {
            values
                .iter()
                .map(|value| kind.fits(value))
                .collect::<Vec<_>>()
        };
        let at = |places: &[usize]| {
            (0..values.len())
                .map(|place| places.contains(&place))
                .collect::<Vec<_>>()
        };
        assert_eq!(fits(OptionKind::Switch), at(&[0]));
        assert_eq!(fits(OptionKind::Number), at(&[1, 2]));
        assert_eq!(fits(OptionKind::Text), at(&[3]));
        assert_eq!(fits(OptionKind::List), at(&[4]));
        assert_eq!(fits(OptionKind::Texts), at(&[5]));
        assert_eq!(
            (kind("debug"), kind("mtu"), kind("nobody-knows")),
            (Some(OptionKind::Switch), Some(OptionKind::Number), None)
        );
    }

    #[test]
    fn the_name_of_a_flag_leads_to_its_key() {
        for (flag, key) in [
            ("insecure-registry", Some("insecure-registries")),
            ("default-ulimit", Some("default-ulimits")),
            // Keys themselves, one that was called otherwise once, and what nobody knows.
            ("mtu", None),
            ("data-root", None),
            ("nobody-knows", None),
        ] {
            assert_eq!(key_of_flag(flag), key, "{flag}");
        }
        let said = format!(
            "{}: {}",
            OptionKind::Number,
            OptionKind::Number.example("mtu")
        );
        assert_eq!(
            said,
            "a whole number: write a number without quotes, such as `mtu: 10`"
        );
    }

    #[test]
    fn flags_and_keys_that_clash() {
        assert_eq!(flag_for("cluster-store-opts"), "cluster-store-opt");
        assert_eq!(flag_for("mtu"), "mtu");
    }
}
