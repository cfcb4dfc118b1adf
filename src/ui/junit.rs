//! The matrix as JUnit XML: a test case a pair, as CI systems read it.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::proof::causes::UNEXPLAINED;
use crate::proof::{Matrix, Pair, Verdict};

/// The report, in the schema that Jenkins and GitLab accept.
#[must_use]
pub fn junit(matrix: &Matrix) -> String {
    let fails =
        |of: &crate::proof::Direction| matrix.pair(&of.from, &of.to).is_some_and(|pair| !pair.ok);
    let mut suite = TestSuite::new(format!("docker-cluster verify {}", matrix.cluster));
    suite.set_time(matrix.took);
    suite.add_test_cases(matrix.pairs.iter().map(|pair| of_pair(matrix, pair)));
    // What was found and no pair fails for is a case of its own: it makes the exit code what it is.
    let others = matrix
        .verdicts
        .iter()
        .filter(|verdict| !verdict.pairs.iter().any(fails));
    suite.add_test_cases(others.map(|verdict| {
        let failure = failure(verdict.cause, &verdict.sentence(), Some(verdict));
        case(verdict.cause, matrix.cluster.clone(), failure)
    }));
    let mut report = Report::new("docker-cluster");
    report.set_time(matrix.took).add_test_suite(suite);
    // It fails where a writer or a date does, and has neither here.
    report.to_string().unwrap_or_default()
}

fn of_pair(matrix: &Matrix, pair: &Pair) -> TestCase {
    let of_this = |of: &&Verdict| {
        of.pairs
            .iter()
            .any(|other| other.from == pair.from && other.to == pair.to)
    };
    let status = match &pair.cause {
        None => TestCaseStatus::success(),
        Some(cause) => {
            let verdict = matrix.verdicts.iter().find(of_this);
            let kind = verdict.map_or(UNEXPLAINED, |verdict| verdict.cause);
            failure(kind, cause, verdict)
        }
    };
    let name = format!("{} -> {}", pair.from, pair.to);
    let mut case = case(&name, format!("{}.{}", matrix.cluster, pair.from), status);
    if let Some(latency) = pair.latency_ms {
        case.set_time(Duration::try_from_secs_f64(latency / 1000.0).unwrap_or_default());
    }
    case
}

fn case(name: &str, class: String, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}

/// A failure with its remedy and what was observed.
fn failure(kind: &str, message: &str, verdict: Option<&Verdict>) -> TestCaseStatus {
    // The crate leaves out what XML does not know, but for these two.
    let known = |text: &str| text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind).set_message(known(message));
    if let Some(verdict) = verdict {
        let observed = verdict.observed.join("\n");
        status.set_description(known(&format!("{}\n{observed}", verdict.fix)));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::html::tests::sample;

    #[test]
    fn a_pair_is_a_case_and_nothing_breaks_out() {
        let mut matrix = sample(3);
        matrix.verdicts[0].observed = vec!["a<b>&\"'\u{1b}[31m\u{0}\u{ffff}".to_owned()];
        let text = junit(&matrix);
        assert!(
            text.contains("a&lt;b&gt;&amp;&quot;&apos;") || text.contains("a&lt;b&gt;&amp;\"'"),
            "{text}"
        );
        assert!(
            !text.contains(['\u{1b}', '\u{0}', '\u{ffff}']),
            "XML knows none of them"
        );
        let failing = matrix.pairs.iter().filter(|pair| !pair.ok).count();
        assert_eq!(
            text.matches("<testcase ").count(),
            matrix.pairs.len() + 1,
            "{text}"
        );
        assert_eq!(text.matches("<failure ").count(), failing + 1, "{text}");
    }
}
