//! Columns as Go's tabwriter makes them, which docker-machine's lists go through: scripts take them apart at runs of blanks.

/// Blanks between two columns.
const PADDING: usize = 3;

/// No column is narrower.
const NARROWEST: usize = 5;

/// Text with tabs between its cells, in columns. The last cell of a line is no column.
#[must_use]
pub fn aligned(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for line in &lines {
        for (at, cell) in line.iter().rev().skip(1).rev().enumerate() {
            let width = (cell.chars().count() + PADDING).max(NARROWEST);
            match widths.get_mut(at) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let shown = |line: &Vec<&str>| {
        let last = line.len() - 1;
        let cell = |(at, cell): (usize, &&str)| match at == last {
            true => (*cell).to_owned(),
            false => format!("{cell:<width$}", width = widths[at]),
        };
        format!(
            "{}\n",
            line.iter().enumerate().map(cell).collect::<String>()
        )
    };
    lines.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            aligned("NAME\tX\tEND\na-long-name\t-\t\n"),
            "NAME          X    END\na-long-name   -    \n"
        );
        assert_eq!(aligned("a\n"), "a\n");
    }
}
