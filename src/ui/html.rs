//! The matrix as one self-contained page: `templates/verify/report.html`, which escapes every value.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use crate::inventory::HostName;
use crate::proof::{Matrix, Measurement, Pair, Verdict};

const PAGE: &str = include_str!("../../templates/verify/report.html");

/// From so many hosts on, cells are too small for numbers: they are in the cell's title.
const MANY: usize = 16;

/// Steps of the heat map, as multiples of the median latency: what is usual here is green, whatever it is.
const STEPS: [(f64, &str); 4] = [(0.8, "h0"), (1.5, "h1"), (3.0, "h2"), (6.0, "h3")];

/// Radius of the circle of hosts, horizontally and vertically, and of their names, in the units of the drawing.
const RADIUS: (f64, f64) = (150.0, 150.0);
const NAMES: (f64, f64) = (166.0, 170.0);

/// Width of a letter of a name in the drawing, at its largest, which is on a phone.
const LETTER: f64 = 9.0;

struct Cell {
    class: &'static str,
    text: String,
    title: String,
}

struct Node<'a> {
    host: &'a HostName,
    class: &'static str,
    x: f64,
    y: f64,
    tx: f64,
    ty: f64,
    anchor: &'static str,
}

/// The page.
#[must_use]
pub fn html(matrix: &Matrix) -> String {
    let pairs = Pairs(
        matrix
            .pairs
            .iter()
            .map(|pair| ((&pair.from, &pair.to), pair))
            .collect(),
    );
    let many = matrix.hosts.len() > MANY;
    let median = median(
        matrix
            .pairs
            .iter()
            .filter_map(|pair| pair.latency_ms)
            .collect(),
    );
    let nodes = nodes(matrix);
    let longest = matrix.hosts.iter().map(|host| host.as_str().len()).max();
    let values = context! {
        many,
        reach => NAMES.0 + LETTER * longest.unwrap_or(0) as f64,
        rows => rows(matrix, &pairs, median, many),
        edges => edges(&nodes, &pairs),
        nodes => nodes.iter().map(node_values).collect::<Vec<_>>(),
        verdicts => verdicts(matrix, &pairs),
        bench => bench(matrix), figures => super::render::FIGURES.to_vec(),
        legend => legend(median),
        seen => states(matrix), seen_columns => SEEN.to_vec(),
        cluster => matrix.cluster.clone(),
        network => matrix.network.clone(),
        ok => matrix.ok(),
        broken => matrix.pairs.iter().filter(|pair| !pair.ok).count(),
        total => matrix.pairs.len(),
        took => format!("{:.1}", matrix.took.as_secs_f64()),
        when => super::now(),
        version => env!("CARGO_PKG_VERSION"),
        hosts => matrix.hosts.iter().map(HostName::to_string).collect::<Vec<_>>(),
    };
    page(PAGE, values)
}

/// A page of ours with these values, each escaped.
pub(super) fn page(template: &str, values: Value) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .render_str(template, values)
        .unwrap_or_else(|error| unreachable!("the page is embedded and tested: {error}"))
}

/// The pairs by their hosts.
struct Pairs<'a>(BTreeMap<(&'a HostName, &'a HostName), &'a Pair>);

impl<'a> Pairs<'a> {
    fn get(&self, from: &HostName, to: &HostName) -> Option<&'a Pair> {
        self.0.get(&(from, to)).copied()
    }

    fn fails(&self, from: &HostName, to: &HostName) -> bool {
        self.get(from, to).is_some_and(|pair| !pair.ok)
    }
}

fn rows(matrix: &Matrix, pairs: &Pairs<'_>, median: f64, many: bool) -> Vec<Value> {
    let row = |from: &HostName| {
        let cells = matrix.hosts.iter().map(|to| {
            let Cell { class, text, title } = cell(from, to, pairs.get(from, to), median, many);
            context! { class, text, title }
        });
        context! { host => from.to_string(), cells => cells.collect::<Vec<_>>() }
    };
    matrix.hosts.iter().map(row).collect()
}

fn edges(nodes: &[Node<'_>], pairs: &Pairs<'_>) -> Vec<Value> {
    let mut edges = Vec::new();
    for (index, a) in nodes.iter().enumerate() {
        for b in &nodes[index + 1..] {
            let broken = pairs.fails(a.host, b.host) || pairs.fails(b.host, a.host);
            let class = if broken { "broken" } else { "ok" };
            edges.push(context! { class, x1 => a.x, y1 => a.y, x2 => b.x, y2 => b.y });
        }
    }
    edges
}

fn verdicts(matrix: &Matrix, pairs: &Pairs<'_>) -> Vec<Value> {
    let verdict = |verdict: &Verdict| {
        let fails = verdict
            .pairs
            .iter()
            .any(|pair| pairs.fails(&pair.from, &pair.to));
        context! {
            sentence => verdict.sentence(),
            fix => verdict.fix.clone(),
            observed => verdict.observed.clone(),
            latent => !fails,
        }
    };
    matrix.verdicts.iter().map(verdict).collect()
}

fn bench(matrix: &Matrix) -> Vec<Value> {
    let row = |measured: &Measurement| {
        let direction = format!("{} -> {}", measured.direction.from, measured.direction.to);
        let figures = super::render::figures(measured).to_vec();
        context! { direction, figures, errors => measured.errors.clone() }
    };
    matrix.bench.iter().map(row).collect()
}

fn legend(median: f64) -> Vec<Value> {
    let mut legend: Vec<_> = STEPS
        .iter()
        .map(|(factor, class)| context! { class => *class, text => format!("up to {:.1} ms", factor * median) })
        .collect();
    legend.push(context! { class => "h4", text => "more" });
    legend
}

fn states(matrix: &Matrix) -> Vec<Value> {
    // In the inventory's order, as everywhere.
    let states = matrix
        .hosts
        .iter()
        .filter_map(|host| Some((host, matrix.states.get(host)?)));
    states
        .map(|(host, state)| context! { host => host.to_string(), values => seen(state).to_vec() })
        .collect()
}

/// What is told of each host, where the layers below were looked at.
const SEEN: [&str; 9] = [
    "engine",
    "advertises",
    "store or swarm",
    "clock",
    "forwarding",
    "FORWARD",
    "br_netfilter",
    "device",
    "tunnel offload",
];

fn seen(state: &serde_json::Value) -> [String; 9] {
    let text = |key: &str| state[key].as_str().unwrap_or("?").to_owned();
    let yes = |key: &str, good: &str, bad: &str| {
        state[key]
            .as_bool()
            .map_or("?", |is| if is { good } else { bad })
            .to_owned()
    };
    let store = &state["store"];
    let membership = match (store["ready"].as_bool(), state["swarm_error"].as_str()) {
        (_, Some(error)) => error.to_owned(),
        (Some(true), None) => "ready".to_owned(),
        (Some(false), None) => {
            format!("not ready: {}", store["error"].as_str().unwrap_or_default())
        }
        (None, None) if state["engine_up"] == true => "a member".to_owned(),
        (None, None) => "?".to_owned(),
    };
    let advertised = match state["interface"].as_str() {
        Some(interface) => format!("{} ({interface})", text("advertised")),
        None => text("advertised"),
    };
    let device = [state["device"].as_str(), state["driver"].as_str()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    let mtu = state["mtu"]
        .as_u64()
        .map_or_else(String::new, |mtu| format!(", {mtu} bytes"));
    [
        yes("engine_up", "answers", "does not answer"),
        advertised,
        membership,
        state["clock_offset_s"]
            .as_i64()
            .map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:+} s")),
        yes("forwarding", "on", "off"),
        text("forward_policy"),
        yes("bridge_netfilter", "on", "off"),
        format!("{}{mtu}", device.join(", ")),
        text("tunnel_checksum_offload"),
    ]
}

fn node_values(node: &Node<'_>) -> minijinja::Value {
    let Node {
        host,
        class,
        x,
        y,
        tx,
        ty,
        anchor,
    } = *node;
    context! { host => host.to_string(), class, x, y, tx, ty, anchor }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}

fn cell(from: &HostName, to: &HostName, pair: Option<&Pair>, median: f64, many: bool) -> Cell {
    let title = |text: &str| format!("{from} -> {to}: {text}");
    match pair {
        _ if from == to => Cell {
            class: "self",
            text: String::new(),
            title: String::new(),
        },
        None => Cell {
            class: "none",
            text: "?".to_owned(),
            title: title("not asked"),
        },
        Some(pair) => match pair.latency_ms {
            Some(latency) => {
                let class = STEPS
                    .iter()
                    .find(|(factor, _)| latency <= factor * median)
                    .map_or("h4", |(_, class)| class);
                let text = if many {
                    String::new()
                } else {
                    format!("{latency:.1}")
                };
                Cell {
                    class,
                    text,
                    title: title(&format!("{latency:.2} ms")),
                }
            }
            None => {
                let cause = pair.cause.as_deref().unwrap_or("does not reach");
                Cell {
                    class: "broken",
                    text: "✗".to_owned(),
                    title: title(cause),
                }
            }
        },
    }
}

/// The hosts on a circle. One all of whose pairs fail is marked: it is ill itself.
fn nodes(matrix: &Matrix) -> Vec<Node<'_>> {
    let count = matrix.hosts.len().max(1) as f64;
    let round = |value: f64| (value * 10.0).round() / 10.0;
    let mut nodes = Vec::new();
    for (index, host) in matrix.hosts.iter().enumerate() {
        let angle = std::f64::consts::TAU * index as f64 / count - std::f64::consts::FRAC_PI_2;
        let (sin, cos) = angle.sin_cos();
        let mut own = matrix
            .pairs
            .iter()
            .filter(|pair| pair.from == *host || pair.to == *host)
            .peekable();
        let ill = own.peek().is_some() && own.all(|pair| !pair.ok);
        nodes.push(Node {
            host,
            class: if ill { "ill" } else { "well" },
            x: round(RADIUS.0 * cos),
            y: round(RADIUS.1 * sin),
            tx: round(NAMES.0 * cos),
            ty: round(NAMES.1 * sin),
            anchor: match cos {
                c if c > 0.2 => "start",
                c if c < -0.2 => "end",
                _ => "middle",
            },
        });
    }
    nodes
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::proof::{Direction, Figures, Measurement, Verdict};

    fn figures(factor: f64) -> Figures {
        let (p50_us, p99_us) = (61.0 * factor, 240.0 * factor);
        Figures {
            p50_us,
            p99_us,
            requests_per_second: 23_000.0 / factor,
            bits_per_second: 9e9 / factor,
            bits_per_second_of_eight: 12e9 / factor,
            cpu_seconds_per_gigabyte: 0.8 * factor,
        }
    }

    /// A cluster of so many hosts, of which the second is behind a firewall and the last is slow.
    pub fn sample(count: usize) -> Matrix {
        let hosts: Vec<HostName> = (1..=count)
            .map(|n| HostName::parse(&format!("frankfurt-web-{n}")).unwrap())
            .collect();
        let mut pairs = Vec::new();
        for (i, from) in hosts.iter().enumerate() {
            for (j, to) in hosts.iter().enumerate().filter(|(j, _)| *j != i) {
                let ok = i != 1 && j != 1;
                let slow = if i + 1 == count || j + 1 == count {
                    9.0
                } else {
                    1.0
                };
                let latency = (0.6 + ((i * 7 + j * 3) % 10) as f64 / 10.0) * slow;
                let cause =
                    (!ok).then(|| format!("{from} -> {to}: UDP 4789 arrives and is dropped"));
                pairs.push(Pair {
                    from: from.clone(),
                    to: to.clone(),
                    ok,
                    latency_ms: ok.then_some(latency),
                    cause,
                    failure: None,
                });
            }
        }
        let direction = Direction {
            from: hosts[0].clone(),
            to: hosts[count - 1].clone(),
        };
        let verdict = Verdict {
            cause: "vxlan-blocked",
            what: "UDP 4789 arrives at frankfurt-web-2 and is dropped by its own firewall (TCP and ICMP pass)".into(),
            fix: "frankfurt-web-2 has the rule `-A INPUT -p udp -m udp --dport 4789 -j DROP`; remove it <now>".into(),
            hosts: vec![],
            links: vec![Direction { from: hosts[0].clone(), to: hosts[1].clone() }],
            pairs: pairs
                .iter()
                .filter(|p| !p.ok)
                .map(|p| Direction { from: p.from.clone(), to: p.to.clone() })
                .collect(),
            observed: vec!["TCP 7946: open".into(), "UDP 4789: comes off the wire".into()],
        };
        let clock = Verdict {
            cause: "clock",
            what: "its clock is 40 s off".into(),
            pairs: vec![],
            links: vec![],
            hosts: vec![hosts[0].clone()],
            ..verdict.clone()
        };
        let state = serde_json::json!({
            "asked": true, "hostname": "x", "engine_up": true, "address": "10.0.0.1", "advertised": "10.0.0.1",
            "interface": "eth0", "has_network": true, "store": { "runs": true, "ready": true, "error": "", "lost": [] },
            "swarm_error": null, "clock_offset_s": 0, "neighbours_refused": 0, "forwarding": true, "forward_policy": "DROP",
            "bridge_netfilter": true, "device": "eth0", "driver": "virtio_net", "mtu": 1500,
            "tunnel_checksum_offload": "on",
        });
        Matrix {
            asked: crate::proof::Asked::ByName,
            cluster: "shop & <co>".into(),
            network: "demo".into(),
            pairs,
            verdicts: vec![verdict, clock],
            encryption: None,
            forgery: None,
            wire: None,
            notes: Vec::new(),
            bench: vec![Measurement {
                direction,
                fabric: Some(figures(1.3)),
                underlay: Some(figures(1.0)),
                ratio: Some(figures(1.3).over(&figures(1.0))),
                errors: vec![],
            }],
            states: hosts
                .iter()
                .map(|host| (host.clone(), state.clone()))
                .collect(),
            hosts,
            layers: vec![],
            took: Duration::from_millis(3456),
            interrupted: false,
        }
    }

    /// What of a document its schema does not know, or misses.
    fn unlike(value: &Value, schema: &Value, all: &Value, at: &str) -> Vec<String> {
        if let Some(name) = schema["$ref"].as_str() {
            return unlike(
                value,
                &all["$defs"][name.trim_start_matches("#/$defs/")],
                all,
                at,
            );
        }
        if let Some(either) = schema["oneOf"].as_array() {
            let mut found: Vec<_> = either
                .iter()
                .map(|one| unlike(value, one, all, at))
                .collect();
            found.sort_by_key(Vec::len);
            return found.swap_remove(0);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let types = &schema["type"];
        let is = |wanted: &str| {
            *types == wanted
                || types
                    .as_array()
                    .is_some_and(|all| all.contains(&wanted.into()))
        };
        let fits = is(kind) || (kind == "integer" && is("number"));
        let says_nothing = types.is_null() && kind != "null";
        if !fits && !says_nothing {
            return vec![format!("{at} is {kind} and not {types}")];
        }
        let mut found = Vec::new();
        if let Some(allowed) = schema["enum"]
            .as_array()
            .filter(|allowed| !allowed.contains(value))
        {
            found.push(format!("{at}: {value} is not of {allowed:?}"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            found.extend(unlike(
                item,
                &schema["items"],
                all,
                &format!("{at}[{index}]"),
            ));
        }
        for (key, item) in value.as_object().into_iter().flatten() {
            match (&schema["properties"][key], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => {
                    found.push(format!("{at}.{key} is not described"))
                }
                (Value::Null, other) => {
                    found.extend(unlike(item, other, all, &format!("{at}.{key}")))
                }
                (known, _) => found.extend(unlike(item, known, all, &format!("{at}.{key}"))),
            }
        }
        let required = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        found.extend(
            required
                .filter(|key| value.get(key).is_none())
                .map(|key| format!("{at}.{key} is missing")),
        );
        found
    }

    #[test]
    fn the_document_is_what_its_schema_says() {
        let schema: Value = serde_json::from_str(Matrix::SCHEMA).unwrap();
        let mut matrix = sample(3);
        let document = matrix.to_json();
        assert_eq!(
            unlike(&document, &schema, &schema, "document"),
            Vec::<String>::new()
        );
        let mut odd = document.clone();
        odd["layers"] = serde_json::json!([{ "vxlan": "perhaps" }]);
        odd["news"] = true.into();
        let said = unlike(&odd, &schema, &schema, "document").join("\n");
        assert!(
            said.contains("news is not described") && said.contains("\"perhaps\" is not of"),
            "{said}"
        );
        matrix.pairs.clear();
        assert!(unlike(&matrix.to_json(), &schema, &schema, "document").is_empty());
    }

    /// Elements that have no end.
    const VOID: [&str; 3] = ["meta", "line", "circle"];

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        for count in [2, 3, 12, 30, 50] {
            let page = html(&sample(count));
            if let Some(folder) = std::env::var_os("DOCKER_CLUSTER_PAGES") {
                std::fs::write(
                    std::path::Path::new(&folder).join(format!("{count}.html")),
                    &page,
                )
                .unwrap();
            }
            for foreign in [
                "http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link",
            ] {
                assert!(!page.contains(foreign), "{foreign}");
            }
            assert!(page.contains("shop &amp; &lt;co&gt;") && !page.contains("<now>"));
            let mut open: Vec<&str> = Vec::new();
            for tag in page
                .split('<')
                .skip(1)
                .filter_map(|rest| rest.split(['>', ' ', '/']).next().map(|name| (name, rest)))
            {
                let (name, rest) = tag;
                match rest
                    .strip_prefix('/')
                    .and_then(|rest| rest.split('>').next())
                {
                    Some(closed) => assert_eq!(open.pop(), Some(closed), "in the page of {count}"),
                    None if name.starts_with('!') || VOID.contains(&name) => {}
                    None => open.push(name),
                }
            }
            assert!(open.is_empty(), "{open:?}");
            assert_eq!(
                page.matches("<td class=\"broken\"").count(),
                2 * (count - 1)
            );
        }
    }
}
