//! A mesh of WireGuard under a swarm, from bare engines to green, through what happens to it, and back.

use std::path::Path;

use super::harness::{Lab, docker};

/// What `verify --deep` has on each host while it looks.
const WATCH: &str = include_str!("../../templates/verify/mesh.pl");

/// Sends, or tells how long nothing came: 5 ms between packets, gaps in milliseconds.
const COUNTER: &str = r#"use strict; use Socket;
sub now { my $b = pack 'q2', 0, 0; syscall 228, 1, $b; my ($s, $n) = unpack 'q2', $b; return $s + $n / 1e9 }
my ($role, $peer, $seconds) = @ARGV;
socket(my $s, PF_INET, SOCK_DGRAM, 17);
my ($end, $last, $longest, $count) = (now() + $seconds, 0, 0, 0);
bind $s, sockaddr_in(9991, INADDR_ANY) if $role eq 'hear';
while (now() < $end) {
    if ($role eq 'send') { send $s, 'x', 0, sockaddr_in(9991, inet_aton $peer); select undef, undef, undef, 0.005; next }
    my $ready = '';
    vec($ready, fileno $s, 1) = 1;
    select($ready, undef, undef, 0.2) or next;
    recv $s, my $packet, 64, 0;
    my ($now, $gap) = (now(), 0);
    $gap = $now - $last if $last;
    $longest = $gap if $gap > $longest;
    ($last, $count) = ($now, $count + 1);
}
printf "%d %d\n", $count, $longest * 1000 if $role eq 'hear';
"#;

/// Longest time that a rotation may take away from what flows, in milliseconds: two commands over SSH on a busy machine; 80 was measured.
const INTERRUPTION: u64 = 1500;

/// Nothing of the hosts leaves the lab as long as this lives, whatever a test takes away on them.
struct Closed {
    rule: Vec<String>,
}

impl Closed {
    fn around(subnet: &str) -> Self {
        let rule = ["-s", subnet, "!", "-d", subnet, "-j", "DROP"];
        let closed = Self {
            rule: rule.map(str::to_owned).to_vec(),
        };
        closed.tell("-I");
        closed
    }

    fn tell(&self, order: &str) {
        let ran = std::process::Command::new("iptables")
            .args(["-w", order, "DOCKER-USER"])
            .args(&self.rule)
            .status();
        assert!(ran.is_ok_and(|status| status.success()), "iptables {order}");
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.tell("-D");
    }
}

fn state(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "ip -o -4 address | sed 's/^[0-9]*: //; s/ *\\\\.*//' | sort; ip -o link | sed -n 's/^[0-9]*: \\([^:@]*\\).*/\\1/p' | grep -v '^veth' | sort; ip route | sed 's/ linkdown//' | sort; \
         iptables-save -t raw | grep '^-A'; ip6tables-save -t raw | grep '^-A'; \
         find /etc/docker-cluster /usr/local/lib/docker-cluster /etc/systemd/system /var/lib/docker-cluster/underlay 2>/dev/null | sort",
    )
}

/// What is seen on a host's wire in some seconds, of the network's ports between the hosts.
fn seen(lab: &Lab, host: usize, addresses: &str) -> String {
    let ports = "udp/4789,udp/7946,tcp/7946,tcp/2377";
    let token = "0".repeat(32);
    let line =
        format!("(sleep 4; echo) | perl -e \"$1\" 20 51820 eth0 {ports} {addresses} {token}");
    docker(&["exec", &lab.host(host), "sh", "-c", &line, "sh", WATCH])
}

/// The mesh is taken away: nothing passes and nothing leaks. Then what is behind it as well: the look sees it.
fn nothing_leaks(lab: &Lab, file: &Path) {
    let subnet = lab.sh(1, "ip -4 route show dev eth0 scope link | cut -d' ' -f1");
    let _closed = Closed::around(subnet.trim());
    let outer = |host: usize| {
        lab.sh(
            host,
            "ip -o -4 address show dev eth0 | sed 's/.*inet \\([^/]*\\).*/\\1/'",
        )
        .trim()
        .to_owned()
    };
    let addresses = [
        outer(1),
        outer(2),
        "10.99.0.1".to_owned(),
        "10.99.0.2".to_owned(),
    ]
    .join(",");

    // Whatever the engine was told, it listens for VXLAN on every address: from outside of the mesh nothing gets there.
    let forged = format!(
        "perl -MSocket -e 'socket(S, PF_INET, SOCK_DGRAM, 17); send S, \"x\", 0, sockaddr_in(4789, inet_aton(\"{}\"))'",
        outer(1)
    );
    let dropped = "iptables -t raw -L PREROUTING -v -n -x | awk '/DROP/ && /4789/ { print $1 }'";
    let before: u64 = lab.sh(1, dropped).trim().parse().unwrap();
    lab.sh(2, &forged);
    let after: u64 = lab.sh(1, dropped).trim().parse().unwrap();
    assert_eq!(after, before + 1, "a forged packet is dropped");

    // What only shows when the mesh stops is told before.
    lab.sh(2, "ip route del unreachable 10.99.0.0/24 metric 4242");
    let document = lab
        .run_with(file, &["verify", "--deep", "--output", "json"])
        .json();
    assert_eq!(
        document["verdicts"][0]["cause"], "mesh-open",
        "{document:#}"
    );
    lab.sh(2, "systemctl reload docker-cluster-underlay.service");

    lab.sh(2, "systemctl stop docker-cluster-underlay.service");
    assert_eq!(seen(lab, 2, &addresses), "ready\nend\n", "nothing leaks");
    let refused = lab.ask(2, "timeout 3 perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 6); connect(S, sockaddr_in(2377, inet_aton(\"10.99.0.1\"))) or die $!'");
    assert!(
        refused.is_err_and(|said| said.contains("No route to host")),
        "nothing passes"
    );

    lab.sh(2, "ip route del unreachable 10.99.0.0/24 metric 4242");
    let leaked = seen(lab, 2, &addresses);
    assert!(
        leaked.contains("seen udp/7946") || leaked.contains("seen tcp/7946"),
        "{leaked}"
    );

    let ran = lab.run_with(file, &["plan"]).expect(0);
    assert!(
        ran.out.contains("start the mesh with the other hosts"),
        "{}",
        ran.out
    );
    lab.run_with(file, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(file);
}

fn keys_are_rotated(lab: &Lab, file: &Path) {
    let key = |host| lab.sh(host, "/usr/local/lib/docker-cluster/underlay public");
    let before = [key(1), key(2)];
    let seconds = 8;
    let hear = format!("perl -e \"$1\" hear - {seconds} > /run/heard");
    docker(&["exec", "-d", &lab.host(2), "sh", "-c", &hear, "sh", COUNTER]);
    let send = format!("perl -e \"$1\" send 10.99.0.2 {seconds}");
    docker(&["exec", "-d", &lab.host(1), "sh", "-c", &send, "sh", COUNTER]);
    lab.run_with(file, &["underlay", "rotate-keys", "--yes"])
        .expect(0);
    assert!(before != [key(1), key(2)]);
    lab.assert_nothing_to_do(file);
    lab.eventually("the counter has counted", || {
        lab.ask(2, "grep . /run/heard").map(|_| ())
    });
    let heard = lab.sh(2, "cat /run/heard");
    let (count, longest) = heard.trim().split_once(' ').unwrap();
    let (count, longest): (u64, u64) = (count.parse().unwrap(), longest.parse().unwrap());
    assert!(
        count > 500 && longest < INTERRUPTION,
        "{count} packets, the longest gap {longest} ms"
    );
}

#[test]
#[ignore = "needs a Docker engine"]
fn wireguard() {
    let lab = Lab::up("wg", &["--hosts", "2", "--os", "debian-13"]);
    let file = lab.variant("wireguard.yaml", |text| {
        format!("underlay: wireguard\nnetwork: {{fabric: swarm}}\n{text}")
    });
    let before: Vec<String> = (1..=2).map(|host| state(&lab, host)).collect();
    lab.run_with(&file, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&file);

    // A worker: the only manager of a swarm hears of the others' containers half a minute later.
    docker(&["restart", "-t", "5", &lab.host(2)]);
    lab.eventually("the host is back", || lab.ask(2, "docker info").map(|_| ()));
    let ran = lab
        .run_with(&file, &["verify", "--deep", "--output", "json"])
        .expect(0);
    let document = ran.json();
    assert_eq!(
        document["wire"]["leaks"],
        serde_json::json!([]),
        "{document:#}"
    );
    assert_eq!(
        document["wire"]["watched"].as_array().unwrap().len(),
        2,
        "{document:#}"
    );
    lab.assert_nothing_to_do(&file);

    keys_are_rotated(&lab, &file);
    nothing_leaks(&lab, &file);

    let plain = lab.run(&["plan"]).expect(1);
    let said = format!("{}{}", plain.out, plain.err);
    assert!(
        said.contains("are connected over a mesh of WireGuard"),
        "{said}"
    );

    lab.run_with(&file, &["down", "--yes"]).expect(0);
    for (host, before) in (1..=2).zip(&before) {
        assert_eq!(*before, state(&lab, host), "host {host} is what it was");
    }
}
