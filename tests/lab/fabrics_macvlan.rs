//! Containers as hosts of the LAN, by macvlan, from prepared hosts to none of it.

use std::path::{Path, PathBuf};

use super::harness::{Lab, docker, shown};

/// Everything of a host that packets meet, except what is another at each boot: numbers of interfaces, MAC addresses, the ports of the
/// machine's own resolver, and what systemd remembers of it.
pub fn wiring(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "ip -o addr | sed 's/^[0-9]*: //; s/\\\\.*//'; ip -o link | sed 's/^[0-9]*: //; s/@if[0-9]*:.*/:/; s/ .*//'; \
         ip route; ip rule; iptables-save | grep -v '^#\\|127.0.0.11' | sed 's/ \\[.*//'; \
         find /etc /usr/local -type f ! -path /etc/.updated -exec sha256sum {} + | sort; docker network ls --format '{{.Name}} {{.Driver}}'",
    )
}

/// The same lines; those that are not are said.
pub fn assert_same(before: &str, after: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone: {gone:#?}\nnew: {new:#?}"
    );
    assert_eq!(before, after);
}

/// An inventory of the first hosts with this network, in which `SUBNET` stands for the first three numbers of the lab's.
pub fn inventory(lab: &Lab, hosts: usize, network: &str) -> PathBuf {
    let all = std::fs::read_to_string(lab.file()).unwrap();
    let address = all
        .lines()
        .find_map(|line| line.trim().strip_prefix("private: "))
        .unwrap();
    let network = network.replace("SUBNET", address.rsplit_once('.').unwrap().0);
    let path = lab.first_hosts(hosts);
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\nhosts:\n", &format!("\nnetwork: {{{network}}}\nhosts:\n"));
    let named = path.with_file_name(format!("lan-{hosts}.yaml"));
    std::fs::write(&named, text).unwrap();
    named
}

/// A container that greets on port 80, and comes back with the engine. Returns its address.
pub fn greet(lab: &Lab, host: usize) -> String {
    let image = lab.smoke_image();
    let network = lab.sh(
        host,
        "docker network ls --filter label=docker-cluster --format '{{.Name}}'",
    );
    let network = network.trim();
    let nginx = "printf \"%s\\n\" \"daemon off; user root; pid /tmp/greet.pid; error_log /dev/stderr crit; events { }\" \
         \"http { access_log off; server { listen 80; return 200 hello; } }\" > /tmp/greet.conf; exec nginx -c /tmp/greet.conf";
    let address = format!(
        "{{{{with index .NetworkSettings.Networks \"{network}\"}}}}{{{{.IPAddress}}}}{{{{end}}}}"
    );
    let run = format!(
        "docker run -d --restart always --name greet --network {network} --entrypoint sh {image} -c '{nginx}' > /dev/null; \
         docker inspect --format '{address}' greet"
    );
    lab.sh(host, &run).trim().to_owned()
}

/// The host itself hears the container.
pub fn hears(lab: &Lab, host: usize, address: &str) -> Result<(), String> {
    let ask = "exec 3<>/dev/tcp/$0/80; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3";
    let said = lab.ask(host, &format!("timeout 3 bash -c '{ask}' {address}"))?;
    if said.ends_with("hello") {
        Ok(())
    } else {
        Err(said)
    }
}

fn part(lab: &Lab, host: usize) -> String {
    lab.sh(host, "grep '^own' /etc/docker-cluster/fabric/config")
}

/// After a restart of the engine, and after one of all hosts, everything works again without help.
pub fn restarts(lab: &Lab, file: &Path, hosts: usize) {
    lab.sh(1, "systemctl restart docker");
    lab.assert_green(file, hosts);
    let all: Vec<String> = (1..=hosts).map(|host| lab.host(host)).collect();
    let mut arguments = vec!["restart"];
    arguments.extend(all.iter().map(String::as_str));
    docker(&arguments);
    for host in 1..=hosts {
        lab.booted(host);
        lab.eventually("its container runs", || {
            let running = "docker ps -q --filter name=greet --filter status=running | grep .";
            lab.ask(host, running).map(drop)
        });
    }
    lab.assert_green(file, hosts);
    lab.assert_nothing_to_do(file);
}

#[test]
#[ignore = "needs a Docker engine"]
fn story() {
    let lab = Lab::up("mv", &["--hosts", "3", "--os", "debian-13"]);
    let network = "fabric: macvlan, pool: SUBNET.128/25, shim: true";
    let two = inventory(&lab, 2, network);
    let before: Vec<String> = (1..=3).map(|host| wiring(&lab, host)).collect();
    let ran = lab.run_with(&two, &["up", "--yes"]).expect(0);
    assert!(
        ran.err.contains("`-p` does nothing on") || ran.out.contains("`-p` does nothing on"),
        "{}",
        ran.err
    );
    lab.assert_nothing_to_do(&two);

    let addresses: Vec<String> = (1..=2).map(|host| greet(&lab, host)).collect();
    assert!(
        addresses[0].ends_with(".128") && addresses[1].ends_with(".144"),
        "{addresses:?}"
    );
    restarts(&lab, &two, 2);
    // Its own by the shim, and those of others over the LAN.
    for host in 1..=2 {
        for address in &addresses {
            lab.eventually("the host reaches a container", || {
                hears(&lab, host, address)
            });
        }
    }

    // A third host; the others keep their parts.
    let three = inventory(&lab, 3, network);
    let parts = (part(&lab, 1), part(&lab, 2));
    lab.run_with(&three, &["up", "--yes"]).expect(0);
    assert_eq!((part(&lab, 1), part(&lab, 2)), parts);
    lab.assert_clean(3);

    two_have_one_address(&lab, &three, &addresses[0]);
    drift_is_named_and_mended(&lab, &three);

    // Everything goes, and nothing was anybody else's.
    let refused = lab.run_with(&three, &["down", "--yes"]).expect(1);
    let said = refused.out + &refused.err;
    assert!(
        said.contains("containers hang on the cluster's network: greet"),
        "{said}"
    );
    for host in 1..=2 {
        lab.sh(host, "docker rm -f greet");
    }
    lab.run_with(&three, &["down", "--yes"]).expect(0);
    for (host, before) in (1..=3).zip(&before) {
        assert_same(before, &wiring(&lab, host));
    }
}

/// The engine of one host gives out an address of another's part if it is told to.
fn two_have_one_address(lab: &Lab, file: &Path, address: &str) {
    let (network, image) = (lab.name(), lab.smoke_image());
    lab.sh(
        2,
        &format!("docker run -d --name copy --network {network} --ip {address} --entrypoint sleep {image} infinity"),
    );
    let found = super::fabrics_faults::named(lab, file, &["--deep"]);
    assert_eq!(
        found,
        [(
            "duplicate-address".into(),
            serde_json::json!([lab.host(1), lab.host(2)])
        )]
        .into()
    );
    lab.sh(2, "docker rm -f copy");
}

/// The way to a host's own containers, and a network that is gone.
fn drift_is_named_and_mended(lab: &Lab, file: &Path) {
    lab.sh(1, "ip link del dc-shim");
    lab.sh(3, &format!("docker network rm {}", lab.name()));
    let document = lab
        .run_with(file, &["verify", "--deep", "--output", "json"])
        .expect(4)
        .json();
    let causes: Vec<&str> = document["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|verdict| verdict["cause"].as_str().unwrap())
        .collect();
    assert!(
        causes.contains(&"network-missing") && causes.contains(&"route-missing"),
        "{}",
        shown(&document)
    );
    let plan = lab.run_with(file, &["plan", "--exit-code"]).expect(3).out;
    assert!(
        plan.contains("mend its links: the device dc-shim, by which this host reaches its own containers, is missing"),
        "{plan}"
    );
    assert!(plan.contains("create the macvlan network"), "{plan}");
    lab.run_with(file, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(file);
}
