//! The matrix as one self-contained page: `templates/verify/report.html`, which escapes every value.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use crate::inventory::HostName;
use crate::verify::{Matrix, Pair};

const PAGE: &str = include_str!("../../templates/verify/report.html");

/// From so many hosts on, cells are too small for numbers: they are in the cell's title.
const MANY: usize = 16;

/// Steps of the heat map, as multiples of the median latency: what is usual here is green, whatever it is.
const STEPS: [(f64, &str); 4] = [(0.8, "h0"), (1.5, "h1"), (3.0, "h2"), (6.0, "h3")];

/// Radius of the circle of hosts, horizontally and vertically, and of their names, in the units of the drawing.
const RADIUS: (f64, f64) = (150.0, 150.0);
const NAMES: (f64, f64) = (166.0, 170.0);

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
    let pairs: BTreeMap<(&HostName, &HostName), &Pair> =
        matrix.pairs.iter().map(|pair| ((&pair.from, &pair.to), pair)).collect();
    let many = matrix.hosts.len() > MANY;
    let median = median(matrix.pairs.iter().filter_map(|pair| pair.latency_ms).collect());
    let rows: Vec<_> = matrix
        .hosts
        .iter()
        .map(|from| {
            let cells = matrix.hosts.iter().map(|to| {
                let Cell { class, text, title } = cell(from, to, pairs.get(&(from, to)).copied(), median, many);
                context! { class, text, title }
            });
            context! { host => from.to_string(), cells => cells.collect::<Vec<_>>() }
        })
        .collect();
    let nodes = nodes(matrix);
    let broken =
        |a: &HostName, b: &HostName| [(a, b), (b, a)].iter().any(|key| pairs.get(key).is_some_and(|pair| !pair.ok));
    let mut edges = Vec::new();
    for (index, a) in nodes.iter().enumerate() {
        for b in &nodes[index + 1..] {
            let class = if broken(a.host, b.host) { "broken" } else { "ok" };
            edges.push(context! { class, x1 => a.x, y1 => a.y, x2 => b.x, y2 => b.y });
        }
    }
    let verdicts: Vec<_> = matrix
        .verdicts
        .iter()
        .map(|verdict| {
            let failing = |pair: &crate::verify::Direction| pairs.get(&(&pair.from, &pair.to)).is_some_and(|p| !p.ok);
            context! {
                sentence => verdict.sentence(),
                fix => verdict.fix.clone(),
                observed => verdict.observed.clone(),
                latent => !verdict.pairs.iter().any(failing),
            }
        })
        .collect();
    let bench: Vec<_> = matrix
        .bench
        .iter()
        .map(|measured| {
            let direction = format!("{} -> {}", measured.direction.from, measured.direction.to);
            context! { direction, figures => super::render::figures(measured).to_vec(), errors => measured.errors.clone() }
        })
        .collect();
    let mut legend: Vec<_> = STEPS
        .iter()
        .map(|(factor, class)| context! { class => *class, text => format!("up to {:.1} ms", factor * median) })
        .collect();
    legend.push(context! { class => "h4", text => "more" });
    let values = context! {
        cluster => matrix.cluster.clone(),
        network => matrix.network.clone(),
        ok => matrix.ok(),
        broken => matrix.pairs.iter().filter(|pair| !pair.ok).count(),
        total => matrix.pairs.len(),
        took => format!("{:.1}", matrix.took.as_secs_f64()),
        when => super::now(),
        version => env!("CARGO_PKG_VERSION"),
        hosts => matrix.hosts.iter().map(HostName::to_string).collect::<Vec<_>>(),
        nodes => nodes.iter().map(node_values).collect::<Vec<_>>(),
        many, rows, edges, verdicts, legend, bench,
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .render_str(PAGE, values)
        .unwrap_or_else(|error| unreachable!("the page is embedded and tested: {error}"))
}

fn node_values(node: &Node<'_>) -> minijinja::Value {
    let Node { host, class, x, y, tx, ty, anchor } = *node;
    context! { host => host.to_string(), class, x, y, tx, ty, anchor }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}

fn cell(from: &HostName, to: &HostName, pair: Option<&Pair>, median: f64, many: bool) -> Cell {
    let title = |text: &str| format!("{from} -> {to}: {text}");
    match pair {
        _ if from == to => Cell { class: "self", text: String::new(), title: String::new() },
        None => Cell { class: "none", text: "?".to_owned(), title: title("not asked") },
        Some(pair) => match pair.latency_ms {
            Some(latency) => {
                let class =
                    STEPS.iter().find(|(factor, _)| latency <= factor * median).map_or("h4", |(_, class)| class);
                let text = if many { String::new() } else { format!("{latency:.1}") };
                Cell { class, text, title: title(&format!("{latency:.2} ms")) }
            }
            None => {
                let cause = pair.cause.as_deref().unwrap_or("does not reach");
                Cell { class: "broken", text: "✗".to_owned(), title: title(cause) }
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
        let mut own = matrix.pairs.iter().filter(|pair| pair.from == *host || pair.to == *host).peekable();
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
