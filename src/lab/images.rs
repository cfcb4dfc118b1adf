//! Images of the lab, built once: a base from the registry or debootstrap, hosts and smoke test from recipes in
//! `templates/lab`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, TagImageOptionsBuilder,
};
use bollard::{Docker, body_full, body_try_stream};
use clap::ValueEnum as _;
use futures_util::{StreamExt, TryStreamExt};
use tokio::process::Command;
use tokio_util::io::ReaderStream;

use super::state::cache;
use super::{LabError, Os, Wanted, lock};
use crate::checksum::sha256_hex;
use crate::event::{Event, Events};
use crate::words::printable;

const HOST_RECIPE: &[(&str, u32, &str)] = &[
    (
        "Dockerfile",
        0o644,
        include_str!("../../templates/lab/host/Dockerfile"),
    ),
    (
        "lab-init",
        0o755,
        include_str!("../../templates/lab/host/lab-init"),
    ),
    (
        "lab-hostkeys.service",
        0o644,
        include_str!("../../templates/lab/host/lab-hostkeys.service"),
    ),
];

const SMOKE_RECIPE: &[(&str, u32, &str)] = &[(
    "Dockerfile",
    0o644,
    include_str!("../../templates/lab/smoke/Dockerfile"),
)];

/// How long a registry may take to answer. One that is there answers in a second; without one the lab goes on with debootstrap.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Where debootstrap has its scripts.
const DEBOOTSTRAP_SCRIPTS: &str = "/usr/share/debootstrap/scripts";

/// The mirror where none is known: debootstrap takes a script only after a mirror.
const PUBLIC_MIRROR: &str = "http://deb.debian.org";

/// How much of a build's output is kept for an error, in lines.
const KEPT_LINES: usize = 15;

/// The image of the wanted hosts, as a tag.
pub(super) async fn host(
    docker: &Docker,
    wanted: &Wanted,
    events: &Events,
) -> Result<String, LabError> {
    let kind = if wanted.bare { "bare" } else { "engine" };
    let mirror = mirror(wanted);
    let tag = tag(
        &format!("host-{}-{kind}", wanted.os.name()),
        HOST_RECIPE,
        &mirror,
    );
    if docker.inspect_image(&tag).await.is_ok() {
        return Ok(tag);
    }
    let _held = lock::hold(&tag, "it makes the same image", events).await?;
    if docker.inspect_image(&tag).await.is_ok() {
        return Ok(tag);
    }
    let base = base(docker, wanted, events).await?;
    events.emit(Event::Note(format!(
        "building the image of {} hosts ({kind}), once",
        wanted.os.name()
    )));
    let installed = if wanted.bare {
        ""
    } else {
        wanted.os.packages()
    };
    let args = [
        ("BASE", base.as_str()),
        ("SUITE", wanted.os.suite()),
        ("MIRROR", &mirror),
        ("INSTALLED", installed),
    ];
    build(docker, &tag, HOST_RECIPE, &args).await?;
    Ok(tag)
}

/// The smoke-test image: its tag, and a tar of it on this machine.
#[derive(Debug, Clone)]
pub(super) struct Smoke {
    pub(super) tag: String,
    pub(super) tar: PathBuf,
}

/// Real nginx and wget of the same release, with the libraries they need and nothing else.
pub(super) async fn smoke(
    docker: &Docker,
    wanted: &Wanted,
    events: &Events,
) -> Result<Smoke, LabError> {
    // Held also while only looking: an image that is there may have a tar that is being written.
    let _held = lock::hold("smoke", "it makes the smoke-test image", events).await?;
    let mirror = mirror(wanted);
    let tag_of = |os: Os| tag(&format!("smoke-{}", os.name()), SMOKE_RECIPE, &mirror);
    // One of any release will do: what runs in it needs nothing of the host.
    let mut tag = tag_of(wanted.os);
    for os in Os::value_variants() {
        if docker.inspect_image(&tag_of(*os)).await.is_ok() {
            tag = tag_of(*os);
            break;
        }
    }
    let tar = cache()?.join(format!("{}.tar", tag.replace([':', '/'], "-")));
    let present = docker.inspect_image(&tag).await.is_ok();
    if !present {
        let base = base(docker, wanted, events).await?;
        events.emit(Event::Note(
            "building the smoke-test image, once".to_owned(),
        ));
        let args = [
            ("BASE", base.as_str()),
            ("SUITE", wanted.os.suite()),
            ("MIRROR", &mirror),
        ];
        build(docker, &tag, SMOKE_RECIPE, &args).await?;
    }
    if !present || !tar.exists() {
        let partial = tar.with_extension("partial");
        let mut file = tokio::fs::File::create(&partial)
            .await
            .map_err(LabError::file(format!(
                "cannot write {}",
                partial.display()
            )))?;
        let mut stream = docker.export_image(&tag);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(LabError::engine("saving the smoke-test image"))?;
            tokio::io::AsyncWriteExt::write_all(&mut file, &chunk)
                .await
                .map_err(LabError::file(format!(
                    "cannot write {}",
                    partial.display()
                )))?;
        }
        tokio::io::AsyncWriteExt::flush(&mut file)
            .await
            .map_err(LabError::file(format!(
                "cannot write {}",
                partial.display()
            )))?;
        std::fs::rename(&partial, &tar)
            .map_err(LabError::file(format!("cannot write {}", tar.display())))?;
    }
    Ok(Smoke { tag, tar })
}

/// A tag that changes with the recipe, so that an old image is never taken for a new one.
fn tag(kind: &str, recipe: &[(&str, u32, &str)], mirror: &str) -> String {
    let text: String = recipe
        .iter()
        .map(|(name, _, text)| format!("{name}\n{text}\n"))
        .chain([mirror.to_owned()])
        .collect();
    format!(
        "docker-cluster-lab:{kind}-{}",
        &sha256_hex(text.as_bytes())[..8]
    )
}

/// The mirror that was asked for, else the one of this machine's apt, else none: the recipes then leave the base image's own.
fn mirror(wanted: &Wanted) -> String {
    wanted
        .mirror
        .clone()
        .or_else(own_mirror)
        .unwrap_or_default()
        .trim_end_matches('/')
        .trim_end_matches("/debian")
        .to_owned()
}

fn own_mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(
        std::fs::read_dir("/etc/apt/sources.list.d")
            .ok()?
            .flatten()
            .map(|entry| entry.path()),
    );
    files.sort();
    let text: String = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect::<Vec<_>>()
        .join("\n");
    text.lines()
        .map(str::trim)
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

/// The base image of an operating system: the official one if a registry answers, else made with debootstrap.
async fn base(docker: &Docker, wanted: &Wanted, events: &Events) -> Result<String, LabError> {
    let tag = format!("docker-cluster-lab:base-{}", wanted.os.name());
    let _held = lock::hold(&tag, "it makes the same base image", events).await?;
    if docker.inspect_image(&tag).await.is_ok() {
        return Ok(tag);
    }
    let official = format!("debian:{}", wanted.os.suite());
    events.emit(Event::Note(format!("fetching {official}")));
    let options = CreateImageOptionsBuilder::default()
        .from_image(&official)
        .build();
    let pull = docker
        .create_image(Some(options), None, None)
        .try_for_each(|_| async { Ok(()) });
    match tokio::time::timeout(REGISTRY_TIMEOUT, pull).await {
        Ok(Ok(())) => {
            let options = TagImageOptionsBuilder::default()
                .repo("docker-cluster-lab")
                .tag(&format!("base-{}", wanted.os.name()))
                .build();
            docker
                .tag_image(&official, Some(options))
                .await
                .map_err(LabError::engine("tagging the base image"))?;
            return Ok(tag);
        }
        Ok(Err(error)) => tracing::info!(%error, "no registry"),
        Err(_) => tracing::info!("the registry does not answer"),
    }
    events.emit(Event::Note(format!(
        "no registry answers: making {} with debootstrap (a minute)",
        wanted.os.name()
    )));
    debootstrap(docker, wanted).await?;
    Ok(tag)
}

async fn debootstrap(docker: &Docker, wanted: &Wanted) -> Result<(), LabError> {
    let folder = tempfile::Builder::new()
        .prefix("docker-cluster-base-")
        .tempdir()
        .map_err(LabError::file("cannot make a temporary folder"))?;
    let root = folder.path().join("root");
    let mut command = as_root("debootstrap");
    command
        .args([
            "--variant=minbase",
            "--include=ca-certificates",
            wanted.os.suite(),
        ])
        .arg(&root);
    let mut mirror = mirror(wanted);
    let script = wanted.os.script();
    if mirror.is_empty() && script.is_some() {
        PUBLIC_MIRROR.clone_into(&mut mirror);
    }
    if !mirror.is_empty() {
        command.arg(format!("{mirror}/debian"));
    }
    command.args(script.map(|suite| format!("{DEBOOTSTRAP_SCRIPTS}/{suite}")));
    program(&mut command).await?;
    let mut tar = as_root("tar");
    tar.arg("-C")
        .arg(&root)
        .args(["--exclude=./var/cache/apt/archives/*.deb", "-c", "."])
        .stdout(Stdio::piped())
        .stdin(Stdio::null());
    let mut child = tar.spawn().map_err(LabError::file("cannot run tar"))?;
    if let Some(stdout) = child.stdout.take() {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("docker-cluster-lab")
            .tag(&format!("base-{}", wanted.os.name()))
            .build();
        let body = body_try_stream(ReaderStream::new(stdout));
        docker
            .create_image(Some(options), Some(body), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(LabError::engine("importing the base image"))?;
    }
    let status = child
        .wait()
        .await
        .map_err(LabError::file("cannot run tar"))?;
    // The tree belongs to root; the temporary folder can only be removed when it is gone.
    program(as_root("rm").arg("-rf").arg(&root)).await?;
    match status.success() {
        true => Ok(()),
        false => Err(LabError::Program {
            command: "tar".to_owned(),
            words: "the base system could not be packed".to_owned(),
        }),
    }
}

fn as_root(name: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if is_root {
        return Command::new(name);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", name]);
    command
}

/// Runs a program of this machine to its end; an error holds its last words.
pub(super) async fn program(command: &mut Command) -> Result<(), LabError> {
    let shown = format!("{:?}", command.as_std()).replace('"', "");
    let failed = |words: String| LabError::Program {
        command: shown.clone(),
        words,
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = printable(&[output.stdout, output.stderr].concat());
    Err(failed(last_lines(&text)))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(KEPT_LINES)..].join("\n")
}

async fn build(
    docker: &Docker,
    tag: &str,
    recipe: &[(&str, u32, &str)],
    args: &[(&str, &str)],
) -> Result<(), LabError> {
    let packed = pack(recipe).map_err(LabError::file("cannot pack the recipe"))?;
    let args = args
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let options = BuildImageOptionsBuilder::default()
        .dockerfile("Dockerfile")
        .t(tag)
        .rm(true)
        .forcerm(true)
        .buildargs(&args)
        .build();
    let mut stream = docker.build_image(options, None, Some(body_full(packed.into())));
    let mut said = String::new();
    while let Some(part) = stream.next().await {
        match part {
            Ok(info) => {
                let text = printable(info.stream.unwrap_or_default().as_bytes());
                tracing::debug!(%text, "build");
                said.push_str(&text);
                if let Some(message) = info.error_detail.and_then(|detail| detail.message) {
                    let words = format!("{}\n{}", last_lines(&said), printable(message.as_bytes()));
                    return Err(LabError::Engine {
                        what: format!("building {tag}"),
                        words,
                    });
                }
            }
            Err(error) => {
                let words = format!("{}\n{error}", last_lines(&said));
                return Err(LabError::Engine {
                    what: format!("building {tag}"),
                    words,
                });
            }
        }
    }
    Ok(())
}

fn pack(recipe: &[(&str, u32, &str)]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, text) in recipe {
        append(&mut archive, name, *mode, (0, 0), text.as_bytes())?;
    }
    archive.into_inner()
}

/// Adds a file to a tar.
pub(super) fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &str,
    mode: u32,
    owner: (u64, u64),
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    archive.append_data(&mut header, name, bytes)
}
