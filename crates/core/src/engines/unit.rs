//! How the engine is started: what its unit, its drop-ins and their environment files come to.
//!
//! They are read as systemd reads them (`systemd.unit(5)`, `systemd.exec(5)`, `systemd.service(5)`): an empty assignment takes back what
//! was before it, a backslash at the end joins lines, and a variable counts where a command line names it. A file that no unit
//! names is nothing to the engine.

use std::collections::BTreeMap;

use crate::daemon_json;
use crate::facts::{Facts, FileLine};

/// A flag that the engine is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Its long name, such as `log-driver`.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<String>,
    /// Where it comes from, for a person.
    pub source: String,
}

impl Flag {
    /// Whether a switch is on: without a value it is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(
            self.value.as_deref(),
            Some("false" | "False" | "FALSE" | "f" | "F" | "0")
        )
    }
}

/// What a unit does with its service, as far as the engine's options go.
#[derive(Debug, Default)]
struct Service {
    exec_start: Vec<FileLine>,
    environment: Vec<FileLine>,
    environment_files: Vec<String>,
}

/// Flags that the engine is started with, each with where it is from.
#[must_use]
pub fn flags(facts: &Facts) -> Vec<Flag> {
    flags_of(facts, &facts.unit_lines)
}

/// The same as they would be without one drop-in.
#[must_use]
pub fn flags_without(facts: &Facts, drop_in: &str) -> Vec<Flag> {
    flags_of(facts, &lines_without(facts, drop_in))
}

fn lines_without(facts: &Facts, drop_in: &str) -> Vec<FileLine> {
    let others = facts.unit_lines.iter().filter(|line| line.file != drop_in);
    others.cloned().collect()
}

/// The command line that the unit starts the engine with, as it is written, without one drop-in. `None` if there is not one, or it is not
/// the engine's: a script's arguments mean what it likes.
#[must_use]
pub fn command_without(facts: &Facts, drop_in: &str) -> Option<String> {
    let service = service(&lines_without(facts, drop_in));
    let [line] = service.exec_start.as_slice() else {
        return None;
    };
    let variables = variables(&service, &facts.environment_files);
    engine_arguments(&command_line(&line.text, &line.file, &variables))?;
    Some(line.text.clone())
}

fn flags_of(facts: &Facts, lines: &[FileLine]) -> Vec<Flag> {
    let service = service(lines);
    let variables = variables(&service, &facts.environment_files);
    let mut found = Vec::new();
    let mut is_known = false;
    for line in &service.exec_start {
        let words = command_line(&line.text, &line.file, &variables);
        if let Some(arguments) = engine_arguments(&words) {
            is_known = true;
            found.extend(read_flags(arguments));
        }
    }
    // A script that starts the engine, or no unit at all: what runs was started with these.
    if !is_known && let Some(process) = &facts.engine_process {
        let source = "the command line of the running engine";
        let words: Vec<Word> = process
            .args
            .iter()
            .map(|word| Word::of(word, source))
            .collect();
        found.extend(read_flags(engine_arguments(&words).unwrap_or_default()));
    }
    found
}

/// A flag by the name of the option in `daemon.json`.
#[must_use]
pub fn flag(facts: &Facts, key: &str) -> Option<Flag> {
    let name = daemon_json::flag_for(key);
    // Of several the engine takes the last.
    flags(facts)
        .into_iter()
        .rev()
        .find(|flag| flag.name == name)
}

/// The file that the engine reads its options from, if it is told to read another than [`daemon_json::PATH`].
#[must_use]
pub fn options_elsewhere(facts: &Facts) -> Option<String> {
    flag(facts, "config-file")
        .and_then(|flag| flag.value)
        .filter(|path| path != daemon_json::PATH)
}

/// A word of a command line, with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    source: String,
}

impl Word {
    fn of(text: &str, source: &str) -> Self {
        Self {
            text: text.to_owned(),
            source: source.to_owned(),
        }
    }
}

fn service(lines: &[FileLine]) -> Service {
    let mut service = Service::default();
    let (mut file, mut in_service) = (String::new(), false);
    for line in joined(lines) {
        // Each file begins outside of all sections.
        if line.file != file {
            (file, in_service) = (line.file.clone(), false);
        }
        let text = line.text.trim();
        if text.starts_with('[') {
            in_service = text == "[Service]";
            continue;
        }
        let Some((key, value)) = text.split_once('=').filter(|_| in_service) else {
            continue;
        };
        let value = FileLine {
            file: line.file.clone(),
            text: value.trim().to_owned(),
        };
        match (key.trim(), value.text.is_empty()) {
            ("ExecStart", true) => service.exec_start.clear(),
            ("ExecStart", false) => service.exec_start.push(value),
            ("Environment", true) => service.environment.clear(),
            ("Environment", false) => service.environment.push(value),
            ("EnvironmentFile", true) => service.environment_files.clear(),
            ("EnvironmentFile", false) => {
                service
                    .environment_files
                    .push(value.text.trim_start_matches('-').to_owned());
            }
            _ => {}
        }
    }
    service
}

/// Lines that a backslash continues, as one.
fn joined(lines: &[FileLine]) -> Vec<FileLine> {
    let mut all: Vec<FileLine> = Vec::new();
    let mut continues = false;
    for line in lines {
        let (text, goes_on) = match line.text.trim_end().strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line.text.as_str(), false),
        };
        match all
            .last_mut()
            .filter(|last| continues && last.file == line.file)
        {
            Some(last) => {
                last.text.push(' ');
                last.text.push_str(text);
            }
            None => all.push(FileLine {
                file: line.file.clone(),
                text: text.to_owned(),
            }),
        }
        continues = goes_on;
    }
    all
}

/// The variables of the service, each with its value and where it comes from. Files win over the unit.
fn variables(service: &Service, files: &[FileLine]) -> BTreeMap<String, Word> {
    let mut all = BTreeMap::new();
    for line in &service.environment {
        for word in words(&line.text) {
            if let Some((name, value)) = word.split_once('=') {
                all.insert(name.to_owned(), Word::of(value, &line.file));
            }
        }
    }
    for pattern in &service.environment_files {
        let names = |file: &str| match pattern.find(['*', '?', '[']) {
            // The host has expanded the pattern; its beginning tells one from another.
            Some(at) => file.starts_with(&pattern[..at]),
            None => file == pattern,
        };
        let own: Vec<FileLine> = files
            .iter()
            .filter(|line| names(&line.file))
            .cloned()
            .collect();
        for line in joined(&own) {
            let text = line.text.trim();
            if let Some((name, value)) = text
                .split_once('=')
                .filter(|_| !text.starts_with(['#', ';']))
            {
                all.insert(
                    name.trim().to_owned(),
                    Word::of(&unquoted(value.trim()), &line.file),
                );
            }
        }
    }
    all
}

/// A value of an environment file without the quotes around it, or around parts of it.
fn unquoted(value: &str) -> String {
    let (mut text, mut quote, mut escaped) = (String::new(), None, false);
    for c in value.chars() {
        match (quote, c) {
            _ if escaped => {
                // Within double quotes a backslash is one unless it stands before what it can hide.
                if quote == Some('"') && !"\"\\`$".contains(c) {
                    text.push('\\');
                }
                text.push(c);
                escaped = false;
            }
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => text.push(c),
            (_, '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (_, c) => text.push(c),
        }
    }
    text
}

/// Words of a line in which quotes hold words together. One with quotes that do not end is cut at blanks.
fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap_or_else(|| line.split_whitespace().map(str::to_owned).collect())
}

/// The words of an `ExecStart=`, with the variables in it.
fn command_line(line: &str, file: &str, variables: &BTreeMap<String, Word>) -> Vec<Word> {
    let prefix: String = line.chars().take_while(|c| "@-:+!".contains(*c)).collect();
    let mut all = Vec::new();
    for word in words(&line[prefix.len()..]) {
        if prefix.contains(':') {
            all.push(Word::of(&word, file));
        } else if let Some(name) = word.strip_prefix('$').filter(|name| is_name(name)) {
            let Some(value) = variables.get(name) else {
                continue;
            };
            all.extend(
                words(&value.text)
                    .iter()
                    .map(|word| Word::of(word, &value.source)),
            );
        } else {
            all.push(braced(&word, file, variables));
        }
    }
    if prefix.contains('@') && all.len() > 1 {
        all.remove(1);
    }
    all
}

/// A word with its `${NAME}`s filled in: they stand anywhere in it, and their values are never cut into words.
fn braced(word: &str, file: &str, variables: &BTreeMap<String, Word>) -> Word {
    let (mut text, mut source, mut rest) = (String::new(), file, word);
    while let Some((before, name, after)) = rest.split_once("${").and_then(|(before, after)| {
        let (name, after) = after.split_once('}')?;
        Some((before, name, after))
    }) {
        text.push_str(before);
        if let Some(value) = variables.get(name) {
            text.push_str(&value.text);
            source = &value.source;
        }
        rest = after;
    }
    text.push_str(rest);
    Word::of(&text, source)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The arguments of the engine, if this is a command line of it.
fn engine_arguments(words: &[Word]) -> Option<&[Word]> {
    let (program, arguments) = words.split_first()?;
    let name = program.text.rsplit('/').next().unwrap_or_default();
    match (name, arguments.first().map(|word| word.text.as_str())) {
        // What it was called before 1.12.
        ("docker", Some("daemon")) => arguments.get(1..),
        _ if name.starts_with("dockerd") => Some(arguments),
        _ => None,
    }
}

/// Short flags of the engine and the long ones that they stand for (`dockerd --help`); the first of them is a switch.
const SHORT: &[(char, &str)] = &[
    ('D', "debug"),
    ('H', "host"),
    ('l', "log-level"),
    ('s', "storage-driver"),
    ('g', "data-root"),
    ('G', "group"),
    ('b', "bridge"),
    ('p', "pidfile"),
];

fn read_flags(words: &[Word]) -> Vec<Flag> {
    let mut found: Vec<Flag> = Vec::new();
    for word in words {
        let mut flag = |name: &str, value: Option<&str>| {
            let (name, value) = (name.to_owned(), value.map(str::to_owned));
            found.push(Flag {
                name,
                value,
                source: word.source.clone(),
            });
        };
        if let Some(long) = word.text.strip_prefix("--") {
            match long.split_once('=') {
                Some((name, value)) => flag(name, Some(value)),
                None if long.is_empty() => {}
                None => flag(long, None),
            }
        } else if let Some(short) = word.text.strip_prefix('-') {
            let mut rest = short.chars();
            while let Some(letter) = rest.next() {
                let Some((_, name)) = SHORT.iter().find(|(known, _)| *known == letter) else {
                    break;
                };
                if *name == "debug" {
                    flag(name, None);
                    continue;
                }
                let value = rest.as_str().trim_start_matches('=');
                flag(name, Some(value).filter(|value| !value.is_empty()));
                break;
            }
        } else if let Some(last) = found.last_mut().filter(|last| last.value.is_none()) {
            // The engine takes no arguments but flags: a bare word is the value of the one before it.
            last.value = Some(word.text.clone());
        }
    }
    // `graph` is what `data-root` was called.
    for flag in found.iter_mut().filter(|flag| flag.name == "graph") {
        "data-root".clone_into(&mut flag.name);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<FileLine> {
        text.lines()
            .map(|line| FileLine {
                file: file.to_owned(),
                text: line.to_owned(),
            })
            .collect()
    }

    /// Names of the flags, with their values and sources, as `name=value (source)`.
    fn shown(unit: &[FileLine], files: &[FileLine]) -> Vec<String> {
        let service = service(unit);
        let variables = variables(&service, files);
        let each = service.exec_start.iter().flat_map(|line| {
            let words = command_line(&line.text, &line.file, &variables);
            read_flags(engine_arguments(&words).unwrap_or_default())
        });
        each.map(|flag| {
            format!(
                "{}={} ({})",
                flag.name,
                flag.value.unwrap_or_default(),
                flag.source
            )
        })
        .collect()
    }

    const UNIT: &str = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/c.sock";

    #[test]
    fn an_empty_assignment_takes_back_what_was_before_it() {
        let mut unit = lines("/lib/docker.service", UNIT);
        assert_eq!(
            shown(&unit, &[]),
            [
                "host=fd:// (/lib/docker.service)",
                "containerd=/run/c.sock (/lib/docker.service)"
            ]
        );
        unit.extend(lines(
            "/etc/10-machine.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd",
        ));
        assert_eq!(shown(&unit, &[]), Vec::<String>::new());
        unit.extend(lines(
            "/etc/20.conf",
            "[Service]\nEnvironment=\"A=--debug\"\nEnvironment=\nExecStart=\nExecStart=dockerd $A",
        ));
        assert_eq!(shown(&unit, &[]), Vec::<String>::new());
        // A section of another name is none of ours, and a drop-in begins without one.
        unit.extend(lines(
            "/etc/30.conf",
            "ExecStart=\n[Unit]\nExecStart=/usr/bin/dockerd --debug",
        ));
        assert_eq!(shown(&unit, &[]), Vec::<String>::new());
    }

    #[test]
    fn variables_count_where_a_command_line_names_them() {
        let unit = "[Service]\nEnvironment=\"DOCKER_OPTS=--log-driver local\" 'OTHER=--debug'\nExecStart=/usr/sbin/dockerd \\\n  -H fd:// \\\n  $DOCKER_OPTS";
        assert_eq!(
            shown(&lines("/u", unit), &[]),
            ["host=fd:// (/u)", "log-driver=local (/u)"]
        );
        let unit = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS";
        let file =
            "# comment\nDOCKER_OPTS=\"--dns 10.0.0.2 \\\n  --label='a b'\"\nexport X=--debug";
        let found = shown(&lines("/u", unit), &lines("/etc/default/docker", file));
        assert_eq!(
            found,
            [
                "host=fd:// (/u)",
                "dns=10.0.0.2 (/etc/default/docker)",
                "label=a b (/etc/default/docker)"
            ]
        );
        // The file that no unit names, and one whose name was taken back.
        assert_eq!(
            shown(&lines("/u", UNIT), &lines("/etc/default/docker", file)).len(),
            2
        );
        let reset = format!("{unit}\nEnvironmentFile=");
        assert_eq!(
            shown(&lines("/u", &reset), &lines("/etc/default/docker", file)),
            ["host=fd:// (/u)"]
        );
    }

    #[test]
    fn flags_as_people_write_them() {
        let of = |line: &str| shown(&lines("", &format!("[Service]\nExecStart={line}")), &[]);
        assert_eq!(
            of("/usr/bin/dockerd -Dl warn -H=tcp://x -Hfd://"),
            [
                "debug= ()",
                "log-level=warn ()",
                "host=tcp://x ()",
                "host=fd:// ()"
            ]
        );
        assert_eq!(
            of("-@/usr/bin/dockerd docker --live-restore --mtu 1400"),
            ["live-restore= ()", "mtu=1400 ()"]
        );
        assert_eq!(
            of("/usr/bin/docker daemon --graph /srv"),
            ["data-root=/srv ()"]
        );
        assert_eq!(
            of("/opt/start-docker.sh --debug"),
            Vec::<String>::new(),
            "a script's flags are its own"
        );
        assert_eq!(
            of("/usr/bin/dockerd ${NOTHING} $NOTHING --icc='false'"),
            ["icc=false ()"]
        );
        assert!(!read_flags(&[Word::of("--live-restore=false", "")])[0].is_on());
    }
}
