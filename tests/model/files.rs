//! Files of a model host, and its record: what `put-file.sh`, `put-back.sh`, `restore.sh`, `settle.sh`, `note.sh` and `forget.sh` do.

use std::collections::BTreeMap;

use docker_cluster::checksum::sha256_hex;
use docker_cluster::daemon_json::Options;
use docker_cluster::paths;
use docker_cluster::plan::{Recorded, Restored};
use docker_cluster::record::{self, Record};
use serde_json::json;

/// Where the engine reads its options.
pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub text: String,
    pub mode: String,
    pub owner: String,
}

impl File {
    pub fn new(text: impl Into<String>, mode: &str, owner: &str) -> Self {
        Self {
            text: text.into(),
            mode: mode.trim_start_matches('0').to_owned(),
            owner: owner.to_owned(),
        }
    }

    pub fn sum(&self) -> String {
        sha256_hex(self.text.as_bytes())
    }
}

/// All files of a host, by their paths. Folders are not modelled: they are there when something is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<String, File>);

/// A file that is written.
pub struct Written<'a> {
    pub path: &'a str,
    pub mode: &'a str,
    pub owner: &'a str,
    pub source: &'a str,
    pub secrets: &'a str,
    pub ours: Option<&'a Options>,
    /// Which start of the unit that reads it is the present one.
    pub start: String,
}

/// How far a write gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Whole,
    /// The record is there, and the file is not.
    RecordOnly,
}

fn of(key: &str, ending: &str) -> String {
    format!("{}/{key}.{ending}", paths::RECORD)
}

impl Files {
    pub fn get(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).map(|file| file.text.as_str())
    }

    fn keep(&mut self, from: &str, to: &str) {
        match self.0.get(from).cloned() {
            Some(file) => drop(self.0.insert(to.to_owned(), file)),
            None => drop(self.0.remove(to)),
        }
    }

    fn say(&mut self, path: &str, text: impl Into<String>) {
        self.0
            .insert(path.to_owned(), File::new(text, "600", "root:root"));
    }

    /// `KEY.NAME` and `KEY.BYTES`: what is there now.
    fn remember(&mut self, path: &str, key: &str, name: &str, bytes: &str) {
        let line = match self.0.get(path) {
            Some(file) => format!("file {} 0:0 {}\n", file.mode, file.sum()),
            None => "absent\n".to_owned(),
        };
        if self.0.contains_key(path) {
            self.keep(path, &of(key, bytes));
        }
        self.say(&of(key, name), line);
    }

    pub fn put(&mut self, file: &Written<'_>, text: &str, reach: Reach) {
        let key = record::key(file.path);
        let is_whole = |json: &str, written: &str| json.contains(&sha256_hex(written.as_bytes()));
        let hidden = format!("{}/.{key}.written", paths::RECORD);
        let json = self.text(&of(&key, "json")).unwrap_or_default().to_owned();
        if self
            .text(&hidden)
            .is_some_and(|written| is_whole(&json, written))
        {
            self.keep(&hidden, &of(&key, "written"));
            self.0.remove(&hidden);
        }
        if !self.0.contains_key(&of(&key, "origin")) {
            self.remember(file.path, &key, "origin", "bytes");
        }
        self.remember(file.path, &key, "was", "was.bytes");
        self.keep(&of(&key, "json"), &of(&key, "was.record"));
        self.keep(&of(&key, "written"), &of(&key, "was.written"));
        self.0.remove(&of(&key, "start"));
        self.0.remove(&of(&key, "now"));
        if !file.start.is_empty() {
            self.say(&of(&key, "start"), file.start.clone());
        }
        if file.mode == "keep" || file.mode.ends_with(['4', '5']) {
            self.say(&hidden, text);
        } else {
            self.0.remove(&hidden);
        }
        let record = Record {
            path: file.path.to_owned(),
            sha256: sha256_hex(text.as_bytes()),
            source: file.source.to_owned(),
            secrets: file.secrets.to_owned(),
            by: "model".to_owned(),
            at: 0,
            ours: file.ours.cloned(),
        };
        self.say(&of(&key, "json"), json!(record).to_string());
        if reach == Reach::RecordOnly {
            return;
        }
        let new = match (file.mode, self.0.get(file.path)) {
            ("keep", Some(there)) => File {
                text: text.to_owned(),
                ..there.clone()
            },
            ("keep", None) => File::new(text, "644", "root:root"),
            (mode, _) => File::new(text, mode, file.owner),
        };
        self.0.insert(file.path.to_owned(), new);
        if self.0.contains_key(&hidden) {
            self.keep(&hidden, &of(&key, "written"));
            self.0.remove(&hidden);
        }
    }

    fn aside(&mut self, path: &str) {
        let mut kept = format!("{path}.kept");
        let mut number = 1;
        while self.0.contains_key(&kept) {
            number += 1;
            kept = format!("{path}.kept.{number}");
        }
        self.keep(path, &kept);
    }

    pub fn put_back(&mut self, path: &str) {
        let key = record::key(path);
        let Some(was) = self.text(&of(&key, "was")).map(str::to_owned) else {
            return;
        };
        let wrote = self.text(&of(&key, "json")).unwrap_or_default().to_owned();
        let restored = self.text(&of(&key, "now")).unwrap_or_default().to_owned();
        if let Some(now) = self.get(path).map(File::sum)
            && !wrote.is_empty()
            && !wrote.contains(&now)
            && now != restored
        {
            self.aside(path);
        }
        match was.starts_with("file") {
            true => self.keep(&of(&key, "was.bytes"), path),
            false => drop(self.0.remove(path)),
        }
        self.keep(&of(&key, "was.written"), &of(&key, "written"));
        self.keep(&of(&key, "was.record"), &of(&key, "json"));
        let mut gone = vec![
            "start",
            "now",
            "was.written",
            "was.record",
            "was",
            "was.bytes",
        ];
        if !self.0.contains_key(&of(&key, "json")) {
            gone.extend(["origin", "bytes", "written"]);
        }
        for ending in gone {
            self.0.remove(&of(&key, ending));
        }
    }

    pub fn restore(
        &mut self,
        path: &str,
        present: &str,
        into: &Restored,
        record: Recorded,
    ) -> Result<(), String> {
        let key = record::key(path);
        if self.get(path).is_some_and(|file| file.sum() != present) {
            return Err(format!("{path} was changed a moment ago"));
        }
        let had = self
            .text(&of(&key, "origin"))
            .is_some_and(|line| line.starts_with("file"));
        if record == Recorded::Kept {
            self.remember(path, &key, "was", "was.bytes");
            self.keep(&of(&key, "json"), &of(&key, "was.record"));
            self.keep(&of(&key, "written"), &of(&key, "was.written"));
        }
        if *into == Restored::Aside && self.0.contains_key(path) {
            self.aside(path);
        }
        match into {
            Restored::Merged(text) => {
                let there = self
                    .get(path)
                    .cloned()
                    .ok_or(format!("{path} is not there to be merged"))?;
                self.0.insert(
                    path.to_owned(),
                    File {
                        text: text.clone(),
                        ..there
                    },
                );
            }
            _ if had => self.keep(&of(&key, "bytes"), path),
            _ => drop(self.0.remove(path)),
        }
        match record {
            Recorded::Kept => {
                if let Some(sum) = self.get(path).map(File::sum) {
                    self.say(&of(&key, "now"), sum);
                }
            }
            Recorded::Dropped => self.settle(&key),
        }
        Ok(())
    }

    pub fn settle(&mut self, key: &str) {
        for ending in [
            "json",
            "origin",
            "bytes",
            "written",
            "was",
            "was.bytes",
            "was.record",
            "was.written",
            "start",
            "now",
        ] {
            self.0.remove(&of(key, ending));
        }
    }

    fn made_path() -> String {
        format!("{}/made", paths::RECORD)
    }

    pub fn made(&self) -> Vec<String> {
        self.text(&Self::made_path())
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub fn note(&mut self, lines: &[String]) {
        let mut all = self.made();
        for line in lines {
            if !all.contains(line) {
                all.push(line.clone());
            }
        }
        self.set_made(&all);
    }

    pub fn unnote(&mut self, goes: impl Fn(&str) -> bool) {
        if self.0.contains_key(&Self::made_path()) {
            let left: Vec<String> = self.made().into_iter().filter(|line| !goes(line)).collect();
            self.set_made(&left);
        }
    }

    /// A record in which nothing is left goes.
    pub fn forget_nothing(&mut self) {
        if self.made().is_empty() {
            self.0.remove(&Self::made_path());
        }
    }

    fn set_made(&mut self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.say(&Self::made_path(), text);
    }

    pub fn forget(&mut self, home: &str, how: &str) {
        let of_packages = |line: &String| {
            ["package", "config", "conffile", "data", "group"]
                .contains(&line.split(' ').next().unwrap_or_default())
        };
        let kept: Vec<String> = self.made().into_iter().filter(of_packages).collect();
        let below = format!("{home}/");
        self.0.retain(|path, _| !path.starts_with(&below));
        if how == "keep" {
            self.set_made(&kept);
        }
    }
}
