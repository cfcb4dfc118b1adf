//! The store when parts of it fail, its certificates, and its content.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use super::harness::{Lab, docker};

const UNIT: &str = "docker-cluster-consul";
const STORE: &str = "/usr/local/lib/docker-cluster/store";

/// A cluster of four with a container on the first and the last.
fn four(name: &str) -> Lab {
    let lab = Lab::up(name, &["--hosts", "4", "--os", "debian-11"]);
    lab.run(&["up", "--yes"]).expect(0);
    let (network, image) = (lab.name().to_owned(), lab.smoke_image());
    for host in [1, 4] {
        lab.sh(
            host,
            &format!("docker run -d --restart always --stop-timeout 1 --name app-{host} --network {network} {image} sleep 100000"),
        );
    }
    lab
}

/// As soon as the one has learned the name of the other.
fn traffic_flows(lab: &Lab) {
    lab.eventually("traffic flows", || {
        lab.ask(4, "docker exec app-4 ping -c 1 -W 3 app-1")
            .map(drop)
    });
}

#[test]
#[ignore = "needs a Docker engine"]
fn certificates_and_stale_endpoints() {
    let lab = four("certs");
    a_certificate_is_renewed(&lab);
    stale_endpoints_are_pruned(&lab, lab.name(), &lab.smoke_image());
    the_ca_is_rotated(&lab);
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_store_that_loses_servers() {
    let lab = four("lose");
    let (network, image) = (lab.name().to_owned(), lab.smoke_image());
    let traffic = || lab.sh(4, "docker exec app-4 ping -c 1 -W 3 app-1");
    traffic_flows(&lab);
    the_content_is_saved_and_put_back(&lab);

    // One of three: nothing stops.
    docker(&["kill", &lab.host(3)]);
    lab.eventually("the others have a leader", || {
        lab.ask(
            1,
            &format!("docker run --rm --network {network} {image} true"),
        )
        .map(|_| ())
    });
    traffic();
    // Two of three: what flows goes on, and verify says what is wrong.
    lab.sh(
        2,
        &format!("systemctl kill -s KILL {UNIT}; systemctl stop {UNIT}"),
    );
    lab.eventually("the quorum is known to be lost", || {
        match lab.ask(1, &format!("{STORE} kv get -keys docker/")) {
            Err(_) => Ok(()),
            Ok(said) => Err(said),
        }
    });
    traffic();
    let document = lab.run(&["verify", "--output", "json"]).expect(4).json();
    let said = document["verdicts"].to_string();
    assert!(said.contains("store"), "{said}");
    lab.sh(2, &format!("systemctl start {UNIT}"));
    lab.eventually("it recovers by itself", || {
        lab.ask(1, &format!("{STORE} kv get -keys docker/"))
            .map(|_| ())
    });

    // The third is lost for good: the host that is left takes its place.
    let rest = lab.variant("rest.yaml", |text| {
        let mark = format!("  - name: {}\n", lab.host(3));
        let (head, tail) = text.split_once(&mark).unwrap();
        let next = tail.find("  - name:").unwrap();
        format!("{head}{}", &tail[next..])
    });
    let ran = lab.run_with(&rest, &["up", "--yes"]).expect(0);
    assert!(ran.out.contains("out of the store's quorum"), "{}", ran.out);
    assert!(
        lab.sh(4, "cat /etc/docker-cluster/consul/agent.json")
            .contains("\"server\": true")
    );
    let peers = "sed -n 's/.*\"management_token\": *\"\\([^\"]*\\)\".*/\\1/p' /var/lib/docker-cluster/secrets/store.json > /run/token; \
         CONSUL_HTTP_TOKEN_FILE=/run/token /usr/local/lib/docker-cluster/store operator raft list-peers; rm /run/token";
    // Consul lets a new server vote when it has been well for ten seconds.
    lab.eventually("three servers vote", || match lab.ask(1, peers)? {
        said if said.matches("  true ").count() == 3 => Ok(()),
        said => Err(said),
    });
    traffic();
    lab.run_with(&rest, &["verify"]).expect(0);
    lab.assert_nothing_to_do(&rest);
}

/// A certificate near its end is renewed, and nothing restarts for it: no container, no engine, not even the agent.
fn a_certificate_is_renewed(lab: &Lab) {
    let ls = lab.run(&["ls", "--output", "json"]).expect(0).json();
    assert!(
        ls["hosts"][0]["certificate"]
            .as_str()
            .unwrap()
            .ends_with("days left"),
        "{ls}"
    );
    let bundle: serde_json::Value =
        serde_json::from_str(&lab.sh(1, "cat /var/lib/docker-cluster/secrets/store.json")).unwrap();
    let text = |key: &str| bundle[key].as_str().unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(text("ca_cert"), KeyPair::from_pem(text("ca_key")).unwrap())
            .unwrap();
    let key = KeyPair::generate().unwrap();
    let address = lab
        .sh(1, "hostname -I | tr ' ' '\\n' | grep ^10.213")
        .trim()
        .to_owned();
    let names = ["localhost", "server.dc1.consul", "127.0.0.1", &address]
        .map(str::to_owned)
        .to_vec();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (
        now - Duration::days(100),
        now + Duration::days(9) + Duration::hours(1),
    );
    let cert = params.signed_by(&key, &issuer).unwrap().pem();
    let folder = "/etc/docker-cluster/consul";
    lab.sh(1, &format!("cat > {folder}/agent.pem <<'END'\n{cert}END\ncat > {folder}/agent-key.pem <<'END'\n{}END\nsystemctl reload {UNIT}", key.serialize_pem()));
    let pids = || {
        let containers = lab.sh(
            1,
            "docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' $(docker ps -q)",
        );
        containers + &lab.sh(1, &format!("systemctl show -p MainPID docker {UNIT}"))
    };
    let before = pids();
    let ran = lab.run(&["up", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains("renew the certificate of its agent, which expires in 9 days"),
        "{}",
        ran.out
    );
    assert_eq!(before, pids(), "nothing was restarted");
    let served = lab.sh(
        1,
        "echo | openssl s_client -connect 127.0.0.1:8501 2>/dev/null | openssl x509 -noout -checkend 20000000 || true",
    );
    assert!(
        served.contains("will not expire"),
        "the agent shows the new one: {served}"
    );
    lab.assert_nothing_to_do(&lab.file());
}

/// A new CA under everything: one engine at a time, and in the end nobody trusts the old one.
fn the_ca_is_rotated(lab: &Lab) {
    let ca = "/etc/docker-cluster/consul/ca.pem";
    let old = lab.sh(1, &format!("cat {ca}"));
    let ran = lab.run(&["store", "rotate-ca", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains("restart the engine, which reads certificates only then"),
        "{}",
        ran.out
    );
    let new = lab.sh(1, &format!("cat {ca}"));
    assert_eq!(new.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(!new.contains(&old));
    lab.sh(1, &format!("cat > /run/old.pem <<'END'\n{old}END"));
    let folder = "/etc/docker-cluster/consul";
    let asks = format!(
        "curl -s --cacert {folder}/ca.pem --cert {folder}/engine.pem --key {folder}/engine-key.pem https://127.0.0.1:8501/v1/status/leader"
    );
    for host in 1..=4 {
        assert_eq!(lab.sh(host, &format!("cat {ca}")), new);
        lab.sh(
            host,
            &format!("openssl verify -CAfile {ca} {folder}/agent.pem {folder}/engine.pem"),
        );
    }
    if lab.ask(1, "command -v curl").is_ok() {
        assert!(lab.sh(1, &asks).contains(":8300"));
        assert!(
            lab.ask(1, &asks.replace("/ca.pem", "/../../../run/old.pem"))
                .is_err(),
            "the old CA proves nothing any more"
        );
    }
    traffic_flows(lab);
    lab.run(&["verify"]).expect(0);
    lab.assert_nothing_to_do(&lab.file());
}

/// The endpoint of a container that went while the store was away blocks its name, until it is pruned; those of live ones stay.
fn stale_endpoints_are_pruned(lab: &Lab, network: &str, image: &str) {
    lab.sh(
        2,
        &format!("docker run -d --name ghost --network {network} {image} sleep 100000"),
    );
    let nothing = lab.run(&["store", "prune", "--yes"]).expect(0);
    assert!(
        nothing.out.contains("Nothing to do"),
        "live endpoints are none of its business: {}",
        nothing.out
    );
    lab.sh(
        2,
        &format!("systemctl stop {UNIT}; docker rm -f ghost; systemctl start {UNIT}"),
    );
    let again = format!("docker run -d --name ghost --network {network} {image} sleep 100000");
    lab.eventually("the name is blocked", || {
        let said = lab.ask(2, &again);
        // What could not start is made all the same, and its own name would be in the way of the next try.
        lab.sh(2, "docker rm -f ghost || true");
        match said {
            Err(said) if said.contains("already exists in network") => Ok(()),
            Err(said) | Ok(said) => Err(said),
        }
    });
    let ran = lab.run(&["store", "prune", "--yes"]).expect(0);
    assert!(
        ran.out.contains("remove the endpoint of ghost") && ran.out.matches("~ ").count() == 1,
        "{}",
        ran.out
    );
    lab.sh(2, &again);
    lab.sh(2, "docker rm -f ghost");
    lab.sh(4, "docker exec app-4 ping -c 1 -W 3 app-1");
}

/// Everything in the store is lost, and comes back from a file.
fn the_content_is_saved_and_put_back(lab: &Lab) {
    let file = lab.file().with_file_name("store.snapshot");
    let path = file.display().to_string();
    lab.run(&["store", "backup", &path]).expect(0);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds tokens");
    for host in 1..=4 {
        lab.sh(host, &format!("systemctl stop {UNIT}"));
    }
    for host in 1..=4 {
        lab.sh(host, "rm -rf /var/lib/docker-cluster-consul/*");
    }
    for host in 1..=4 {
        lab.sh(host, &format!("systemctl start --no-block {UNIT}"));
    }
    lab.run(&["store", "restore", &path, "--yes"]).expect(0);
    for host in 1..=4 {
        let name = lab.name();
        lab.eventually("the network is known again", || {
            lab.ask(host, &format!("docker network inspect {name}"))
                .map(|_| ())
        });
    }
    traffic_flows(lab);
    lab.eventually("every pair reaches", || {
        let ran = lab.run(&["verify"]);
        if ran.code == 0 { Ok(()) } else { Err(ran.out) }
    });
    lab.assert_nothing_to_do(&lab.file());
}
