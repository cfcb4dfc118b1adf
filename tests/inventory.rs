//! Inventories: the examples hold, and what is wrong is pointed at.

use docker_cluster::inventory::{Colour, Inventory};

fn flaws(source: &str) -> Vec<(usize, String)> {
    match Inventory::parse(source, "cluster.yaml") {
        Ok(_) => Vec::new(),
        Err(error) => {
            let shown = error.render(100, Colour::Off);
            assert!(shown.contains("cluster.yaml"), "the file is named: {shown}");
            error
                .flaws
                .iter()
                .map(|flaw| (flaw.line, flaw.message.clone()))
                .collect()
        }
    }
}

fn only_flaw(source: &str) -> (usize, String) {
    let flaws = flaws(source);
    assert_eq!(flaws.len(), 1, "{flaws:?}");
    flaws.into_iter().next().unwrap()
}

#[test]
fn the_examples_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/inventories");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = Inventory::parse(&source, &path.display().to_string()) {
            panic!("{}", error.render(100, Colour::Off));
        }
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn an_unknown_key_is_pointed_at() {
    let (line, message) = only_flaw("hosts:\n  - a\nengin:\n  version: '>=20'\n");
    assert_eq!(line, 3);
    assert!(message.contains("engin"), "{message}");
}

/// What is made safe by a value is not left without one because nothing is behind the key.
#[test]
fn a_key_that_makes_something_safe_has_a_value() {
    for nothing in ["", "''", "~"] {
        for source in [
            format!("engine:\n  ca: {nothing}\n  ca_key: k\n"),
            format!("swarm:\n  sha256: {nothing}\n"),
            format!("network:\n  bgp: {{password_file: {nothing} }}\n"),
            format!(
                "network:\n  bgp: {{routers: [{{address: 10.9.9.9, as: 3, password_file: {nothing} }}]}}\n"
            ),
        ] {
            let (line, message) = only_flaw(&format!("{source}hosts: [a, b]\n"));
            assert_eq!(
                (line, message.starts_with("there is no value here")),
                (2, true),
                "{source}: {message}"
            );
        }
    }
}

/// A terminal of twenty columns is one: everything is said, in more lines.
#[test]
fn narrow_terminals_are_told_everything() {
    let source = "cluster: c\nhosts:\n  - {name: a, adress: 10.0.0.1, tags: [a-tag, another-tag, and-a-third]}\n";
    let error = Inventory::parse(source, "a/rather/long/path/to/a/cluster.yaml").unwrap_err();
    for width in 1..=80 {
        let shown = error.render(width, Colour::Off);
        let words: String = shown.chars().filter(|c| c.is_alphanumeric()).collect();
        assert!(
            words.contains("unknownfieldadress") && words.contains("checkthespelling"),
            "{width}: {shown}"
        );
        if width >= 20 {
            assert!(
                shown.contains("`adress`") && shown.contains("spelling"),
                "{width}: {shown}"
            );
        }
    }
}

#[test]
fn two_hosts_of_one_name_or_address() {
    let (line, message) =
        only_flaw("hosts:\n  - {name: a, address: x}\n  - {name: a, address: y}\n");
    assert_eq!((line, message.as_str()), (3, "two hosts are called `a`"));
    let (line, message) =
        only_flaw("hosts:\n  - {name: a, address: x}\n  - {name: b, address: x}\n");
    assert_eq!(
        (line, message.as_str()),
        (3, "two hosts have the address `x`")
    );
}

#[test]
fn a_subnet_that_holds_a_host() {
    let (line, message) = only_flaw("network:\n  subnet: 10.0.0.0/16\nhosts:\n  - 10.0.0.11\n");
    assert_eq!(line, 2);
    assert!(
        message.contains("overlaps with the address 10.0.0.11"),
        "{message}"
    );
}

#[test]
fn containers_in_the_lan_have_a_part_of_it_for_themselves() {
    let of = |network: &str| {
        format!("network:\n{network}hosts:\n  - {{name: a, address: x, private: 10.0.0.11}}\n")
    };
    let lan = "  fabric: macvlan\n  pool: 10.0.0.128/25\n";
    let inventory =
        Inventory::parse(&of(&format!("{lan}  gateway: 10.0.0.1\n")), "cluster.yaml").unwrap();
    assert_eq!(inventory.network.subnet.to_string(), "10.0.0.128/25");
    assert_eq!(inventory.network.host_prefix, 28);
    assert_eq!(
        inventory.network.lan.unwrap().gateway.unwrap().to_string(),
        "10.0.0.1"
    );
    let cases = [
        (
            "  fabric: macvlan\n",
            2,
            "no `pool` says which of its addresses they may have",
        ),
        (
            "  pool: 10.0.0.128/25\n",
            2,
            "`pool` is for fabrics whose containers are hosts of the LAN",
        ),
        (
            "  fabric: vxlan\n  shim: true\n",
            3,
            "`shim` is for fabrics whose containers are hosts of the LAN",
        ),
        (
            "  fabric: macvlan\n  pool: 10.0.0.0/25\n",
            3,
            "the network's pool 10.0.0.0/25 overlaps with the address 10.0.0.11",
        ),
        (
            &format!("{lan}  gateway: 10.0.0.129\n"),
            3,
            "the pool 10.0.0.128/25 holds the gateway 10.0.0.129",
        ),
        (
            &format!("{lan}  gateway: fe80::1\n"),
            4,
            "\"fe80::1\" is not an IPv4 address",
        ),
        (
            &format!("{lan}  interface: a/b\n"),
            4,
            "\"a/b\" is not the name of an interface",
        ),
        (
            &format!("{lan}  subnet: 10.0.0.0/25\n  interface: eth1\n"),
            3,
            "the pool 10.0.0.128/25 is not in 10.0.0.0/25",
        ),
        (
            &format!("{lan}  subnet: 10.0.0.128/25\n"),
            6,
            "the host's address 10.0.0.11 is not in the LAN's subnet",
        ),
        (
            &format!("{lan}  subnet: 10.0.0.0/24\n  gateway: 10.1.0.1\n"),
            5,
            "the gateway 10.1.0.1 is not in 10.0.0.0/24",
        ),
    ];
    for (network, line, words) in cases {
        let (at, message) = only_flaw(&of(network));
        assert!(
            at == line && message.contains(words),
            "{network}: {at}: {message}"
        );
    }
}

#[test]
fn docker0_is_for_fabrics_that_give_each_host_a_subnet() {
    let routed = "network: {fabric: routed, bridge: docker0}\nhosts: [a, b]\n";
    let inventory = Inventory::parse(routed, "cluster.yaml").unwrap();
    assert_eq!(inventory.network.of_containers(), "bridge");
    let cases = [
        (
            "network:\n  fabric: vxlan\n  bridge: docker0\nhosts: [a, b]\n",
            3,
            "the fabric vxlan has a bridge of its own",
        ),
        (
            "network:\n  fabric: bgp\n  name: shop\n  bridge: docker0\nhosts: [a, b]\n",
            3,
            "containers are on the engine's own network",
        ),
        (
            "network:\n  fabric: routed\n  bridge: docker0\nengine:\n  options: {ip-masq: true}\nhosts: [a, b]\n",
            5,
            "`ip-masq` decides about docker0",
        ),
        (
            "network:\n  fabric: routed\n  bridge: br0\nhosts: [a, b]\n",
            3,
            "unknown value `br0`, expected one of own, docker0",
        ),
    ];
    for (text, line, words) in cases {
        let (at, message) = only_flaw(text);
        assert!(
            at == line && message.contains(words),
            "{text}: {at}: {message}"
        );
    }
}

#[test]
fn the_default_subnet_counts_as_well() {
    let error =
        Inventory::parse("hosts:\n  - 10.0.0.1\n  - 10.90.0.5\n", "cluster.yaml").unwrap_err();
    assert_eq!((error.flaws.len(), error.flaws[0].line), (1, 3));
    assert!(
        error.flaws[0]
            .message
            .contains("default subnet 10.90.0.0/16 overlaps with the address 10.90.0.5")
    );
    assert!(
        error.flaws[0]
            .help
            .contains("network: {subnet: 10.91.0.0/16}"),
        "{}",
        error.flaws[0].help
    );
}

#[test]
fn ranges_that_share_addresses() {
    for (text, at) in [
        (
            "network: {subnet: 10.91.0.0/16}\nswarm: {address_pool: 10.91.128.0/20}\nhosts: [x]\n",
            2,
        ),
        ("engine:\n  options: {bip: 10.90.1.1/24}\nhosts: [x]\n", 2),
        (
            "engine:\n  options: {default-address-pools: [{base: 10.88.0.0/13, size: 24}]}\nhosts: [x]\n",
            2,
        ),
    ] {
        let (line, message) = only_flaw(text);
        assert!(
            line == at && message.contains("overlaps with the network's subnet"),
            "{line}: {message}"
        );
    }
}

#[test]
fn settings_that_contradict_each_other() {
    let outside = "store: {url: 'consul://h:8500', servers: 1}\nhosts: [x]\n";
    assert!(
        only_flaw(outside)
            .1
            .contains("`servers` are of a store that docker-cluster runs")
    );
    assert!(
        only_flaw("swarm: {data_path_port: 7946}\nhosts: [x]\n")
            .1
            .contains("swarm mode's own")
    );
    assert!(
        only_flaw("swarm: {spread: [rack-9]}\nhosts: [x]\n")
            .1
            .contains("no host has the tag `rack-9`")
    );
    assert!(
        only_flaw("network: {fabric: overlay, encrypted: true}\nhosts: [x]\n")
            .1
            .contains("cannot encrypt")
    );
}

#[test]
fn the_parser_speaks_of_the_file_and_not_of_itself() {
    for (text, said) in [
        (
            "hosts:\n  - {name: a, address: x, ssh: {port: 70000}}\n",
            "from 0 to 65535",
        ),
        (
            "hosts:\n  - {name: a, address: x, address: y}\n",
            "duplicate key `address`",
        ),
        ("hosts:\n  a: b\n", "here must be a list"),
        (
            "network: {fabric: bridge}\nhosts: [x]\n",
            "unknown value `bridge`, expected one of auto, overlay, swarm",
        ),
    ] {
        let (_, message) = only_flaw(text);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn names_that_could_break_out_are_refused_with_their_line() {
    for name in [
        "\"a;reboot\"",
        "\"$(reboot)\"",
        "\"a b\"",
        "\"-oProxyCommand=x\"",
        "\"a\\nb\"",
        "\"a'b\"",
    ] {
        let (line, _) = only_flaw(&format!("hosts:\n  - name: {name}\n    address: x\n"));
        assert_eq!(line, 2, "{name}");
        let found = flaws(&format!("hosts:\n  - x\n  - {name}\n"));
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [3],
            "{name}: {found:?}"
        );
    }
}

#[test]
fn an_error_shows_the_line_with_a_caret_and_what_to_do() {
    let error = Inventory::parse(
        "hosts:\n  - {name: a, address: x, color: red}\n",
        "cluster.yaml",
    )
    .unwrap_err();
    let shown = error.render(100, Colour::Off);
    assert!(shown.contains("cluster.yaml:2:"), "{shown}");
    assert!(shown.contains("color: red"), "{shown}");
    assert!(shown.contains("help:"), "{shown}");
}

#[test]
fn the_schema_knows_every_part() {
    let schema = Inventory::schema();
    for key in [
        "hosts", "engine", "store", "network", "smoke", "ssh", "swarm", "kernel", "restart",
    ] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
}

/// Valid, or refused with a line that the file has.
fn holds(source: &str) -> Result<(), proptest::test_runner::TestCaseError> {
    if let Err(error) = Inventory::parse(source, "cluster.yaml") {
        let lines = source.split('\n').count();
        proptest::prop_assert!(!error.flaws.is_empty());
        for flaw in &error.flaws {
            proptest::prop_assert!(
                (1..=lines).contains(&flaw.line),
                "line {} of {lines}: {}",
                flaw.line,
                flaw.message
            );
            proptest::prop_assert!(!flaw.message.is_empty() && !flaw.help.is_empty());
        }
        proptest::prop_assert!(!error.render(80, Colour::Off).is_empty());
    }
    Ok(())
}

proptest::proptest! {
    #[test]
    fn whatever_is_written_is_no_panic_and_has_a_line(source in "(hosts|cluster|network|  - |: |\\{|\\}|\\[|\\]|a|b|\\n|&x|\\*x|'|\"|[0-9./]|é){0,60}") {
        holds(&source)?;
    }

    /// The complete example with something cut out and something put in: what people's mistakes look like.
    #[test]
    fn a_damaged_inventory_is_no_panic_and_has_a_line(
        at in 0usize..900, cut in 0usize..40, put in "(\\t|\n|: |- |\\{|\\}|\\[|\\]|\"|'|#|&a|\\*a|!!|é|0|\u{0}|\\PC){0,4}"
    ) {
        let whole = include_str!("../inventories/complete.yaml");
        let boundary = |at: usize| (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap();
        let (from, to) = (boundary(at), boundary(at + cut));
        holds(&format!("{}{put}{}", &whole[..from], &whole[to..]))?;
    }
}

#[test]
fn options_that_no_engine_takes_are_pointed_at() {
    let options = |text: &str| flaws(&format!("engine:\n  options:\n{text}\nhosts: [x]\n"));
    for (text, line, said) in [
        (
            "    log-opts:\n      max-size: 10m\n      max-file: 3",
            5,
            "`log-opts.max-file` is 3, and the engine takes text only",
        ),
        (
            "    log-opts: {compress: true}",
            3,
            "`log-opts.compress` is true, and the engine takes text only",
        ),
        (
            "    debug: 'yes'",
            3,
            "`debug` is \"yes\", and the engine wants true or false here",
        ),
        (
            "    mtu: '1400'",
            3,
            "`mtu` is \"1400\", and the engine wants a whole number here",
        ),
        (
            "    dns: 10.0.0.2",
            3,
            "`dns` is \"10.0.0.2\", and the engine wants a list of texts here",
        ),
        (
            "    labels: [1]",
            3,
            "`labels` is [1], and the engine wants a list of texts here",
        ),
        (
            "    bip: 10",
            3,
            "`bip` is 10, and the engine wants text here",
        ),
        (
            "    log-driver:",
            3,
            "`log-driver` is null, and the engine wants text here",
        ),
        (
            "    mtu: 1400\n    log-opt: {max-size: 10m}",
            4,
            "in its file the option is called `log-opts`",
        ),
        (
            "    host: ['fd://']",
            3,
            "in its file the option is called `hosts`",
        ),
        (
            "    mtu: 1400\n    cluster-store: consul://x",
            4,
            "`cluster-store` is written by docker-cluster itself",
        ),
    ] {
        let found = options(text);
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [line],
            "{text}: {found:?}"
        );
        assert!(found[0].1.contains(said), "{found:?}");
    }
    let good = "    log-opts: {max-file: '3'}\n    graph: /srv\n    features: {buildkit: true}\n    default-ulimits: {nofile: {Name: nofile, Hard: 1, Soft: 1}}\n    shutdown-timeout: 30";
    assert_eq!(options(good), []);
    let swarm = "network: {fabric: swarm}\nengine: {options: {live-restore: true}}\nhosts: [x]\n";
    let (line, message) = only_flaw(swarm);
    assert_eq!(
        (line, message.as_str()),
        (2, "`live-restore` excludes swarm mode")
    );
}

#[test]
fn an_underlay_that_cannot_be() {
    let hosts = "hosts: [10.0.0.1, 10.0.0.2]\n";
    for (underlay, words) in [
        ("underlay: wiregard\n", "is no underlay"),
        (
            "underlay: {wireguard: {port: 4789}}\n",
            "port 4789 is that of overlays",
        ),
        (
            "underlay: {wireguard: {port: 4790}}\n",
            "that of `network.vxlan`",
        ),
        (
            "underlay: {wireguard: {port: 7946}}\n",
            "the engines' gossip",
        ),
        (
            "underlay: {wireguard: {subnet: 10.90.0.0/24}}\n",
            "overlaps with the network's subnet 10.90.0.0/16",
        ),
        (
            "underlay: {wireguard: {subnet: 10.0.0.0/24}}\n",
            "overlaps with the address 10.0.0.1 of a host",
        ),
        (
            "underlay: {wireguard: {subnet: 10.99.0.0/31}}\n",
            "too small for two hosts",
        ),
        (
            "underlay: {wireguard: {subnet: 10.99.0.1/24}}\n",
            "the subnet is 10.99.0.0/24",
        ),
        (
            "underlay: {wireguard: {keepalive: 1h}}\n",
            "at most two minutes",
        ),
        (
            "underlay: {wireguard: {interface: 'a b'}}\n",
            "is not the name of an interface",
        ),
        (
            "underlay: {wireguard: {subnet: 224.0.0.0/24}}\n",
            "224.0.0.0/24 is for multicast, which no host can have",
        ),
        ("underlay: {wireguard: {subnet: 0.0.0.0/8}}\n", "reserved"),
        (
            "underlay: {wireguard: {subnet: 'fd00::/64'}}\n",
            "fd00::/64 is IPv6, and what is to be here is IPv4",
        ),
        ("underlay: {}\n", "either `wireguard` or an `interface`"),
        (
            "network: {subnet: 224.90.0.0/16}\n",
            "224.90.0.0/16 is for multicast",
        ),
        (
            "underlay: {wireguard: {}, interface: eth1}\n",
            "either `wireguard` or an `interface`",
        ),
    ] {
        let (line, message) = only_flaw(&format!("{underlay}{hosts}"));
        assert_eq!(line, 1, "{underlay}: {message}");
        assert!(message.contains(words), "{underlay}: {message}");
    }
    let mesh = "underlay: wireguard\n";
    let lan = format!("{mesh}network: {{fabric: macvlan, pool: 10.0.0.128/25}}\n{hosts}");
    assert!(
        only_flaw(&lan)
            .1
            .contains("makes containers hosts of the LAN")
    );
    let many =
        "underlay: {wireguard: {subnet: 10.99.0.0/30}}\nhosts: [10.0.0.1, 10.0.0.2, 10.0.0.3]\n";
    assert!(
        only_flaw(many)
            .1
            .contains("has 2 addresses, and there are 3 hosts")
    );
    let endpoint = |first: &str, second: &str| {
        format!(
            "hosts:\n  - {{address: 10.0.0.1, endpoint: '{first}'}}\n  - {{address: 10.0.0.2, endpoint: '{second}'}}\n"
        )
    };
    let both = format!("{mesh}{}", endpoint("none", "none"));
    assert!(only_flaw(&both).1.contains("two hosts have no endpoint"));
    let name = format!("{mesh}{}", endpoint("none", "example.org"));
    assert_eq!(only_flaw(&name).0, 4);
    assert_eq!(
        flaws(&endpoint("none", "10.0.0.2")).len(),
        2,
        "an endpoint of nothing"
    );
    for good in [
        "plain",
        "wireguard",
        "{interface: tailscale0}",
        "{wireguard: {}}",
    ] {
        assert_eq!(flaws(&format!("underlay: {good}\n{hosts}")), []);
    }
    assert_eq!(
        flaws(&format!(
            "{mesh}{}",
            endpoint("none", "[2001:db8::7]:51821")
        )),
        []
    );
}

#[test]
fn standalone_swarm_says_what_it_lacks() {
    let tls = "engine: {api: tls}\n";
    for (text, line, words) in [
        (
            "swarm: {mode: standalone}\nhosts: [10.0.0.1]\n".to_owned(),
            1,
            "that of `10.0.0.1` does not listen",
        ),
        (
            format!(
                "{tls}network: {{fabric: swarm}}\nswarm: {{mode: standalone}}\nhosts: [10.0.0.1]\n"
            ),
            3,
            "the store of a classic overlay",
        ),
        (
            format!("{tls}swarm: {{mode: standalone, tar: x.tar}}\nhosts: [10.0.0.1]\n"),
            2,
            "needs the checksum of the tar",
        ),
        (
            format!(
                "{tls}swarm: {{mode: standalone, tar: x.tar, sha256: abc}}\nhosts: [10.0.0.1]\n"
            ),
            2,
            "not a SHA-256",
        ),
        (
            format!("{tls}swarm: {{mode: standalone, data_path_port: 4799}}\nhosts: [10.0.0.1]\n"),
            2,
            "`data_path_port` is of swarm mode",
        ),
        (
            "swarm: {strategy: random}\nhosts: [10.0.0.1]\n".to_owned(),
            1,
            "`strategy` is for standalone Swarm",
        ),
        (
            "swarm: {agents: false}\nhosts: [10.0.0.1]\n".to_owned(),
            1,
            "`agents` is for standalone Swarm",
        ),
        (
            format!("{tls}swarm: {{mode: standalone, port: 2376}}\nhosts: [10.0.0.1]\n"),
            2,
            "cannot listen on port 2376",
        ),
        (
            format!("{tls}swarm: {{mode: standalone, options: ['--x']}}\nhosts: [10.0.0.1]\n"),
            2,
            "is no flag of Swarm",
        ),
        (
            "swarm: {managers: []}\nhosts: [10.0.0.1]\n".to_owned(),
            1,
            "make no good quorum",
        ),
    ] {
        let (at, message) = only_flaw(&text);
        assert!(
            at == line && message.contains(words),
            "{text}: {at}: {message}"
        );
    }
}

#[test]
fn a_ca_of_ones_own_is_two_files_and_for_tls() {
    for (engine, words) in [
        ("{api: tls, ca: ca.pem}", "issues certificates with its key"),
        ("{api: tls, ca_key: key.pem}", "the key of no CA"),
        (
            "{ca: ca.pem, ca_key: key.pem}",
            "`ca` is for engines that listen",
        ),
    ] {
        let (line, message) = only_flaw(&format!("engine: {engine}\nhosts: [10.0.0.1]\n"));
        assert!(line == 1 && message.contains(words), "{engine}: {message}");
    }
    let text = "engine: {api: tls, ca: c/ca.pem, ca_key: ~/key.pem}\nhosts: [10.0.0.1]\n";
    let inventory = Inventory::parse(text, "/x/cluster.yaml").unwrap();
    let own = inventory
        .with_home(std::path::Path::new("/home/ada"))
        .engine
        .ca;
    let own = own.unwrap();
    assert_eq!(own.cert.to_string(), "/x/c/ca.pem (/x/cluster.yaml:1)");
    assert_eq!(own.key.to_string(), "/home/ada/key.pem (/x/cluster.yaml:1)");
}
