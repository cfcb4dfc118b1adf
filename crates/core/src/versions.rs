//! Versions as kernels, engines and packages write them.

/// Parses a kernel version such as `5.10.0-30-amd64` or `4.19`.
pub fn parse_kernel_version(text: &str) -> Result<(u64, u64, u64), String> {
    let numeric: String = text
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let mut parts = numeric
        .split('.')
        .filter(|part| !part.is_empty())
        .map(str::parse::<u64>);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), patch) => {
            Ok((major, minor, patch.and_then(Result::ok).unwrap_or(0)))
        }
        _ => Err(format!("{text:?} is not a kernel version")),
    }
}

/// Parses an engine version as the engine writes it (`20.10.5+dfsg1`, `26.1.5`, `17.05.0-ce`): three numbers; the rest is
/// the packager's. Leading zeros, which semver refuses, were usual before 23.
#[must_use]
pub fn parse_engine_version(text: &str) -> Option<semver::Version> {
    let numeric: String = text
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let mut parts = numeric.split('.').map(str::parse::<u64>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    Some(semver::Version::new(
        major,
        minor,
        parts.next().and_then(Result::ok).unwrap_or(0),
    ))
}
