//! `env` in the shells of people: each reads what is printed for it, and what programs that it starts then see is what was meant.
//!
//! A shell that is not installed here is said to be *skipped*.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-cluster");

const INVENTORY: &str =
    "hosts: [{name: a, address: db-1, ssh: {user: ops, port: 2222}}, {name: b, address: db-2}]\n";

/// What other tools left, with everything in it that some shell makes something of. Only the command prompt cannot be told all of it.
const LEFT: [(&str, &str); 6] = [
    (
        "DOCKER_CERT_PATH",
        r#"/a  b/it's "my" $HOME/`id`/!x/\n\\/%PATH%/(c)/{d}/*/~/#e;f&g|h<i>j^k’l"#,
    ),
    ("DOCKER_TLS_VERIFY", "1"),
    ("DOCKER_CONTEXT", "other"),
    ("DOCKER_MACHINE_NAME", "default"),
    ("DOCKER_HOST", "tcp://192.168.99.100:2376"),
    ("NO_PROXY", "localhost, .example.org"),
];

/// Says past the capture of a test's output that it did not run.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

type Variables = BTreeMap<String, String>;

/// A home with an inventory, and `dc`, which is docker-cluster.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cluster.yaml"), INVENTORY).unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(PROGRAM, bin.join("dc")).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, shell: &Path, left: &[(&str, &str)]) -> Command {
        let mut command = Command::new(shell);
        command
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.path())
            .env("PATH", self.search_path())
            .current_dir(self.path());
        command.envs(left.iter().copied());
        command
    }

    /// Folders of programs, one of them with blanks in its name.
    fn search_path(&self) -> String {
        format!(
            "{}:/opt/a  b's:/usr/bin:/bin",
            self.path().join("bin").display()
        )
    }

    /// Has a shell run these lines, and returns what programs saw at each `seen`, which writes to a file of its own.
    fn run(
        &self,
        shell: &Path,
        options: &[&str],
        left: &[(&str, &str)],
        lines: &str,
    ) -> Vec<Variables> {
        let seen = self.path().join("bin/seen");
        // Variables with a line feed would need a format of their own: there is none among what is looked at.
        let script = format!(
            "#!/bin/sh\nexec env > '{}'/seen.$$\n",
            self.path().display()
        );
        std::fs::write(&seen, script).unwrap();
        assert!(
            Command::new("chmod")
                .arg("+x")
                .arg(&seen)
                .status()
                .unwrap()
                .success()
        );
        let ran = self
            .command(shell, left)
            .args(options)
            .arg(lines)
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
        );
        assert!(
            ran.status.success() && err.is_empty(),
            "{}: {lines}\n{out}{err}",
            shell.display()
        );
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension().is_some() && path.file_stem().is_some_and(|stem| stem == "seen")
            })
            .collect();
        files.sort_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap());
        files
            .iter()
            .map(|file| variables(&std::fs::read_to_string(file).unwrap()))
            .collect()
    }
}

/// Of what `env` prints, what is Docker's, a proxy's, or the PATH.
fn variables(text: &str) -> Variables {
    let ours = |name: &str| {
        name.starts_with("DOCKER") || name == "PATH" || name.eq_ignore_ascii_case("no_proxy")
    };
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The lines of a shell: point at a host, look, take it back, look again.
fn both_ways(shell: &Path, options: &[&str], lines: &str) {
    for left in [&LEFT[..], &[]] {
        let home = Home::new();
        let seen = home.run(shell, options, left, lines);
        let [during, after] = seen.as_slice() else {
            panic!("{}: {seen:?}", shell.display())
        };
        let mut before: Variables = left
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        before.insert("PATH".to_owned(), home.search_path());
        assert_eq!(
            *after,
            before,
            "{}: what was there is there again",
            shell.display()
        );
        assert_eq!(
            during["DOCKER_HOST"],
            "ssh://ops@db-1:2222",
            "{}",
            shell.display()
        );
        assert_eq!(during["DOCKER_MACHINE_NAME"], "a");
        let list = before
            .get("NO_PROXY")
            .map_or_else(|| "db-1".to_owned(), |list| format!("{list},db-1"));
        assert_eq!(during["NO_PROXY"], list);
        for name in ["DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_CONTEXT"] {
            assert_eq!(during.get(name), None, "{}", shell.display());
            assert_eq!(
                during.get(&format!("DOCKER_CLUSTER_SAVED_{name}")),
                before.get(name),
                "{}",
                shell.display()
            );
        }
        let shim = home.path().join(".local/state/docker-cluster/ssh/cluster");
        assert_eq!(
            during["PATH"],
            format!("{}:{}", shim.display(), home.search_path()),
            "{}",
            shell.display()
        );
    }
}

/// Runs the test where the shell is.
fn in_shell(name: &str, options: &[&str], lines: &str) {
    match find(name) {
        Some(shell) => both_ways(&shell, options, lines),
        None => skipped(&format!(
            "there is no {name} here, so nobody has read what `env --shell {name}` prints"
        )),
    }
}

#[test]
fn posix_shells() {
    for shell in ["sh", "bash", "zsh", "ksh", "busybox"] {
        let options: &[&str] = if shell == "busybox" {
            &["sh", "-c"]
        } else {
            &["-c"]
        };
        let lines = r#"eval "$(dc env --no-proxy a)"; seen; eval "$(dc env --unset)"; seen"#;
        in_shell(shell, options, lines);
    }
}

#[test]
fn fish() {
    in_shell(
        "fish",
        &["-c"],
        "dc env --shell fish --no-proxy a | source; seen; dc env --shell fish --unset | source; seen",
    );
    // As docker-machine's users do it.
    in_shell(
        "fish",
        &["-c"],
        "eval (dc env --shell fish --no-proxy a); seen; eval (dc env --shell fish --unset); seen",
    );
}

#[test]
fn tcsh() {
    let lines = "eval \"`dc env --shell tcsh --no-proxy a`\"; seen; eval \"`dc env --shell tcsh --unset`\"; seen";
    in_shell("tcsh", &["-f", "-c"], lines);
}

#[test]
fn emacs() {
    let read = |arguments: &str| {
        format!(
            r#"(with-temp-buffer (shell-command "dc env --shell emacs {arguments}" (current-buffer)) (eval-buffer))"#
        )
    };
    let lines = format!(
        r#"(progn {} (call-process-shell-command "seen") {} (call-process-shell-command "seen"))"#,
        read("--no-proxy a"),
        read("--unset")
    );
    in_shell("emacs", &["--quick", "--batch", "--eval"], &lines);
}

#[test]
fn nushell() {
    // What is sourced must be there before a line is read: a shell for each of the two.
    let lines = "^dc env --shell nushell --no-proxy a | save --force in.nu
        ^$nu.current-exe --no-config-file --commands 'source in.nu
            ^seen
            ^dc env --shell nushell --unset | save --force out.nu
            ^$nu.current-exe --no-config-file --commands \"source out.nu
                ^seen\"'";
    in_shell("nu", &["--no-config-file", "--commands"], lines);
    // And with JSON, in one go.
    let lines =
        "def --env take [] { let e = $in | from json; load-env $e.set; hide-env ...$e.unset }
        ^dc env --output json --no-proxy a | take
        ^seen
        ^dc env --output json --unset | take
        ^seen";
    in_shell("nu", &["--no-config-file", "--commands"], lines);
}

#[test]
fn powershell() {
    let lines = "dc env --shell powershell --no-proxy a | Invoke-Expression; seen; \
        dc env --shell powershell --unset | Invoke-Expression; seen";
    in_shell("pwsh", &["-NoProfile", "-Command"], lines);
}

/// It runs on Windows alone: what it is told is held as text, with the values that it cannot be told.
#[test]
fn the_command_prompt() {
    skipped(
        "the command prompt of Windows is nowhere else, so nobody has read what `env --shell cmd` prints",
    );
    let home = Home::new();
    let dc = |left: &[(&str, &str)], arguments: &[&str]| {
        let ran = home
            .command(Path::new(PROGRAM), left)
            .args(arguments)
            .output()
            .unwrap();
        (
            ran.status.code(),
            String::from_utf8(ran.stdout).unwrap(),
            String::from_utf8(ran.stderr).unwrap(),
        )
    };
    let (code, out, err) = dc(
        &[("DOCKER_TLS_VERIFY", "1")],
        &["env", "--shell", "cmd", "a"],
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        "SET \"DOCKER_HOST=ssh://ops@db-1:2222\"\nSET \"DOCKER_MACHINE_NAME=a\"\n\
         SET \"DOCKER_CLUSTER_HOST=ssh://ops@db-1:2222\"\nSET \"DOCKER_CLUSTER_NAME=a\"\n\
         SET \"DOCKER_CLUSTER_SAVED_DOCKER_TLS_VERIFY=1\"\nSET DOCKER_TLS_VERIFY=\n\
         REM \t@FOR /f \"tokens=*\" %i IN ('docker-cluster env --shell cmd a') DO @%i\n",
        "and no PATH: its programs are not those of this machine"
    );
    let (code, out, err) = dc(&LEFT, &["env", "--shell", "cmd", "a"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "nothing half");
    assert!(
        err.contains("DOCKER_CLUSTER_SAVED_DOCKER_CERT_PATH holds `\"`, which cmd cannot be told"),
        "{err}"
    );
}

#[test]
fn the_shell_is_the_persons_own_unless_another_is_named() {
    let home = Home::new();
    let first = |shell: &[(&str, &str)], arguments: &[&str]| {
        let ran = home
            .command(Path::new(PROGRAM), shell)
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(ran.stdout)
            .unwrap()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let host = "ssh://ops@db-1:2222";
    assert_eq!(
        first(&[], &["env", "a"]),
        format!("export DOCKER_HOST={host}")
    );
    assert_eq!(
        first(&[("SHELL", "/usr/bin/fish")], &["env", "a"]),
        format!("set -gx DOCKER_HOST '{host}';")
    );
    assert_eq!(
        first(&[("SHELL", "/bin/tcsh")], &["env", "a"]),
        format!("setenv DOCKER_HOST '{host}';")
    );
    let named = ["env", "--shell", "bash", "a"];
    assert_eq!(
        first(&[("SHELL", "/usr/bin/fish")], &named),
        format!("export DOCKER_HOST={host}")
    );
    assert_eq!(
        first(&[("SHELL", "/usr/bin/fish")], &["env", "-u"]),
        "set -eg DOCKER_HOST;"
    );
}

/// The hint is the command that was typed, so that it can be copied.
#[test]
fn the_hint_repeats_the_command() {
    let home = Home::new();
    let last = |arguments: &[&str]| {
        let ran = home
            .command(Path::new(PROGRAM), &[])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(ran.stdout)
            .unwrap()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(last(&["env", "a"]), "# eval \"$(docker-cluster env a)\"");
    let file = home.path().join("cluster.yaml");
    let file = file.to_str().unwrap();
    assert_eq!(
        last(&["-f", file, "env", "--shell", "fish", "--no-proxy", "a"]),
        format!("# docker-cluster -f {file} env --shell fish --no-proxy a | source")
    );
    assert_eq!(
        last(&["env", "--shell", "tcsh", "a"]),
        ": 'eval \"`docker-cluster env --shell tcsh a`\"';"
    );
}
