//! Templates of `--format`: what scripts use of Go's templates, over JSON. `{{.Driver.IPAddress}}`, `{{json .Driver}}`,
//! `{{index .Labels "disk"}}`, `{{.Name | upper}}`, parentheses, and `{{-` and `-}}` that take away blanks.
//!
//! A field that is not there is an error that says which there are: an empty word in a script is found too late.

use serde_json::Value;

use super::table::{Tone, table};
use crate::inventory::Colour;

/// A template.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
    is_table: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Pipeline(Pipeline),
}

/// Commands, each of which gets what the one before it gave as its last argument.
#[derive(Debug)]
struct Pipeline(Vec<Vec<Operand>>);

#[derive(Debug)]
enum Operand {
    Fields(Vec<String>),
    Text(String),
    Number(u64),
    Function(String),
    Group(Pipeline, Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Fields(Vec<String>),
    Text(String),
    Number(u64),
    Word(String),
    Open,
    Close,
    Pipe,
}

/// What a template begins with whose rows are a table.
const TABLE: &str = "table ";

impl Template {
    /// Parses one. `\t` and `\n` stand for a tab and a line feed, as in Docker's own `--format`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (is_table, text) = match text.strip_prefix(TABLE) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut rest = text;
        let mut parts = Vec::new();
        let mut trims = false;
        while let Some((before, after)) = rest.split_once("{{") {
            let (trims_before, after) = after
                .strip_prefix("- ")
                .map_or((false, after), |after| (true, after));
            let end =
                end_of_action(after).ok_or_else(|| format!("`{{{{{after}` has no end: `}}}}`"))?;
            let (action, behind) = (&after[..end], &after[end + "}}".len()..]);
            push_text(&mut parts, before, trims, trims_before);
            trims = action.ends_with(" -");
            let action = action.strip_suffix(" -").unwrap_or(action);
            let mut tokens = tokens(action)?.into_iter().peekable();
            parts.push(Part::Pipeline(pipeline(&mut tokens, action)?));
            if tokens.next().is_some() {
                return Err(format!("`{{{{{action}}}}}` has a `)` too many"));
            }
            rest = behind;
        }
        push_text(&mut parts, rest, trims, false);
        Ok(Self { parts, is_table })
    }

    /// One document through it.
    pub fn render(&self, document: &Value) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Pipeline(pipeline) => text.push_str(&shown(&pipeline.run(document)?)),
            }
        }
        Ok(text)
    }

    /// Many documents, a line each; with a head where it is a table.
    pub fn rows(
        &self,
        documents: &[Value],
        colour: Colour,
        width: usize,
    ) -> Result<String, String> {
        let rows = documents
            .iter()
            .map(|document| self.render(document))
            .collect::<Result<Vec<_>, _>>()?;
        if !self.is_table {
            return Ok(rows.iter().map(|row| format!("{row}\n")).collect());
        }
        let heads: Vec<String> = self
            .head()
            .split('\t')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let cells = |row: &String| {
            row.split('\t')
                .map(|cell| (cell.to_owned(), Tone::Plain))
                .collect()
        };
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        Ok(table(
            &heads,
            rows.iter().map(cells).collect(),
            colour,
            width,
        ))
    }

    /// The head of its table: the last field of each part, in capitals.
    fn head(&self) -> String {
        let name = |pipeline: &Pipeline| {
            let operands = pipeline.0.iter().flatten();
            let mut fields = operands.filter_map(|operand| match operand {
                Operand::Fields(fields) | Operand::Group(_, fields) => fields.last(),
                _ => None,
            });
            fields
                .next_back()
                .map_or_else(String::new, |name| name.to_uppercase())
        };
        let head = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Pipeline(pipeline) => name(pipeline),
        });
        head.collect()
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str, trims_front: bool, trims_end: bool) {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let text = if trims_front {
        text.trim_start()
    } else {
        &text
    };
    let text = if trims_end { text.trim_end() } else { text };
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// Where `}}` is that is not within quotes.
fn end_of_action(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut skip = false;
    for (at, c) in text.char_indices() {
        match quote {
            _ if skip => skip = false,
            Some('"') if c == '\\' => skip = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn tokens(action: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let word_end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '|' | '(' | ')'))
            .unwrap_or(rest.len());
        let (token, length) = match first {
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' => {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let text = stream
                    .next()
                    .and_then(Result::ok)
                    .ok_or_else(|| format!("`{rest}` is no text"))?;
                (Token::Text(text), stream.byte_offset())
            }
            '`' => {
                let end = rest[1..]
                    .find('`')
                    .ok_or_else(|| format!("`{rest}` is no text"))?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '.' => {
                let names = rest[1..word_end].split('.').filter(|name| !name.is_empty());
                (Token::Fields(names.map(str::to_owned).collect()), word_end)
            }
            '0'..='9' => {
                let number = rest[..word_end]
                    .parse()
                    .map_err(|_| format!("`{}` is no number", &rest[..word_end]))?;
                (Token::Number(number), word_end)
            }
            _ => (Token::Word(rest[..word_end].to_owned()), word_end),
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

fn pipeline(tokens: &mut Tokens, action: &str) -> Result<Pipeline, String> {
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.next_if(|token| *token != Token::Close) {
        let operand = match token {
            Token::Pipe => {
                commands.push(Vec::new());
                continue;
            }
            Token::Open => {
                let inner = pipeline(tokens, action)?;
                if tokens.next() != Some(Token::Close) {
                    return Err(format!("`{{{{{action}}}}}` lacks a `)`"));
                }
                // `(index .A 0).B`
                let behind = tokens
                    .next_if(|token| matches!(token, Token::Fields(names) if !names.is_empty()));
                let fields = if let Some(Token::Fields(names)) = behind {
                    names
                } else {
                    Vec::new()
                };
                Operand::Group(inner, fields)
            }
            Token::Fields(names) => Operand::Fields(names),
            Token::Text(text) => Operand::Text(text),
            Token::Number(number) => Operand::Number(number),
            Token::Word(word) => Operand::Function(word),
            Token::Close => continue,
        };
        if let Some(command) = commands.last_mut() {
            command.push(operand);
        }
    }
    match commands.iter().any(Vec::is_empty) {
        true => Err(format!(
            "`{{{{{action}}}}}` has nothing in it, or beside a `|`"
        )),
        false => Ok(Pipeline(commands)),
    }
}

impl Pipeline {
    fn run(&self, document: &Value) -> Result<Value, String> {
        let mut last: Option<Value> = None;
        for command in &self.0 {
            let (name, operands) = match command.as_slice() {
                [Operand::Function(name), operands @ ..] => (Some(name), operands),
                operands => (None, operands),
            };
            let mut values = operands
                .iter()
                .map(|operand| operand.value(document))
                .collect::<Result<Vec<Value>, _>>()?;
            values.extend(last);
            last = Some(match (name, values.as_slice()) {
                (Some(name), values) => call(name, values)?,
                (None, [value]) => value.clone(),
                (None, _) => return Err("of two values side by side none is a function".to_owned()),
            });
        }
        Ok(last.unwrap_or_default())
    }
}

impl Operand {
    fn value(&self, document: &Value) -> Result<Value, String> {
        match self {
            Self::Fields(names) => walk(document.clone(), names),
            Self::Text(text) => Ok(text.clone().into()),
            Self::Number(number) => Ok((*number).into()),
            Self::Group(pipeline, names) => walk(pipeline.run(document)?, names),
            Self::Function(name) => call(name, &[]),
        }
    }
}

fn walk(mut value: Value, names: &[String]) -> Result<Value, String> {
    for name in names {
        value = match value {
            Value::Object(mut map) => map.remove(name).ok_or_else(|| {
                let known: Vec<&str> = map.keys().map(String::as_str).collect();
                format!(
                    "there is no field `.{name}`; there are {}",
                    known.join(", ")
                )
            })?,
            other => return Err(format!("`.{name}` cannot be taken of {}", shown(&other))),
        };
    }
    Ok(value)
}

fn call(name: &str, values: &[Value]) -> Result<Value, String> {
    let text = |change: fn(&str) -> String| match values {
        [value] => Ok(Value::from(change(&shown(value)))),
        _ => Err(format!("`{name}` takes one value")),
    };
    match (name, values) {
        ("json", [value]) => Ok(value.to_string().into()),
        ("prettyjson", [value]) => Ok(pretty(value).into()),
        ("len", [Value::Array(all)]) => Ok(all.len().into()),
        ("len", [Value::Object(all)]) => Ok(all.len().into()),
        ("len", [value]) => Ok(shown(value).chars().count().into()),
        ("upper", _) => text(str::to_uppercase),
        ("lower", _) => text(str::to_lowercase),
        ("join", [Value::Array(all), Value::String(between)]) => Ok(all
            .iter()
            .map(shown)
            .collect::<Vec<_>>()
            .join(between)
            .into()),
        ("index", [value, keys @ ..]) => keys
            .iter()
            .try_fold(value.clone(), |value, key| index(&value, key)),
        ("json" | "prettyjson" | "len" | "join" | "index", _) => {
            Err(format!("`{name}` is given what it cannot take"))
        }
        _ => Err(format!(
            "there is no function `{name}`; there are json, prettyjson, index, len, join, upper and lower"
        )),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    let found = match (value, key) {
        (Value::Object(map), Value::String(key)) => map.get(key),
        (Value::Array(all), Value::Number(at)) => at
            .as_u64()
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| all.get(at)),
        _ => None,
    };
    found
        .cloned()
        .ok_or_else(|| format!("there is no {} in {value}", shown(key)))
}

/// With four blanks a level, as docker-machine writes it.
pub fn pretty(value: &Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, format);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}

/// A value among text.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str) -> Result<String, String> {
        let document = json!({
            "Name": "a",
            "Driver": {"IPAddress": "10.0.0.1", "SSHPort": 22},
            "Labels": {"disk": "ssd"},
            "Tags": ["x", "y"],
            "Swarm": null,
            "Up": true,
        });
        Template::parse(text)?.render(&document)
    }

    #[test]
    fn what_scripts_use_of_gos_templates() {
        for (template, text) in [
            ("{{.Driver.IPAddress}}", "10.0.0.1"),
            ("{{ .Name }}\\t{{.Driver.SSHPort}}:{{.Up}}", "a\t22:true"),
            (
                "{{json .Driver}}",
                r#"{"IPAddress":"10.0.0.1","SSHPort":22}"#,
            ),
            ("{{.Tags | json}}", r#"["x","y"]"#),
            ("{{prettyjson .Labels}}", "{\n    \"disk\": \"ssd\"\n}"),
            ("{{index .Labels \"disk\"}} {{index .Tags 1}}", "ssd y"),
            ("{{(index .Tags 0) | upper}}{{len .Tags}}", "X2"),
            ("{{join .Tags \", \"}}{{.Swarm}}", "x, y"),
            ("a {{- .Name -}} b", "aab"),
            ("{{\"}}\"}}{{`{{`}}", "}}{{"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(render(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said() {
        for (template, why) in [
            ("{{.Nam}}", "no field `.Nam`; there are Name, Driver"),
            ("{{.Name.First}}", "`.First` cannot be taken of a"),
            ("{{.Name", "has no end"),
            ("{{}}", "has nothing in it"),
            ("{{.Name |}}", "beside a `|`"),
            ("{{(.Name}}", "lacks a `)`"),
            ("{{.Name)}}", "a `)` too many"),
            ("{{env \"HOME\"}}", "no function `env`"),
            ("{{range .Tags}}", "no function `range`"),
            ("{{index .Tags 9}}", "there is no 9 in"),
            ("{{.Name .Up}}", "none is a function"),
        ] {
            let said = render(template).unwrap_err();
            assert!(said.contains(why), "{template}: {said}");
        }
    }

    #[test]
    fn a_table_has_a_head() {
        let template = Template::parse("table {{.Name}}\\t{{.Driver.IPAddress | upper}}").unwrap();
        let row = |name: &str| json!({"Name": name, "Driver": {"IPAddress": "10.0.0.1"}});
        let text = template
            .rows(&[row("a"), row("db-long")], Colour::Off, 80)
            .unwrap();
        assert_eq!(
            text,
            "NAME     IPADDRESS\na        10.0.0.1\ndb-long  10.0.0.1\n"
        );
    }
}
