//! A container as Docker's client writes it (`formatter.ContainerContext`), from what the engine says of it: what people see and what a
//! template finds is the same, whoever has asked.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A container in the engine's list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    id: String,
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    command: String,
    created: i64,
    ports: Option<Vec<Port>>,
    size_rw: Option<i64>,
    size_root_fs: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    network_settings: Option<Networks>,
    mounts: Option<Vec<Mount>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    networks: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    driver: String,
}

// In the order in which they are sorted.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "PascalCase")]
struct Port {
    private_port: u16,
    #[serde(rename = "IP", default)]
    ip: String,
    #[serde(default)]
    public_port: u16,
    #[serde(default)]
    r#type: String,
}

/// What the clocks of a host show.
#[derive(Debug, Default)]
pub struct Times {
    now: i64,
    /// The offset and the name of its zone at the times at which its containers were made, by those.
    zones: BTreeMap<i64, String>,
}

impl Times {
    /// As `templates/host/ask.pl` writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let now = lines.next()?.parse().ok()?;
        let zone = |line: &str| {
            let (at, zone) = line.split_once(' ')?;
            Some((at.parse().ok()?, zone.to_owned()))
        };
        Some(Self {
            now,
            zones: lines.map(zone).collect::<Option<_>>()?,
        })
    }

    /// A time as Go writes it: `2026-01-31 12:00:00 +0100 CET`.
    fn shown(&self, at: i64) -> String {
        let zone = self.zones.get(&at).map_or("+0000 UTC", String::as_str);
        let offset = zone.split(' ').next().and_then(seconds_of).unwrap_or(0);
        let format =
            time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let local = time::OffsetDateTime::from_unix_timestamp(at.saturating_add(offset))
            .ok()
            .and_then(|local| local.format(&format).ok());
        format!("{} {zone}", local.unwrap_or_default())
    }
}

/// The seconds of an offset such as `+0130`.
fn seconds_of(offset: &str) -> Option<i64> {
    let (sign, digits) = match offset.split_at_checked(1)? {
        ("-", digits) => (-1, digits),
        ("+", digits) => (1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

impl Listed {
    /// Its fields, by the names that Docker's client has for them.
    pub fn fields(&self, times: &Times) -> BTreeMap<String, String> {
        let mounts = self.mounts.as_deref().unwrap_or_default();
        let names: Vec<&str> = self
            .names
            .iter()
            .flatten()
            .map(|name| name.strip_prefix('/').unwrap_or(name))
            .collect();
        let image = match self.image.as_str() {
            "" => "<no image>",
            image => image,
        };
        let volumes = mounts
            .iter()
            .filter(|mount| mount.driver == "local")
            .count();
        let mounts: Vec<&str> = mounts
            .iter()
            .map(|mount| match mount.name.as_str() {
                "" => mount.source.as_str(),
                name => name,
            })
            .collect();
        let labels: Vec<String> = self
            .labels
            .iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let networks: Vec<&str> = self
            .network_settings
            .iter()
            .flat_map(|settings| settings.networks.iter().flatten())
            .map(|(name, _)| name.as_str())
            .collect();
        let age = format!("{} ago", age(times.now.saturating_sub(self.created)));
        let fields = [
            ("Command", quoted(&self.command)),
            ("CreatedAt", times.shown(self.created)),
            ("ID", self.id.clone()),
            ("Image", image.to_owned()),
            ("Labels", labels.join(",")),
            ("LocalVolumes", volumes.to_string()),
            ("Mounts", mounts.join(",")),
            ("Names", names.join(",")),
            ("Networks", networks.join(",")),
            ("Ports", ports(self.ports.as_deref().unwrap_or_default())),
            ("RunningFor", age),
            ("Size", self.size()),
            ("State", self.state.clone()),
            ("Status", self.status.clone()),
        ];
        fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn size(&self) -> String {
        let own = size(self.size_rw.unwrap_or(0));
        match self.size_root_fs {
            Some(whole) if whole > 0 => format!("{own} (virtual {})", size(whole)),
            _ => own,
        }
    }
}

/// As Go quotes a text (`strconv.Quote`).
fn quoted(text: &str) -> String {
    let mut written = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => written.extend(['\\', letter]),
            '\n' => written.push_str("\\n"),
            '\t' => written.push_str("\\t"),
            '\r' => written.push_str("\\r"),
            '\x07' => written.push_str("\\a"),
            '\x08' => written.push_str("\\b"),
            '\x0b' => written.push_str("\\v"),
            '\x0c' => written.push_str("\\f"),
            ..' ' | '\x7f' => written.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ if letter.is_control() => written.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => written.push(letter),
        }
    }
    written.push('"');
    written
}

/// Seconds in words, as Docker's client rounds them (`units.HumanDuration`).
fn age(seconds: i64) -> String {
    /// Days that count as a month, and as a year.
    const MONTH: i64 = 30;
    const YEAR: i64 = 365;
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match hours {
        _ if seconds < 1 => "Less than a second".to_owned(),
        _ if seconds == 1 => "1 second".to_owned(),
        _ if seconds < 60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        1 => "About an hour".to_owned(),
        ..48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * MONTH * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * YEAR * 2 => format!("{} months", hours / 24 / MONTH),
        _ => format!("{} years", seconds / 3600 / 24 / YEAR),
    }
}

/// Bytes in words, with three digits that count (`units.HumanSizeWithPrecision`).
fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let number = format!("{value:.decimals$}");
    let number = match number.split_once('.') {
        Some(_) => number.trim_end_matches('0').trim_end_matches('.'),
        None => &number,
    };
    format!("{number}{}", UNITS[unit])
}

/// Ports that follow each other as one range, and those that lead elsewhere last (`formatter.DisplayablePorts`). An IPv6 address is in
/// brackets, as Docker writes it since 28, whichever release the host has.
fn ports(all: &[Port]) -> String {
    let mut sorted: Vec<&Port> = all.iter().collect();
    sorted.sort();
    let (mut ranges, mut mapped) = (Vec::new(), Vec::new());
    // What is not closed yet, in the order in which it was begun.
    let mut open: Vec<(&str, &str, u16, u16)> = Vec::new();
    for Port {
        private_port,
        ip,
        public_port,
        r#type,
    } in sorted
    {
        if !ip.is_empty() && public_port != private_port {
            mapped.push(format!(
                "{}:{public_port}->{private_port}/{type}",
                in_brackets(ip)
            ));
            continue;
        }
        match open
            .iter_mut()
            .find(|(of, kind, ..)| of == ip && kind == r#type)
        {
            None => open.push((ip, r#type, *private_port, *private_port)),
            Some((.., last)) if last.checked_add(1) == Some(*private_port) => *last = *private_port,
            Some(range) => {
                ranges.push(written(range));
                *range = (ip, r#type, *private_port, *private_port);
            }
        }
    }
    ranges.extend(open.iter().map(written));
    ranges.extend(mapped);
    ranges.join(", ")
}

fn written((ip, kind, first, last): &(&str, &str, u16, u16)) -> String {
    let range = match last {
        last if last == first => first.to_string(),
        last => format!("{first}-{last}"),
    };
    match *ip {
        "" => format!("{range}/{kind}"),
        ip => format!("{}:{range}->{range}/{kind}", in_brackets(ip)),
    }
}

fn in_brackets(ip: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_dockers_client_writes() {
        // Both by an engine 20.10.24 and its own client, of the same container.
        let listed = r#"[{"Id":"fb23","Names":["/pp","/web/db"],"Image":"nginx:1","ImageID":"sha256:39","Command":"sh -c 'sleep 1; echo \"é\n\t\\\"'","Created":1795746228,
            "Ports":[{"IP":"0.0.0.0","PrivatePort":9002,"PublicPort":9002,"Type":"tcp"},{"PrivatePort":5000,"Type":"tcp"},{"PrivatePort":5001,"Type":"tcp"},
            {"IP":"10.213.7.11","PrivatePort":7000,"PublicPort":7000,"Type":"udp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
            {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":49153,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":9000,"PublicPort":9000,"Type":"tcp"},
            {"IP":"0.0.0.0","PrivatePort":9001,"PublicPort":9001,"Type":"tcp"}],"SizeRootFs":18234567,"Labels":{"a":"b","c":"d,e"},"State":"running",
            "Status":"Up Less than a second","HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":{"Links":null}}},
            "Mounts":[{"Type":"bind","Source":"/tmp","Destination":"/x"},{"Type":"volume","Name":"vol","Source":"/v","Driver":"local"}]}]"#;
        let listed: Vec<Listed> = serde_json::from_str(listed).unwrap();
        let times = Times::parse("1795746230\n1795746228 +0000 UTC\n").unwrap();
        let ours = listed[0].fields(&times);
        let theirs = r#"{"Command":"\"sh -c 'sleep 1; echo \\\"é\\n\\t\\\\\\\"'\"","CreatedAt":"2026-11-27 02:23:48 +0000 UTC","ID":"fb23","Image":"nginx:1",
            "Labels":"a=b,c=d,e","LocalVolumes":"1","Mounts":"/tmp,vol","Names":"pp,web/db","Networks":"bridge",
            "Ports":"5000-5001/tcp, 10.213.7.11:7000-\u003e7000/udp, 0.0.0.0:9000-9002-\u003e9000-9002/tcp, 0.0.0.0:8080-\u003e80/tcp, 0.0.0.0:49153-\u003e80/tcp",
            "RunningFor":"2 seconds ago","Size":"0B (virtual 18.2MB)","State":"running","Status":"Up Less than a second"}"#;
        let theirs: BTreeMap<String, String> = serde_json::from_str(theirs).unwrap();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn what_an_engine_leaves_out_is_empty() {
        let bare = r#"{"Id":"a","Names":null,"Created":0,"Ports":null,"Labels":null,"NetworkSettings":null,"Mounts":null}"#;
        let bare: Listed = serde_json::from_str(bare).unwrap();
        let fields = bare.fields(&Times::default());
        assert_eq!(fields["Image"], "<no image>");
        assert_eq!(fields["Ports"], "");
        assert_eq!(fields["CreatedAt"], "1970-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn times_are_those_of_the_hosts_clock() {
        let times =
            Times::parse("1795746230\n1795746228 +0100 CET\n1780000000 -0330 NDT\n").unwrap();
        assert_eq!(times.shown(1_795_746_228), "2026-11-27 03:23:48 +0100 CET");
        assert_eq!(times.shown(1_780_000_000), "2026-05-28 16:56:40 -0330 NDT");
        assert!(Times::parse("").is_none() && Times::parse("1\nx\n").is_none());
    }

    #[test]
    fn ages_and_sizes_are_rounded_as_docker_rounds_them() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, words) in [
            (-5, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (2 * DAY, "2 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(age(seconds), words, "{seconds}");
        }
        for (bytes, words) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_230, "1.23kB"),
            (18_234_567, "18.2MB"),
            (123_456_789, "123MB"),
            (2_000_000_000, "2GB"),
        ] {
            assert_eq!(size(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn an_address_of_ipv6_is_in_brackets() {
        let port = |ip: &str, private_port, public_port| Port {
            private_port,
            ip: ip.to_owned(),
            public_port,
            r#type: "tcp".to_owned(),
        };
        assert_eq!(
            ports(&[
                port("::", 80, 8080),
                port("::", 443, 443),
                port("0.0.0.0", 443, 443),
                port("", 1, 0),
                port("", 3, 0)
            ]),
            "1/tcp, 3/tcp, 0.0.0.0:443->443/tcp, [::]:443->443/tcp, [::]:8080->80/tcp"
        );
    }
}
