//! The shells of people: how each is told to set a variable, and to forget one.
//!
//! A value is quoted so that its shell makes nothing of it. What a shell has no quoting for is refused, not guessed at.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::error::Error;

/// A change of a shell's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Set it, for the programs that the shell starts as well.
    Set(String, String),
    /// The same with a list of folders, which some shells keep as a list.
    SetPath(String, String),
    /// Forget it.
    Unset(String),
}

/// A shell, or what reads lines as one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Any POSIX shell
    #[value(alias = "dash", alias = "ksh")]
    Sh,
    /// GNU Bash
    Bash,
    /// Zsh
    Zsh,
    /// fish
    Fish,
    /// PowerShell
    #[value(name = "powershell", alias = "pwsh")]
    PowerShell,
    /// The command prompt of Windows
    Cmd,
    /// tcsh and csh
    #[value(alias = "csh")]
    Tcsh,
    /// Emacs Lisp
    Emacs,
    /// Nushell
    #[value(alias = "nu")]
    Nushell,
}

/// What PowerShell takes for a single quote: the ASCII one, and those that word processors put in its place.
const POWERSHELL_QUOTES: [char; 5] = ['\'', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}'];

impl Shell {
    /// The one that `$SHELL` names, by the last part of its path; any that is not known is taken for a POSIX shell.
    #[must_use]
    pub fn of_login(shell: Option<&str>) -> Self {
        let name = shell
            .unwrap_or_default()
            .rsplit('/')
            .next()
            .unwrap_or_default();
        Self::from_str(name, false).unwrap_or(Self::Sh)
    }

    /// Its name, as `--shell` takes it.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it can run the `ssh` of our own, which is a script: the command prompt looks for programs of Windows.
    #[must_use]
    pub fn runs_scripts(self) -> bool {
        self != Self::Cmd
    }

    /// The lines that make these changes.
    pub fn lines(self, changes: &[Change]) -> Result<String, Error> {
        let mut text = String::new();
        for change in changes {
            let line = match change {
                Change::Set(name, value) => self.set(name, value)?,
                Change::SetPath(name, value) => self.set_path(name, value)?,
                Change::Unset(name) => self.unset(name),
            };
            let _ = writeln!(text, "{line}");
        }
        Ok(text)
    }

    fn set(self, name: &str, value: &str) -> Result<String, Error> {
        let quoted = self.quote(name, value)?;
        Ok(match self {
            Self::Sh | Self::Bash | Self::Zsh => format!("export {name}={quoted}"),
            Self::Fish => format!("set -gx {name} {quoted};"),
            Self::Tcsh => format!("setenv {name} {quoted};"),
            Self::PowerShell => format!("$Env:{name} = {quoted}"),
            Self::Cmd => format!("SET {quoted}"),
            Self::Emacs => format!("(setenv \"{name}\" {quoted})"),
            Self::Nushell => format!("$env.{name} = {quoted}"),
        })
    }

    fn set_path(self, name: &str, value: &str) -> Result<String, Error> {
        let each = || {
            value
                .split(':')
                .map(|folder| self.quote(name, folder))
                .collect::<Result<Vec<_>, _>>()
        };
        match self {
            Self::Fish => Ok(format!("set -gx {name} {};", each()?.join(" "))),
            Self::Nushell => Ok(format!("$env.{name} = [{}]", each()?.join(", "))),
            _ => self.set(name, value),
        }
    }

    fn unset(self, name: &str) -> String {
        match self {
            Self::Sh | Self::Bash | Self::Zsh => format!("unset {name}"),
            // Only the global one, which programs got: a universal one is of all shells of a person, and on disk.
            Self::Fish => format!("set -eg {name};"),
            Self::Tcsh => format!("unsetenv {name};"),
            Self::PowerShell => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue"),
            Self::Cmd => format!("SET {name}="),
            Self::Emacs => format!("(setenv \"{name}\" nil)"),
            Self::Nushell => format!("hide-env --ignore-errors {name}"),
        }
    }

    /// The last line: how a shell is made to take these lines. `command` is what has printed them.
    pub fn hint(self, command: &[String]) -> Result<String, Error> {
        let words = shlex::try_join(command.iter().map(String::as_str));
        let words = words.map_err(|_| refused(self, "the command line", "a NUL byte"))?;
        if words.contains('\n') {
            // No comment has more than a line.
            return Ok(String::new());
        }
        Ok(match self {
            Self::Sh | Self::Bash | Self::Zsh => format!("# eval \"$({words})\"\n"),
            Self::Fish => format!("# {words} | source\n"),
            // This shell knows no comments where a person types: a command that does nothing, and its arguments.
            Self::Tcsh => format!(": {};\n", tcsh_quote(&format!("eval \"`{words}`\""))),
            Self::PowerShell => format!("# & {words} | Invoke-Expression\n"),
            Self::Cmd => format!("REM \t@FOR /f \"tokens=*\" %i IN ('{words}') DO @%i\n"),
            Self::Emacs => {
                format!(
                    ";; (with-temp-buffer (shell-command {} (current-buffer)) (eval-buffer))\n",
                    emacs_quote(&words)
                )
            }
            Self::Nushell => format!(
                "# {words} | save --force ~/.docker-cluster.nu\n\
                 # source ~/.docker-cluster.nu\n"
            ),
        })
    }

    /// A value as one word of this shell. `name` is the variable's, for the refusal.
    fn quote(self, name: &str, value: &str) -> Result<String, Error> {
        if value.contains('\0') {
            return Err(refused(self, name, "a NUL byte"));
        }
        Ok(match self {
            Self::Sh | Self::Bash | Self::Zsh => shlex::try_quote(value)
                .map_err(|_| refused(self, name, "a NUL byte"))?
                .into(),
            // The lines may be joined with blanks before they are read: no line feed within one.
            Self::Fish => {
                let text = value
                    .replace('\\', "\\\\")
                    .replace('\'', "\\'")
                    .replace('\n', "'\\n'");
                format!("'{text}'")
            }
            Self::Tcsh if value.contains('\n') => return Err(refused(self, name, "a line feed")),
            Self::Tcsh => tcsh_quote(value),
            // Its lines arrive one by one.
            Self::PowerShell if value.contains(['\n', '\r']) => {
                return Err(refused(self, name, "a line feed"));
            }
            Self::PowerShell => {
                let double = |c: char| {
                    std::iter::repeat_n(c, if POWERSHELL_QUOTES.contains(&c) { 2 } else { 1 })
                };
                format!("'{}'", value.chars().flat_map(double).collect::<String>())
            }
            // Between these quotes only a percent sign and another quote mean something, and nothing takes that away.
            Self::Cmd => match value.chars().find(|c| matches!(c, '%' | '"' | '\n' | '\r')) {
                Some('\n' | '\r') => return Err(refused(self, name, "a line feed")),
                Some(c) => return Err(refused(self, name, &format!("`{c}`"))),
                None => format!("\"{name}={value}\""),
            },
            Self::Emacs => emacs_quote(value),
            Self::Nushell => nushell_quote(value),
        })
    }
}

fn refused(shell: Shell, name: &str, what: &str) -> Error {
    Error::failed(format!(
        "{name} holds {what}, which {} cannot be told",
        shell.name()
    ))
    .hint("`--shell` names another shell; `--output json` has the values as they are")
}

/// `!` calls up the history even between single quotes.
fn tcsh_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('!', "\\!"))
}

fn emacs_quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Between double quotes with JSON's escapes; `$` and parentheses mean nothing there.
fn nushell_quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELLS: &[Shell] = &[
        Shell::Sh,
        Shell::Bash,
        Shell::Zsh,
        Shell::Fish,
        Shell::PowerShell,
        Shell::Cmd,
        Shell::Tcsh,
        Shell::Emacs,
        Shell::Nushell,
    ];

    #[test]
    fn each_shell_has_its_own_words() {
        let changes = [
            Change::Set("A".to_owned(), "it's 5 $x".to_owned()),
            Change::SetPath("PATH".to_owned(), "/a b:/c".to_owned()),
            Change::Unset("B".to_owned()),
        ];
        let command = ["docker-cluster", "env", "a"].map(str::to_owned);
        let text: String = SHELLS
            .iter()
            .map(|shell| {
                format!(
                    "{}:\n{}{}",
                    shell.name(),
                    shell.lines(&changes).unwrap(),
                    shell.hint(&command).unwrap()
                )
            })
            .collect();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_login_shell_is_known_by_the_last_part_of_its_path() {
        for (path, shell) in [
            (Some("/usr/bin/fish"), Shell::Fish),
            (Some("/bin/csh"), Shell::Tcsh),
            (Some("/bin/ksh"), Shell::Sh),
            (Some("/usr/bin/pwsh"), Shell::PowerShell),
            (Some("nu"), Shell::Nushell),
            (Some("/opt/xonsh"), Shell::Sh),
            (Some(""), Shell::Sh),
            (None, Shell::Sh),
        ] {
            assert_eq!(Shell::of_login(path), shell, "{path:?}");
        }
    }

    #[test]
    fn what_a_shell_cannot_be_told_is_refused() {
        let set = |value: &str| vec![Change::Set("A".to_owned(), value.to_owned())];
        for (shell, value, what) in [
            (Shell::Cmd, "50%", "A holds `%`, which cmd cannot be told"),
            (Shell::Cmd, "a\"b", "A holds `\"`"),
            (Shell::Cmd, "a\nb", "A holds a line feed"),
            (
                Shell::PowerShell,
                "a\nb",
                "A holds a line feed, which powershell",
            ),
            (Shell::Tcsh, "a\nb", "A holds a line feed, which tcsh"),
            (Shell::Sh, "a\0b", "a NUL byte"),
        ] {
            let said = format!("{:?}", shell.lines(&set(value)).unwrap_err());
            assert!(
                said.contains(&format!("{what:?}")[1..format!("{what:?}").len() - 1]),
                "{said}"
            );
        }
    }
}
