//! The documents and the program say the same: every command line in them is one that the program takes, every command and option is
//! described somewhere, every link leads somewhere, and the inventories in them are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use docker_cluster::cli::Cli;
use docker_cluster::fabrics::all_causes;
use docker_cluster::inventory::{Colour, Inventory};
use docker_cluster::machine::{Machine, normalised};

/// What the documents call the program.
const PROGRAM: &str = "docker-cluster";

/// The same as a plugin of Docker's client.
const PLUGIN: &str = "docker cluster";

/// The name by which it has another command line.
const MACHINE: &str = docker_cluster::machine::NAME;

/// Where that is described.
const OF_MACHINE: &str = "docs/docker-machine.md";

/// Where each command has its section.
const COMMANDS: &str = "docs/commands.md";

/// Where each key of an inventory is described.
const INVENTORY: &str = "docs/inventory.md";

/// Options of other programs that the documents speak of by themselves, without the program's name in the same piece of code.
const OF_OTHERS: &[&str] = &[
    // Of `docker run`.
    "--ip",
    // Of the engine.
    "--tlsverify",
];

/// A README is read to its end if it can be read in five minutes.
const README_WORDS: usize = 1200;

/// A document: where it is, and its text.
struct Document {
    path: String,
    text: String,
}

/// A piece of code in a document.
struct Code {
    document: String,
    line: usize,
    /// The heading above it, if it names a command: `## lab`, `### store backup`.
    section: Section,
    /// The words after the fence; none for code within a sentence.
    language: Option<String>,
    text: String,
}

/// What a heading of [`COMMANDS`] is about.
#[derive(Clone, PartialEq, Eq)]
enum Section {
    /// A command, or a command of a command.
    Command(Vec<String>),
    /// Every command.
    All,
    /// In another document.
    Elsewhere,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<Document> {
    let mut paths = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let folder = std::fs::read_dir(root().join("docs")).unwrap();
    let mut docs: Vec<String> = folder
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    docs.retain(|path| path.ends_with(".md"));
    docs.sort();
    paths.extend(docs);
    paths
        .into_iter()
        .map(|path| Document {
            text: std::fs::read_to_string(root().join(&path)).unwrap(),
            path,
        })
        .collect()
}

/// The commands that `--help` shows, with those of commands: `["lab", "up"]`, and for each the long options that `--help` shows.
static VISIBLE: LazyLock<BTreeMap<Vec<String>, BTreeSet<String>>> = LazyLock::new(|| {
    fn walk(
        command: &clap::Command,
        path: &[String],
        all: &mut BTreeMap<Vec<String>, BTreeSet<String>>,
    ) {
        let options = command
            .get_arguments()
            .filter(|argument| !argument.is_hide_set());
        all.insert(
            path.to_vec(),
            options
                .filter_map(|option| Some(format!("--{}", option.get_long()?)))
                .collect(),
        );
        for inner in command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
        {
            walk(inner, &[path, &[inner.get_name().to_owned()]].concat(), all);
        }
    }
    let mut program = Cli::command();
    program.build();
    let mut all = BTreeMap::new();
    walk(&program, &[], &mut all);
    all
});

/// Code of a document: its fenced blocks and what stands between backticks.
fn code(document: &Document) -> Vec<Code> {
    let mut section = if document.path == COMMANDS {
        Section::All
    } else {
        Section::Elsewhere
    };
    let mut all = Vec::new();
    let mut block: Option<(usize, String, String)> = None;
    let mut paragraph = (1, String::new());
    let mut end_paragraph = |section: &Section, (line, text): (usize, String)| {
        for span in spans(&text) {
            let (section, document) = (section.clone(), document.path.clone());
            all.push(Code {
                document,
                line,
                section,
                language: None,
                text: span,
            });
        }
    };
    let mut blocks = Vec::new();
    for (number, line) in (1..).zip(document.text.lines()) {
        if let Some(words) = line.trim_start().strip_prefix("```") {
            end_paragraph(
                &section,
                std::mem::replace(&mut paragraph, (number + 1, String::new())),
            );
            block = match block.take() {
                None => Some((number + 1, words.trim().to_owned(), String::new())),
                Some((line, language, text)) => {
                    let (section, document) = (section.clone(), document.path.clone());
                    blocks.push(Code {
                        document,
                        line,
                        section,
                        language: Some(language),
                        text,
                    });
                    None
                }
            };
        } else if let Some((_, _, text)) = &mut block {
            text.push_str(line);
            text.push('\n');
        } else if line.trim().is_empty()
            || line.starts_with('#')
            || line.starts_with('|')
            || line.starts_with("- ")
        {
            end_paragraph(
                &section,
                std::mem::replace(&mut paragraph, (number, format!("{line}\n"))),
            );
            if document.path == COMMANDS && line.starts_with("##") {
                let words: Vec<String> = line
                    .trim_start_matches('#')
                    .replace('`', "")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect();
                section = if VISIBLE.contains_key(&words) {
                    Section::Command(words)
                } else {
                    Section::All
                };
            }
        } else {
            paragraph.1.push_str(line);
            paragraph.1.push('\n');
        }
    }
    end_paragraph(&section, paragraph);
    assert!(
        block.is_none(),
        "{}: a block of code does not end",
        document.path
    );
    all.extend(blocks);
    all
}

/// What stands between runs of backticks of one length.
fn spans(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let after = &rest[start + ticks..];
        let mark = "`".repeat(ticks);
        let Some(end) = after.find(&mark) else { break };
        all.push(
            after[..end]
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        );
        rest = &after[end + ticks..];
    }
    all
}

/// The command lines of the program in a piece of code, with the line on which each begins, and without the program's own name: what
/// follows it up to what ends a command in a shell.
fn command_lines(text: &str) -> Vec<(usize, String)> {
    lines_of(text, &[PROGRAM, PLUGIN])
}

/// The same of a program of these names.
fn lines_of(text: &str, names: &[&str]) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    // A line that goes on in the next is one with it, and the lines keep their numbers.
    let joined = text.replace("\\\n", "\u{0}");
    let mut next = 0;
    for line in joined.lines() {
        let number = next;
        next += 1 + line.matches('\u{0}').count();
        let line = &line.replace('\u{0}', " ");
        for name in names {
            for (at, _) in line.match_indices(name) {
                let after = &line[at + name.len()..];
                if is_command_position(&line[..at])
                    && (after.is_empty() || after.starts_with([' ', ')', ';']))
                {
                    all.push((number, arguments(after)));
                }
            }
        }
    }
    all
}

/// Whether a shell would take the next word for a program.
fn is_command_position(before: &str) -> bool {
    // A path before the name: `target/release/docker-cluster`.
    let before = before.trim_end_matches(|c: char| c.is_alphanumeric() || "/._-".contains(c));
    let before = before.trim_end_matches("sudo ").trim_end();
    before.is_empty() || before.ends_with(['$', '(', ';', '|', '&', '`'])
}

/// Up to what ends a command in a shell, outside of quotes.
fn arguments(after: &str) -> String {
    let mut quote = None;
    let mut previous = ' ';
    for (at, c) in after.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if ";|&<>)`".contains(c) || (c == '#' && previous == ' ') => {
                return after[..at].trim().to_owned();
            }
            None => {}
        }
        previous = c;
    }
    after.trim().to_owned()
}

/// Whether a value is a placeholder such as `HOST` or `FROM:TO`.
fn is_placeholder(value: &str) -> bool {
    value.contains(|c: char| c.is_ascii_uppercase())
        && !value.contains(|c: char| c.is_ascii_lowercase())
}

/// Why the program would not take these arguments.
fn refusal(words: &[String]) -> Option<String> {
    let error =
        Cli::try_parse_from(std::iter::once(PROGRAM).chain(words.iter().map(String::as_str)))
            .err()?;
    let placeholder = || match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => is_placeholder(value),
        _ => false,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        ErrorKind::ValueValidation | ErrorKind::InvalidValue if placeholder() => None,
        // `lab --help` and the like are no lines to run, but `docker-cluster` by itself is the program's name.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if words.is_empty() => None,
        _ => Some(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
    }
}

/// The command that words begin with, after options of every command: `-f demo.yaml lab up --bare` is `lab up`.
fn command_of(words: &[String]) -> Vec<String> {
    let begin = words
        .iter()
        .position(|word| VISIBLE.contains_key(std::slice::from_ref(word)))
        .unwrap_or(words.len());
    let mut path = Vec::new();
    for word in &words[begin..] {
        let longer = [path.clone(), vec![word.clone()]].concat();
        if !VISIBLE.contains_key(&longer) {
            break;
        }
        path = longer;
    }
    path
}

/// The long options among words, without their values; what follows `--` is another program's.
fn options(words: &[String]) -> Vec<String> {
    let ours = words.iter().take_while(|word| *word != "--");
    ours.filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap().to_owned())
        .collect()
}

/// What a document says of commands and options.
#[derive(Default)]
struct Mentions {
    /// Commands, and options with the command that they are said of; none for every command.
    commands: BTreeSet<Vec<String>>,
    options: BTreeSet<(Vec<String>, String)>,
    wrong: Vec<String>,
}

impl Mentions {
    /// Takes in a piece of code.
    fn read(&mut self, code: &Code) {
        let lines = command_lines(&code.text);
        for (number, line) in &lines {
            let place = format!("{}:{}", code.document, code.line + number);
            match shlex::split(line) {
                None => self.wrong.push(format!(
                    "{place}: `{PROGRAM} {line}` has a quote that does not end"
                )),
                Some(words) => {
                    if let Some(why) = refusal(&words) {
                        self.wrong
                            .push(format!("{place}: `{PROGRAM} {line}`: {why}"));
                    }
                    self.take(&place, command_of(&words), &words);
                }
            }
        }
        if code.language.is_some() || !lines.is_empty() {
            return;
        }
        let place = format!("{}:{}", code.document, code.line);
        // Within a sentence the name of the program is often left out: `up --yes`, `--deep`.
        let Some(words) = shlex::split(&code.text).filter(|words| !words.is_empty()) else {
            return;
        };
        let named = command_of(&words[..1]);
        if !named.is_empty() {
            self.take(&place, command_of(&words), &words);
        } else if words[0].starts_with("--") && words[0] != "--" {
            match &code.section {
                Section::Command(path) => self.take(&place, path.clone(), &words),
                Section::All => self.take(&place, Vec::new(), &words),
                Section::Elsewhere => self.look_for(&place, &words),
            }
        }
    }

    /// Options of a command, or of a command of it.
    fn take(&mut self, place: &str, path: Vec<String>, words: &[String]) {
        for option in options(words) {
            let below = VISIBLE.iter().filter(|(other, _)| other.starts_with(&path));
            let owners: Vec<_> = below
                .filter(|(_, has)| has.contains(&option))
                .map(|(path, _)| path.clone())
                .collect();
            if owners.is_empty() && !OF_OTHERS.contains(&option.as_str()) {
                self.wrong.push(format!(
                    "{place}: `{PROGRAM} {}` has no option `{option}`",
                    path.join(" ")
                ));
            }
            // What is said of a command in general is said of its commands too; what is said of every command, of each that has it.
            self.options
                .extend(owners.into_iter().map(|owner| (owner, option.clone())));
        }
        self.commands.insert(path);
    }

    /// An option by itself, in a document that is about something else: some command has it.
    fn look_for(&mut self, place: &str, words: &[String]) {
        for option in options(words) {
            let is_of_machine = place.starts_with(OF_MACHINE)
                && machine_options().iter().any(|own| own.long == option);
            if !is_of_machine
                && !VISIBLE.values().any(|has| has.contains(&option))
                && !OF_OTHERS.contains(&option.as_str())
            {
                self.wrong.push(format!(
                    "{place}: no command has the option `{option}`; if it is another program's, add it to OF_OTHERS in {}",
                    file!()
                ));
            }
        }
    }
}

fn mentions() -> Mentions {
    let mut all = Mentions::default();
    for piece in documents().iter().flat_map(code) {
        all.read(&piece);
    }
    all
}

/// Fails with a line for each thing that is wrong.
fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_command_line_in_the_documents_is_one_that_the_program_takes() {
    nothing(&mentions().wrong);
}

#[test]
fn every_command_and_every_option_is_in_a_document() {
    let said = mentions();
    let mut missing = Vec::new();
    for (path, has) in VISIBLE.iter() {
        let name = path.join(" ");
        let section = format!(
            "in {COMMANDS}, section `## {}`",
            path.first()
                .map_or("What every command takes", String::as_str)
        );
        if !path.is_empty() && !said.commands.contains(path) {
            missing.push(format!(
                "`{PROGRAM} {name}` is in no document: say what it does {section}"
            ));
        }
        let unsaid = has
            .iter()
            .filter(|option| !said.options.contains(&(path.clone(), (*option).clone())));
        missing.extend(unsaid.map(|option| {
            format!("`{PROGRAM} {name} {option}` is in no document with its command: say what it does {section}")
        }));
    }
    nothing(&missing);
}

/// A long option of docker-machine's command line.
struct MachineOption {
    verb: String,
    long: String,
    is_hidden: bool,
}

/// Those of all verbs, and those before the verb.
fn machine_options() -> Vec<MachineOption> {
    let mut program = Machine::command();
    program.build();
    let of = |command: &clap::Command| -> Vec<MachineOption> {
        let option = |argument: &clap::Arg| {
            let long = format!("--{}", argument.get_long()?);
            Some(MachineOption {
                verb: command.get_name().to_owned(),
                long,
                is_hidden: argument.is_hide_set(),
            })
        };
        command
            .get_arguments()
            .filter_map(option)
            .filter(|option| option.long != "--help")
            .collect()
    };
    let verbs = program
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    std::iter::once(&program)
        .chain(verbs)
        .flat_map(of)
        .collect()
}

#[test]
fn every_verb_of_docker_machine_and_every_option_is_described() {
    let document = documents()
        .into_iter()
        .find(|document| document.path == OF_MACHINE)
        .unwrap();
    let row = |verb: &str| {
        let rows = document.text.lines().filter(|line| line.starts_with("| `"));
        rows.filter(|line| {
            line[1..]
                .split('|')
                .next()
                .unwrap()
                .contains(&format!("`{verb}"))
        })
        .count()
    };
    let verbs = Machine::command();
    let missing = verbs
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|verb| row(verb) == 0);
    let mut missing: Vec<String> = missing
        .map(|verb| format!("{OF_MACHINE} has no row for `{verb}`"))
        .collect();
    let words: BTreeSet<&str> = document
        .text
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .collect();
    let shown = machine_options()
        .into_iter()
        .filter(|option| !option.is_hidden);
    let unsaid = shown.filter(|option| !words.contains(option.long.as_str()));
    missing.extend(
        unsaid.map(|MachineOption { verb, long, .. }| {
            format!("`{verb} {long}` is not in {OF_MACHINE}")
        }),
    );
    nothing(&missing);
}

#[test]
fn every_line_of_docker_machine_in_the_documents_is_one_that_it_takes() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for piece in documents()
        .iter()
        .filter(|document| document.path == OF_MACHINE)
        .flat_map(code)
    {
        for (number, line) in lines_of(&piece.text, &[MACHINE]) {
            let words = shlex::split(&format!("{MACHINE} {line}")).unwrap();
            count += 1;
            if let (true, Err(error)) =
                (words.len() > 1, Machine::try_parse_from(normalised(words)))
            {
                wrong.push(format!(
                    "{}:{}: `{MACHINE} {line}`: {error}",
                    piece.document,
                    piece.line + number
                ));
            }
        }
    }
    assert!(count > 3, "the lines are found");
    nothing(&wrong);
}

#[test]
fn every_command_has_a_section() {
    let text = std::fs::read_to_string(root().join(COMMANDS)).unwrap();
    let names: Vec<String> = VISIBLE
        .keys()
        .filter_map(|path| path.first().cloned())
        .collect();
    let missing = names
        .iter()
        .filter(|name| !text.lines().any(|line| line == format!("## {name}")));
    nothing(
        &missing
            .map(|name| format!("{COMMANDS} has no section `## {name}`"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_make_target_in_the_documents_is_there() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let mut wrong = Vec::new();
    for piece in documents().iter().flat_map(code) {
        for line in piece
            .text
            .lines()
            .filter_map(|line| line.trim_start_matches("$ ").strip_prefix("make "))
        {
            let words = line
                .split_whitespace()
                .take_while(|word| !word.starts_with('#'));
            for target in words.filter(|word| !word.contains('=')) {
                if !makefile
                    .lines()
                    .any(|line| line.starts_with(&format!("{target}:")))
                {
                    wrong.push(format!(
                        "{}:{}: the Makefile has no `{target}`",
                        piece.document, piece.line
                    ));
                }
            }
        }
    }
    nothing(&wrong);
}

/// The targets of links and images: `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let starts = text.match_indices("](");
    starts
        .filter_map(|(at, mark)| Some(text[at + mark.len()..].split_once(')')?.0.to_owned()))
        .collect()
}

/// The name by which a page shows a heading in its address, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let folder = root().join(Path::new(&document.path).parent().unwrap());
        for link in links(&document.text) {
            if link.contains("://") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                root().join(&document.path)
            } else {
                folder.join(file)
            };
            if !target.exists() {
                wrong.push(format!("{}: {link} is not there", document.path));
            } else if !place.is_empty()
                && !has_anchor(&std::fs::read_to_string(&target).unwrap(), place)
            {
                wrong.push(format!(
                    "{}: {link}: no heading is called so",
                    document.path
                ));
            }
        }
    }
    nothing(&wrong);
}

/// ```` ```yaml inventory ```` is read as it stands, ```` ```yaml part ```` together with a host.
#[test]
fn the_inventories_in_the_documents_are_read() {
    let mut count = 0;
    for piece in documents().iter().flat_map(code) {
        let text = match piece.language.as_deref() {
            Some("yaml inventory") => piece.text.clone(),
            Some("yaml part") => format!("{}\nhosts: [10.0.0.11]\n", piece.text),
            _ => continue,
        };
        let place = format!("{}:{}", piece.document, piece.line);
        if let Err(error) = Inventory::parse(&text, &place) {
            panic!("{}", error.render(100, Colour::Off));
        }
        count += 1;
    }
    assert!(count > 1, "no block of YAML is marked as an inventory");
}

/// The keys that a schema describes, at any depth.
fn keys(schema: &serde_json::Value, all: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(serde_json::Value::as_object) {
                all.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| keys(value, all));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, all)),
        _ => {}
    }
}

#[test]
fn every_key_of_an_inventory_is_described() {
    let mut known = BTreeSet::new();
    keys(&Inventory::schema(), &mut known);
    let document = documents()
        .into_iter()
        .find(|document| document.path == INVENTORY)
        .unwrap();
    let written: String = code(&document)
        .into_iter()
        .map(|piece| piece.text + "\n")
        .collect();
    let words: BTreeSet<&str> = written
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let missing = known.iter().filter(|key| !words.contains(key.as_str()));
    nothing(
        &missing
            .map(|key| format!("the key `{key}` is not in {INVENTORY}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_cause_is_described() {
    let text = std::fs::read_to_string(root().join("docs/verify.md")).unwrap();
    let missing = all_causes()
        .into_iter()
        .filter(|cause| !text.contains(&format!("`{}`", cause.id)));
    nothing(
        &missing
            .map(|cause| format!("the cause `{}` is not in docs/verify.md", cause.id))
            .collect::<Vec<_>>(),
    );
}

/// The codes that `--help` names, and the table of them.
#[test]
fn every_exit_code_is_described() {
    let help = Cli::command().get_after_help().unwrap().to_string();
    let codes: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.parse::<u8>().is_ok())
        .collect();
    assert!(codes.len() > 1, "{help}");
    let text = std::fs::read_to_string(root().join("docs/programs.md")).unwrap();
    let missing = codes
        .iter()
        .filter(|code| !text.contains(&format!("\n| {code} |")));
    nothing(
        &missing
            .map(|code| format!("the exit code {code} is not in docs/programs.md"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_readme_is_short() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let words = text.split_whitespace().count();
    assert!(
        words < README_WORDS,
        "README.md has {words} words: move what not everybody needs to docs/"
    );
}

/// What the other tests find, they find because these are told apart.
#[test]
fn what_is_wrong_is_found() {
    let told = |document: &str, text: &str| {
        let document = Document {
            path: document.to_owned(),
            text: text.to_owned(),
        };
        let mut all = Mentions::default();
        code(&document).iter().for_each(|piece| all.read(piece));
        all.wrong
    };
    for wrong in [
        "```\ndocker-cluster verify --deeper\n```\n",
        "```\n$ docker-cluster -f x.yaml prove\n```\n",
        "```\neval \"$(docker cluster env --swarn)\"\n```\n",
        "```\ndocker-cluster plan; target/release/docker-cluster up --no\n```\n",
        "Say `docker-cluster env`.\n",
        "Say `docker-cluster lab up --hosts three`.\n",
        "Say `up --sure`, and\nmore.\n",
        "- Say `--sure`.\n",
    ] {
        assert_ne!(told("docs/x.md", wrong), Vec::<String>::new(), "{wrong}");
    }
    assert_eq!(
        told(COMMANDS, "## verify\n\n`--deep` and `--purge`\n").len(),
        1,
        "an option of another command"
    );
    for good in [
        "```\n$ docker-cluster -f x.yaml up --lock-wait TIME   # waits, or --not\ndocker-cluster ssh HOST -- docker --version\n```\n",
        "```\ndocker-cluster init 10.0.0.11 > cluster.yaml && docker-cluster plan\n```\n",
        "Say `docker-cluster` or `docker cluster up`; `docker run --ip 10.0.0.1` and `--ip` are another's.\n",
    ] {
        assert_eq!(told("docs/x.md", good), Vec::<String>::new(), "{good}");
    }
    let two = "make it\ndocker-cluster up \\\n  --yes\ndocker-cluster plan\n";
    assert_eq!(
        command_lines(two),
        [(1, "up    --yes".to_owned()), (3, "plan".to_owned())]
    );
    assert_eq!(links("a [b](c.md#d) ![e](f.svg)"), ["c.md#d", "f.svg"]);
    assert_eq!(
        anchor(" `verify` and what it asks, again"),
        "verify-and-what-it-asks-again"
    );
}
