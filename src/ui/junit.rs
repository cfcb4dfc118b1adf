//! The matrix as JUnit XML: a test case a pair, as CI systems read it.

use std::fmt::Write as _;

use crate::proof::Matrix;

/// The report. The schema is the one that Jenkins and GitLab accept: `testsuite` with `testcase`, `failure`.
#[must_use]
pub fn junit(matrix: &Matrix) -> String {
    let fails =
        |of: &crate::proof::Direction| matrix.pair(&of.from, &of.to).is_some_and(|pair| !pair.ok);
    // What was found and no pair fails for is a case of its own: it makes the exit code what it is.
    let others: Vec<_> = matrix
        .verdicts
        .iter()
        .filter(|verdict| !verdict.pairs.iter().any(fails))
        .collect();
    let failures = matrix.pairs.iter().filter(|pair| !pair.ok).count() + others.len();
    let took = matrix.took.as_secs_f64();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (name, tests) = (
        escape(&format!("docker-cluster verify {}", matrix.cluster)),
        matrix.pairs.len() + others.len(),
    );
    let _ = writeln!(
        text,
        "<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{took:.3}\">"
    );
    for pair in &matrix.pairs {
        let class = escape(&format!("{}.{}", matrix.cluster, pair.from));
        let name = escape(&format!("{} -> {}", pair.from, pair.to));
        let seconds = pair.latency_ms.unwrap_or_default() / 1000.0;
        let _ = write!(
            text,
            "  <testcase classname=\"{class}\" name=\"{name}\" time=\"{seconds:.6}\""
        );
        let Some(cause) = &pair.cause else {
            text.push_str("/>\n");
            continue;
        };
        let of_this = |of: &&crate::proof::Verdict| {
            of.pairs
                .iter()
                .any(|other| other.from == pair.from && other.to == pair.to)
        };
        let verdict = matrix.verdicts.iter().find(of_this);
        let kind = verdict.map_or("unexplained", |verdict| verdict.cause);
        let more = verdict.map_or_else(String::new, |of| {
            format!("{}\n{}", of.fix, of.observed.join("\n"))
        });
        let (cause, kind, more) = (escape(cause), escape(kind), escape(&more));
        let _ = writeln!(
            text,
            ">\n    <failure type=\"{kind}\" message=\"{cause}\">{more}</failure>\n  </testcase>"
        );
    }
    for verdict in others {
        let (class, name) = (escape(&matrix.cluster), escape(verdict.cause));
        let more = escape(&format!("{}\n{}", verdict.fix, verdict.observed.join("\n")));
        let said = escape(&verdict.sentence());
        let _ = writeln!(
            text,
            "  <testcase classname=\"{class}\" name=\"{name}\" time=\"0\">\n    <failure type=\"{name}\" message=\"{said}\">{more}</failure>\n  </testcase>"
        );
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text for XML and HTML, in attributes and elements. Characters that XML does not know at all become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            c if c.is_control() && c != '\t' => escaped.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(
            escape("a<b>&\"'\u{1b}[31m"),
            "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}[31m"
        );
    }
}
