//! From the bytes of a file to text. YAML is UTF-8 here, and editors write other things: which, where, and what to do about it.

/// A file that is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotText {
    /// What it is instead, with line and byte: "line 3, byte 17 (0xe9) is not UTF-8".
    pub what: String,
    /// What it may be in, by the name that `iconv` has for it.
    pub encoding: Option<&'static str>,
}

impl NotText {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self, file: &str) -> String {
        let quoted = shlex::try_quote(file).unwrap_or_else(|_| "FILE".into());
        match self.encoding {
            Some(encoding) => format!(
                "write it anew as UTF-8: `iconv -f {encoding} -t UTF-8 {quoted} > new.yaml`"
            ),
            None => format!(
                "no inventory holds such a byte: look at it with `od -c {quoted}`, and take it out"
            ),
        }
    }
}

/// What Windows' editors write before UTF-8. It means nothing.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads a file's bytes as UTF-8, with or without a mark at its beginning.
pub fn decode(bytes: &[u8]) -> Result<&str, NotText> {
    let marked = [
        (&b"\xff\xfe\0\0"[..], "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ];
    if let Some((mark, encoding)) = marked.into_iter().find(|(mark, _)| bytes.starts_with(mark)) {
        let what = format!(
            "line 1, byte 1 (0x{:02x}) begins a text in {encoding}, not in UTF-8",
            mark[0]
        );
        return Err(NotText {
            what,
            encoding: Some(encoding),
        });
    }
    let own = bytes.strip_prefix(BOM).unwrap_or(bytes);
    if let Some(at) = own.iter().position(|byte| *byte == 0) {
        let encoding = unmarked(own);
        let what = match encoding {
            Some(name) => format!(
                "{} looks like a text in {name}, not in UTF-8",
                place(own, at)
            ),
            None => format!("{} is no text", place(own, at)),
        };
        return Err(NotText { what, encoding });
    }
    std::str::from_utf8(own).map_err(|error| NotText {
        what: format!("{} is not UTF-8", place(own, error.valid_up_to())),
        // Every byte is a character there: what was meant is seen by looking at the result.
        encoding: Some("ISO-8859-1"),
    })
}

/// UTF-16 without a mark: of the letters of an inventory every other byte is zero.
fn unmarked(bytes: &[u8]) -> Option<&'static str> {
    let zeros = |odd: usize| {
        bytes
            .iter()
            .skip(odd)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd, most) = (zeros(0), zeros(1), bytes.len() / 4);
    if odd > most && even == 0 {
        Some("UTF-16LE")
    } else if even > most && odd == 0 {
        Some("UTF-16BE")
    } else {
        None
    }
}

/// Line, byte in the line, both from 1, and the byte itself.
fn place(bytes: &[u8], at: usize) -> String {
    let before = &bytes[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let byte = at
        - before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1)
        + 1;
    format!(
        "line {line}, byte {byte} (0x{:02x})",
        bytes.get(at).copied().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cluster: a\nhosts:\n  - {name: b, address: x}\n";

    fn told(bytes: &[u8]) -> (String, String) {
        let error = decode(bytes).unwrap_err();
        (error.what.clone(), error.hint("my file.yaml"))
    }

    #[test]
    fn utf_8_is_read_with_and_without_a_mark() {
        assert_eq!(decode(TEXT.as_bytes()), Ok(TEXT));
        assert_eq!(decode(&[BOM, TEXT.as_bytes()].concat()), Ok(TEXT));
        assert_eq!(decode("# Köln ✓\n".as_bytes()), Ok("# Köln ✓\n"));
        assert_eq!(decode(b""), Ok(""));
    }

    #[test]
    fn other_encodings_are_named_with_line_and_byte() {
        let wide =
            |order: fn(u16) -> [u8; 2]| TEXT.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let (little, big) = (wide(u16::to_le_bytes), wide(u16::to_be_bytes));
        let (what, hint) = told(&[&b"\xff\xfe"[..], &little].concat());
        assert_eq!(
            what,
            "line 1, byte 1 (0xff) begins a text in UTF-16, not in UTF-8"
        );
        assert_eq!(
            hint,
            "write it anew as UTF-8: `iconv -f UTF-16 -t UTF-8 'my file.yaml' > new.yaml`"
        );
        assert!(
            told(&[&b"\xfe\xff"[..], &big].concat())
                .0
                .contains("UTF-16")
        );
        assert!(told(b"\xff\xfe\0\0a\0\0\0").0.contains("UTF-32"));
        assert!(told(&little).1.contains("-f UTF-16LE"));
        assert!(told(&big).1.contains("-f UTF-16BE"));
        let (what, hint) = told(b"cluster: a\nhosts: []\n# K\xf6ln\n");
        assert_eq!(what, "line 3, byte 4 (0xf6) is not UTF-8");
        assert!(hint.contains("iconv -f ISO-8859-1 -t UTF-8"), "{hint}");
        let (what, hint) = told(b"cluster: a\nhosts: [\0]\n");
        assert_eq!(what, "line 2, byte 9 (0x00) is no text");
        assert!(hint.contains("od -c"), "{hint}");
        // Cut off in the middle of a letter.
        assert_eq!(told(b"a: \xc3").0, "line 1, byte 4 (0xc3) is not UTF-8");
    }
}
