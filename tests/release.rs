//! What a release is made of: a version that says its commit, completions that shells read, manual pages that man reads, and files with
//! their checksums.

use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-cluster");

/// Says past the capture of a test's output that a part of it did not run.
fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

/// Runs a program that must succeed without a word on standard error, and returns what it printed.
fn quiet(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && err.is_empty(), "{command:?}: {err}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A script, which gets the program without what only a debugger reads: that is most of it.
fn script(name: &str, folder: &Path) -> Command {
    let binary = folder.join("docker-cluster");
    let stripped = Command::new("strip")
        .arg("-o")
        .arg(&binary)
        .arg(PROGRAM)
        .output();
    let binary = if stripped.is_ok_and(|ran| ran.status.success()) {
        binary
    } else {
        PathBuf::from(PROGRAM)
    };
    let mut command = Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts")
            .join(name),
    );
    command
        .env("BINARY", binary)
        .env("PACK", "fast")
        .env_remove("SOURCE_DATE_EPOCH");
    command
}

#[test]
fn the_version_says_what_it_is_made_of() {
    let version = quiet(Command::new(PROGRAM).arg("--version"));
    let rest = version
        .strip_prefix(concat!("docker-cluster ", env!("CARGO_PKG_VERSION"), " ("))
        .unwrap();
    let of = rest.strip_suffix(")\n").unwrap();
    let is_commit = of.len() == 12 && of.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(
        is_commit || ["debug build", "unknown"].contains(&of),
        "{version}"
    );
}

/// The build script in a checkout, in an archive that lies in somebody else's checkout, and in a crate as cargo packs it.
#[test]
fn a_release_says_its_commit_and_an_archive_nobody_elses() {
    let work = tempfile::tempdir().unwrap();
    let program = work.path().join("build-script");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    quiet(
        Command::new(rustc)
            .args(["--edition", "2024", "-o"])
            .arg(&program)
            .arg(source),
    );
    let git = |arguments: &[&str]| {
        let name = ["-c", "user.name=x", "-c", "user.email=x@localhost"];
        quiet(
            Command::new("git")
                .args(name)
                .args(arguments)
                .current_dir(work.path()),
        )
    };
    git(&["init", "-q"]);
    std::fs::write(work.path().join("Cargo.toml"), "").unwrap();
    git(&["add", "Cargo.toml"]);
    git(&["commit", "-q", "-m", "x"]);
    let commit = |folder: &Path, variables: &[(&str, &str)]| {
        let mut command = Command::new(&program);
        command
            .current_dir(folder)
            .env_remove("DOCKER_CLUSTER_COMMIT")
            .env("PROFILE", "release");
        let out = quiet(command.envs(variables.iter().copied()));
        let commit = out
            .lines()
            .find_map(|line| line.strip_prefix("cargo:rustc-env=BUILD_COMMIT="))
            .unwrap()
            .to_owned();
        (commit, out)
    };
    let head = git(&["rev-parse", "HEAD"]);
    let (here, out) = commit(work.path(), &[]);
    assert_eq!(here, head[..12]);
    assert!(
        out.contains("cargo:rerun-if-changed=.git/logs/HEAD"),
        "a new commit is seen: {out}"
    );
    assert_eq!(
        commit(work.path(), &[("PROFILE", "debug")]).0,
        "debug build"
    );
    let archive = work.path().join("unpacked");
    std::fs::create_dir(&archive).unwrap();
    std::fs::write(archive.join("Cargo.toml"), "").unwrap();
    assert_eq!(commit(&archive, &[]).0, "unknown");
    assert_eq!(
        commit(&archive, &[("DOCKER_CLUSTER_COMMIT", "0123456789abcdef")]).0,
        "0123456789ab"
    );
    assert_eq!(
        commit(&archive, &[("PATH", "/nowhere")]).0,
        "unknown",
        "without git"
    );
    let packed = r#"{"git": {"sha1": "fedcba9876543210"}, "path_in_vcs": ""}"#;
    std::fs::write(archive.join(".cargo_vcs_info.json"), packed).unwrap();
    assert_eq!(commit(&archive, &[]).0, "fedcba987654");
}

/// Into a folder of its own, as a package is made; then by its defaults, into a home.
#[test]
fn an_installation_is_whole() {
    let (root, built) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let installed = script("install", built.path())
        .env("DESTDIR", root.path())
        .env("PREFIX", "/usr")
        .env("PLUGINS", "/plugins")
        .output();
    let installed = installed.unwrap();
    assert!(
        installed.status.success(),
        "{}",
        String::from_utf8_lossy(&installed.stderr)
    );
    let share = root.path().join("usr/share");
    completions_are_read(&share);
    pages_are_read(&share.join("man/man1"));
    assert_eq!(
        std::fs::read_link(root.path().join("plugins/docker-cluster")).unwrap(),
        Path::new("/usr/bin/docker-cluster")
    );
    let home = tempfile::tempdir().unwrap();
    let mut by_default = script("install", built.path());
    for name in ["DESTDIR", "PREFIX", "PLUGINS", "DOCKER_CONFIG"] {
        by_default.env_remove(name);
    }
    let said = quiet(
        by_default
            .env("HOME", home.path())
            .env("DOCKER_MACHINE", "yes"),
    );
    assert!(
        said.contains("Installed docker-cluster")
            && said.contains("not in your PATH; `docker cluster` works all the same"),
        "{said}"
    );
    // Docker's client looks for plugins in some folders only.
    let elsewhere = home.path().join("elsewhere");
    let said = quiet(by_default.env("PLUGINS", &elsewhere));
    assert!(
        said.contains("does not look for plugins in") && !said.contains("works all the same"),
        "{said}"
    );
    std::fs::write(
        home.path().join(".docker/config.json"),
        format!("{{\n\"cliPluginsExtraDirs\": [\n{elsewhere:?}\n]}}\n"),
    )
    .unwrap();
    let said = quiet(&mut by_default);
    assert!(said.contains("works all the same"), "{said}");
    let called = quiet(Command::new(home.path().join(".local/bin/docker-machine")).arg("version"));
    assert!(called.starts_with("docker-machine version "), "{called}");
    assert!(
        !root.path().join("usr/bin/docker-machine").exists(),
        "only for who asks"
    );
    let plugin = home.path().join(".docker/cli-plugins/docker-cluster");
    assert!(
        quiet(Command::new(plugin).arg("docker-cli-plugin-metadata")).contains("SchemaVersion")
    );
}

fn completions_are_read(share: &Path) {
    let files = [
        ("bash", "bash-completion/completions/docker-cluster"),
        ("zsh", "zsh/site-functions/_docker-cluster"),
        ("fish", "fish/vendor_completions.d/docker-cluster.fish"),
        ("pwsh", "docker-cluster/completions/docker-cluster.ps1"),
    ];
    for (shell, file) in files {
        let file = share.join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.contains("ssh-config") && text.contains("run-on"),
            "{shell} knows the commands"
        );
        match (find(shell), shell) {
            (None, _) => skipped(&format!(
                "there is no {shell} here, so nobody has read its completions"
            )),
            (Some(pwsh), "pwsh") => drop(quiet(
                Command::new(pwsh).args(["-NoProfile", "-File"]).arg(&file),
            )),
            (Some(shell), _) => drop(quiet(Command::new(shell).arg("-n").arg(&file))),
        }
    }
    if let Some(fish) = find("fish") {
        let load = format!(
            "source {}; complete -C 'docker-cluster ssh-c'",
            share.join(files[2].1).display()
        );
        let mut shell = Command::new(fish);
        let out = quiet(shell.args(["-N", "-c", &load]).env("LC_ALL", "C.UTF-8"));
        assert!(out.starts_with("ssh-config\t"), "{out}");
    }
    if let Some(bash) = find("bash") {
        let load = format!(
            ". {}; COMP_WORDS=(docker-cluster run); COMP_CWORD=1; _docker__cluster docker-cluster run docker-cluster; echo \"${{COMPREPLY[@]}}\"",
            share.join(files[0].1).display()
        );
        assert_eq!(quiet(Command::new(bash).args(["-c", &load])), "run-on\n");
    }
}

fn pages_are_read(folder: &Path) {
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    let names: Vec<String> = pages
        .iter()
        .map(|page| page.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    for name in [
        "docker-cluster.1",
        "docker-cluster-up.1",
        "docker-cluster-context-create.1",
    ] {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    assert!(
        !names
            .iter()
            .any(|name| name.contains("docker-ssh") || name.contains("manual")),
        "{names:?}"
    );
    let Some(man) = find("man") else {
        return skipped("there is no man here, so nobody has read the manual pages");
    };
    for page in &pages {
        let mut man = Command::new(&man);
        let text = quiet(
            man.args(["--warnings", "-l"])
                .arg(page)
                .env("MANPAGER", "cat")
                .env("LC_ALL", "C.UTF-8"),
        );
        assert!(
            text.contains("SYNOPSIS") && text.contains("DESCRIPTION"),
            "{}: {text}",
            page.display()
        );
    }
}

/// From a program that is built: it is not optimised, and the rest is as in a release.
#[test]
fn a_release_is_whole_and_has_checksums() {
    let (out, built) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = script("dist", built.path())
        .env("OUT", out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{said}");
    quiet(
        Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
            .current_dir(out.path()),
    );
    let file = |ending: &str| {
        let files = std::fs::read_dir(out.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files
            .into_iter()
            .find(|path| path.to_string_lossy().ends_with(ending))
    };
    let tarball = file(".tar.gz").unwrap();
    let name = tarball.file_name().unwrap().to_string_lossy().into_owned();
    // Named for what it is.
    assert_eq!(
        name.contains("-linux-gnu"),
        said.contains("needs glibc"),
        "{name}: {said}"
    );
    let unpacked = tempfile::tempdir().unwrap();
    quiet(
        Command::new("tar")
            .arg("-xzf")
            .arg(&tarball)
            .current_dir(unpacked.path()),
    );
    let folder = unpacked.path().join(name.trim_end_matches(".tar.gz"));
    let version = quiet(Command::new(PROGRAM).arg("--version"));
    assert_eq!(
        quiet(Command::new(folder.join("docker-cluster")).arg("--version")),
        version
    );
    let home = tempfile::tempdir().unwrap();
    let mut install = Command::new(folder.join("install"));
    for name in ["BINARY", "DESTDIR", "PREFIX", "PLUGINS"] {
        install.env_remove(name);
    }
    quiet(install.env("HOME", home.path()));
    assert_eq!(
        quiet(Command::new(home.path().join(".local/bin/docker-cluster")).arg("--version")),
        version
    );
    let Some(package) = file(".deb") else {
        assert!(said.contains("there is no dpkg-deb here"), "{said}");
        return skipped("there is no dpkg-deb here, so no package was made");
    };
    let fields = quiet(Command::new("dpkg-deb").arg("--field").arg(&package));
    for line in [
        "Package: docker-cluster\n",
        concat!("Version: ", env!("CARGO_PKG_VERSION"), "\n"),
        "openssh-client",
    ] {
        assert!(fields.contains(line), "{fields}");
    }
    let list = quiet(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for path in [
        "./usr/bin/docker-cluster",
        "./usr/libexec/docker/cli-plugins/docker-cluster -> /usr/bin/docker-cluster",
        "./usr/share/man/man1/docker-cluster-up.1.gz",
        "./usr/share/zsh/site-functions/_docker-cluster",
        "./usr/share/doc/docker-cluster/copyright",
    ] {
        assert!(list.contains(path), "{path} is not in {list}");
    }
}
