//! A mesh of WireGuard under a swarm, from bare engines to green, through what happens to it, and back.

use std::io::Write as _;
use std::path::Path;

use super::harness::{Lab, docker};

/// What `verify --deep` has on each host while it looks.
const WATCH: &str = include_str!("../../templates/verify/mesh.pl");

/// Sends, or tells how long nothing came: 5 ms between packets, gaps in milliseconds, until it is told to end. Its process is in the file
/// that it is given, the hearing one's once it has heard.
const COUNTER: &str = r#"use strict; use Socket;
sub now { my $b = pack 'q2', 0, 0; syscall 228, 1, $b; my ($s, $n) = unpack 'q2', $b; return $s + $n / 1e9 }
my ($role, $file, $peer) = @ARGV;
socket(my $s, PF_INET, SOCK_DGRAM, 17);
my ($end, $last, $longest, $count) = (now() + 240, 0, 0, 0);
$SIG{TERM} = sub { $end = 0 };
sub here { open my $f, '>', $file; print $f $$ }
bind $s, sockaddr_in(9991, INADDR_ANY) if $role eq 'hear';
here() if $role eq 'send';
while (now() < $end) {
    if ($role eq 'send') { send $s, 'x', 0, sockaddr_in(9991, inet_aton $peer); select undef, undef, undef, 0.005; next }
    my $ready = '';
    vec($ready, fileno $s, 1) = 1;
    select($ready, undef, undef, 0.2) > 0 or next;
    recv $s, my $packet, 64, 0;
    gap();
    here() if ++$count == 1;
}
sub gap { my $now = now(); my $gap = $last ? $now - $last : 0; $longest = $gap if $gap > $longest; $last = $now }
gap();
printf "%d %d\n", $count, $longest * 1000 if $role eq 'hear';
"#;

/// Longest time that anything which `up` and a rotation do to a mesh may take away from what flows, in milliseconds: two commands over SSH on
/// a busy machine; 15 to 600 were measured.
const INTERRUPTION: u64 = 1500;

/// Addresses of IPv6 for the hosts' wire, which the lab has none of: unique local ones.
const WIRE6: &str = "fd21:3000::";

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

/// What is done while packets go from the first host to the second over the mesh, and for how long at most none came.
fn while_packets_go(lab: &Lab, what: &str, action: impl FnOnce()) {
    lab.sh(2, "rm -f /run/hears /run/heard");
    let hear = "perl -e \"$1\" hear /run/hears > /run/heard";
    docker(&["exec", "-d", &lab.host(2), "sh", "-c", hear, "sh", COUNTER]);
    let send = "perl -e \"$1\" send /run/sends 10.99.0.2";
    docker(&["exec", "-d", &lab.host(1), "sh", "-c", send, "sh", COUNTER]);
    lab.eventually("packets come", || lab.ask(2, "grep . /run/hears").map(drop));
    action();
    lab.sh(2, "kill $(cat /run/hears)");
    lab.sh(1, "kill $(cat /run/sends)");
    lab.eventually("the counter has counted", || {
        lab.ask(2, "grep . /run/heard").map(drop)
    });
    let heard = lab.sh(2, "cat /run/heard");
    let (count, longest) = heard.trim().split_once(' ').unwrap();
    let (count, longest): (u64, u64) = (count.parse().unwrap(), longest.parse().unwrap());
    // Past the capture of the test's own output: for how long it did not is what one wants to know.
    let _ = writeln!(std::io::stderr(), "{what}: nothing came for {longest} ms");
    assert!(
        count > 100 && longest < INTERRUPTION,
        "{what}: {count} packets, the longest gap {longest} ms"
    );
}

fn keys_are_rotated(lab: &Lab, file: &Path) {
    let key = |host| lab.sh(host, "/usr/local/lib/docker-cluster/underlay public");
    let before = [key(1), key(2)];
    while_packets_go(lab, "keys are rotated", || {
        lab.run_with(file, &["underlay", "rotate-keys", "--yes"])
            .expect(0);
    });
    assert!(before != [key(1), key(2)]);
    lab.assert_nothing_to_do(file);
}

/// The cause that `verify` names, of what fails or will.
fn cause(lab: &Lab, file: &Path) -> String {
    let document = lab
        .run_with(file, &["verify", "--deep", "--output", "json"])
        .json();
    let cause = document["verdicts"][0]["cause"].as_str();
    cause.unwrap_or_else(|| panic!("{document:#}")).to_owned()
}

/// Where a host sends what is for the others.
fn places(lab: &Lab, host: usize) -> String {
    lab.sh(host, "wg show dcwg0 endpoints")
}

/// Hosts are to reach each other over IPv6 and at another port from now on: said before, done while packets go, and so again the way back.
/// Of the old port nobody hears any more: where both ways were open, WireGuard itself would take the one that it heard last.
fn endpoints_move(lab: &Lab, two: &Path, moved: &Path) {
    for host in 1..=2 {
        let line = format!(
            "sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=0 && ip -6 addr add {WIRE6}{host}/64 dev eth0 nodad"
        );
        lab.sh(host, &line);
    }
    assert_eq!(cause(lab, moved), "mesh-endpoint-moved");
    let there = |host: usize| format!("[{WIRE6}{host}]:51821");
    for (what, file, is_there) in [
        ("endpoints move to IPv6", moved, true),
        ("endpoints move back", two, false),
    ] {
        while_packets_go(lab, what, || {
            lab.run_with(file, &["up", "--yes"]).expect(0);
        });
        for (host, other) in [(1, 2), (2, 1)] {
            let places = places(lab, host);
            assert_eq!(places.contains(&there(other)), is_there, "{what}: {places}");
        }
    }
}

/// A host comes that is behind a NAT, which gives what it sends another port and lets in only what answers it; and it goes again.
fn a_host_comes_and_goes(lab: &Lab, two: &Path, three: &Path) {
    lab.sh(
        3,
        "iptables -t nat -A POSTROUTING -o eth0 -p udp --sport 51820 -j MASQUERADE --to-ports 40000-40100 && \
         iptables -A INPUT -i eth0 -p udp --dport 51820 -m conntrack --ctstate NEW -j DROP",
    );
    while_packets_go(lab, "a host comes", || {
        lab.run_with(three, &["up", "--yes"]).expect(0);
    });
    let there = format!("{}:40", lab.private(3));
    assert!(places(lab, 1).contains(&there), "{}", places(lab, 1));
    lab.assert_green(three, 3);
    while_packets_go(lab, "a host goes", || {
        lab.run_with(three, &["rm", &lab.host(3), "--yes"])
            .expect(0);
        lab.run_with(two, &["up", "--yes"]).expect(0);
    });
    lab.assert_nothing_to_do(two);
    lab.sh(
        3,
        "iptables -t nat -D POSTROUTING -o eth0 -p udp --sport 51820 -j MASQUERADE --to-ports 40000-40100 && \
         iptables -D INPUT -i eth0 -p udp --dport 51820 -m conntrack --ctstate NEW -j DROP",
    );
}

/// What is wrong between two hosts is told by its name, before anything fails.
fn causes_are_told(lab: &Lab, file: &Path) {
    lab.sh(2, "ip link set dcwg0 mtu 1280");
    assert_eq!(cause(lab, file), "mesh-mtu");

    // It takes effect when the mesh is made the next time: nothing fails before that.
    lab.sh(2, "wg genkey > /var/lib/docker-cluster/underlay/private");
    assert_eq!(cause(lab, file), "mesh-wrong-key");
    lab.run_with(file, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(file);
}

#[test]
#[ignore = "needs a Docker engine"]
fn wireguard() {
    let lab = Lab::up("wg", &["--hosts", "3", "--os", "debian-13"]);
    // One manager: of two, either would be without a quorum when the other's mesh is away.
    let meshed = |text: String| {
        format!("underlay: wireguard\nnetwork: {{fabric: swarm}}\nswarm: {{managers: 1}}\n{text}")
    };
    let at = |host: usize, endpoint: &str, text: String| {
        let private = format!("private: {}\n", lab.private(host));
        let both = format!("{private}    endpoint: '{endpoint}'\n");
        text.replace(&private, &both)
    };
    let two = std::fs::read_to_string(lab.first_hosts(2)).unwrap();
    let file = lab.variant("wireguard.yaml", |_| meshed(two.clone()));
    let moved = lab.variant("moved.yaml", |_| {
        let text = meshed(two.clone()).replace(
            "underlay: wireguard",
            "underlay: {wireguard: {port: 51821}}",
        );
        (1..=2).fold(text, |text, host| at(host, &format!("{WIRE6}{host}"), text))
    });
    let three = lab.variant("three.yaml", |text| at(3, "none", meshed(text)));
    let before: Vec<String> = (1..=3).map(|host| state(&lab, host)).collect();
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
    endpoints_move(&lab, &file, &moved);
    a_host_comes_and_goes(&lab, &file, &three);
    nothing_leaks(&lab, &file);
    causes_are_told(&lab, &file);

    let plain = lab.run(&["plan"]).expect(1);
    let said = format!("{}{}", plain.out, plain.err);
    assert!(
        said.contains("are connected over a mesh of WireGuard"),
        "{said}"
    );

    // The host that went as well: it was only forgotten.
    lab.run_with(&three, &["down", "--yes"]).expect(0);
    for (host, before) in (1..=3).zip(&before) {
        assert_eq!(*before, state(&lab, host), "host {host} is what it was");
    }
}
