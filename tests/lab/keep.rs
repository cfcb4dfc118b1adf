//! What is somebody's own stays: data, files, packages and services, whatever `up` and `down` do around them.

use std::collections::BTreeMap;

use docker_cluster::facts::{self, Facts};

use super::harness::{Lab, docker};

/// Files that were there before the engine, each with its mode.
const OWN_FILES: &[(&str, &str, &str)] = &[
    ("/etc/default/docker", "640", "# mine\nDOCKER_OPTS=\"\"\n"),
    // Word for word what the package brings: dpkg sees no difference to its own.
    ("/etc/init.d/docker", "755", ""),
    (
        "/etc/containerd/config.toml",
        "600",
        "version = 2\n# mine, without an end of line",
    ),
    ("/etc/docker/daemon.json", "640", "{\n\t\"debug\": false}"),
];

/// Bytes, modes and owners of these files and their folders, as one text.
fn own_files(lab: &Lab) -> String {
    let paths: Vec<&str> = OWN_FILES.iter().map(|(path, ..)| *path).collect();
    let folders = "/etc/default /etc/containerd /etc/docker";
    lab.sh(
        1,
        &format!(
            "stat -c '%a %U:%G %n' {0} {folders}; sha256sum {0}",
            paths.join(" ")
        ),
    )
}

/// What dpkg knows of, whatever state it is in.
fn packages(lab: &Lab) -> String {
    lab.sh(
        1,
        "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' | grep -v '^un' | sort",
    )
}

/// A `dpkg` that runs this shell line first, with its arguments as `$*`.
fn with_dpkg(lab: &Lab, line: &str) {
    let script = format!("#!/bin/sh\n{line}\nexec /usr/bin/dpkg.real \"$@\"\n");
    lab.sh(
        1,
        "[ -e /usr/bin/dpkg.real ] || mv /usr/bin/dpkg /usr/bin/dpkg.real",
    );
    lab.sh(
        1,
        &format!("cat > /usr/bin/dpkg <<'END'\n{script}END\nchmod 755 /usr/bin/dpkg"),
    );
}

fn with_own_dpkg(lab: &Lab) {
    lab.sh(1, "mv -f /usr/bin/dpkg.real /usr/bin/dpkg");
}

#[test]
#[ignore = "needs a Docker engine"]
fn an_engine_comes_and_goes_and_costs_nobody_anything() {
    let lab = Lab::up("keep", &["--hosts", "1", "--os", "debian-13", "--bare"]);
    nothing_is_removed_to_make_room(&lab);
    for (path, mode, text) in OWN_FILES {
        lab.sh(
            1,
            &format!(
                "mkdir -p $(dirname {path}); printf '%s' '{text}' > {path}; chmod {mode} {path}"
            ),
        );
    }
    lab.sh(1, "chmod 750 /etc/containerd; cd /tmp && apt-get -q download docker.io && dpkg-deb --fsys-tarfile docker.io_*.deb | tar -xO ./etc/init.d/docker > /etc/init.d/docker");
    let (files, before) = (own_files(&lab), packages(&lab));

    // Packages that cannot be configured go again, and nothing of somebody's with them.
    with_dpkg(
        &lab,
        "case \" $* \" in *\" --configure \"*) echo no strength left >&2; exit 1 ;; esac",
    );
    let ran = lab.run(&["up", "--yes"]).expect(1);
    with_own_dpkg(&lab);
    assert!(
        ran.err.contains("no strength left") && ran.err.contains("is back to what worked before."),
        "{}",
        ran.err
    );
    assert_eq!(
        (own_files(&lab), packages(&lab)),
        (files.clone(), before.clone())
    );

    lab.run(&["up", "--yes"]).expect(0);
    assert!(
        lab.sh(1, "docker info --format '{{.ServerVersion}}'")
            .starts_with("26.")
    );
    assert_eq!(own_files(&lab), files);
    let rows = somebodys_volume(&lab);

    // The packages go, and what they have written stays. The first try is cut off when dpkg has removed what it takes for its own.
    let shown = lab.run(&["down", "--purge", "--plan"]).expect(0).out;
    for words in [
        "/var/lib/docker (",
        ") stays: volume orders (",
        "container app; `--purge-data` would remove it",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    with_dpkg(
        &lab,
        "case \" $* \" in *\" --purge \"*) /usr/bin/dpkg.real \"$@\"; exit 1 ;; esac",
    );
    lab.run(&["down", "--purge", "--yes"]).expect(1);
    with_own_dpkg(&lab);
    lab.run(&["down", "--purge", "--yes"]).expect(0);
    assert_eq!(
        (own_files(&lab), packages(&lab)),
        (files.clone(), before.clone())
    );
    assert_eq!(
        lab.sh(1, "sha256sum < /var/lib/docker/volumes/orders/_data/rows"),
        rows
    );
    lab.sh(
        1,
        "! test -e /var/lib/docker-cluster && ! getent group docker && ! find /etc -name '.docker-cluster*' | grep .",
    );

    // What was there before the engine stays whatever is said; what came with it goes if that is said.
    lab.run(&["up", "--yes"]).expect(0);
    assert!(
        lab.sh(1, "docker ps -a --format '{{.Names}}'")
            .contains("app"),
        "the engine finds what it had"
    );
    let kept = lab
        .run(&["down", "--purge", "--purge-data", "--plan"])
        .expect(0)
        .out;
    assert!(
        kept.contains("was there before `up` installed docker.io, and stays"),
        "{kept}"
    );
    // As if the engine had come first: another installation for that would take half a minute.
    lab.sh(1, "sed -i '/^data /d' /var/lib/docker-cluster/record/made");
    lab.run(&["down", "--purge-data", "--yes"]).expect(2);
    let ran = lab
        .run(&["down", "--purge", "--purge-data", "--yes"])
        .expect(0);
    assert!(
        ran.out.contains("REMOVE FOR GOOD /var/lib/docker (")
            && ran.out.contains("with volume orders ("),
        "{}",
        ran.out
    );
    assert_eq!(
        lab.sh(
            1,
            "ls -A /var/lib/docker /var/lib/containerd 2>/dev/null | grep -v : || true"
        )
        .trim(),
        ""
    );
    assert_eq!((own_files(&lab), packages(&lab)), (files, before));
}

/// A container with a volume that has something in it; returns the checksum of that.
fn somebodys_volume(lab: &Lab) -> String {
    let image = lab.smoke_image();
    let script = "head -c 300000 /dev/urandom > /data/rows; exec sleep 100000";
    lab.sh(
        1,
        &format!(
            "docker run -d --stop-timeout 1 --name app -v orders:/data {image} sh -c '{script}'"
        ),
    );
    lab.eventually("the volume has its data", || {
        lab.ask(
            1,
            "test $(stat -c %s /var/lib/docker/volumes/orders/_data/rows) = 300000",
        )
        .map(drop)
    });
    lab.sh(1, "sha256sum < /var/lib/docker/volumes/orders/_data/rows")
}

/// A Kubernetes node on Docker's own containerd: to install Debian's engine would take that away.
fn nothing_is_removed_to_make_room(lab: &Lab) {
    // The real package cannot be had here; what it says of others is what apt decides by.
    let control = "Package: containerd.io\nVersion: 1.7.27-1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nProvides: containerd, runc\nConflicts: containerd, runc\nReplaces: containerd, runc\nDescription: stands for containerd\n";
    lab.sh(1, &format!("mkdir -p /tmp/p/DEBIAN && printf '%s' '{control}' > /tmp/p/DEBIAN/control && dpkg-deb --build /tmp/p /tmp/containerd.io.deb && dpkg -i /tmp/containerd.io.deb"));
    lab.sh(1, "mkdir -p /etc/kubernetes /run/containerd/io.containerd.runtime.v2.task/k8s.io/pod; systemd-run -q --unit kubelet sleep 100000");
    let before = (packages(lab), lab.fingerprint(1));
    let words = format!(
        "{}: installing docker.io would remove containerd.io 1.7.27-1; what may need it is there: kubelet (active), /etc/kubernetes, 1 in containerd's namespace k8s.io",
        lab.host(1)
    );
    // Once without apt's lists, once with them.
    for _ in 0..2 {
        let ran = lab.run(&["up", "--yes"]).expect(1);
        assert!(ran.out.contains(&words), "{}", ran.out);
        assert_eq!((packages(lab), lab.fingerprint(1)), before);
        lab.sh(1, "apt-get -q update");
    }
    // The script that installs looks for itself: what the plan saw may be some minutes old.
    let install = include_str!("../../templates/apt-install.sh");
    let said = lab
        .ask(
            1,
            &format!("sh -s -- docker.io <<'END_OF_SCRIPT'\n{install}\nEND_OF_SCRIPT"),
        )
        .unwrap_err();
    assert!(
        said.contains("installing docker.io would remove containerd.io, which somebody may need. Nothing was done."),
        "{said}"
    );
    assert_eq!(packages(lab), before.0);
    lab.sh(1, "systemctl stop kubelet; rm -r /etc/kubernetes /run/containerd /var/lib/docker-cluster; dpkg --purge containerd.io");
    // A program that no package owns is written over by dpkg without a word.
    lab.sh(
        1,
        "printf '#!/bin/sh\\n' > /usr/bin/runc; chmod 755 /usr/bin/runc",
    );
    let ran = lab.run(&["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains("/usr/bin/runc was put there by hand"),
        "{}",
        ran.out
    );
    let said = lab
        .ask(
            1,
            &format!("sh -s -- docker.io <<'END_OF_SCRIPT'\n{install}\nEND_OF_SCRIPT"),
        )
        .unwrap_err();
    assert!(
        said.contains("would write over files that somebody put there by hand: /usr/bin/runc."),
        "{said}"
    );
    lab.sh(1, "rm -r /usr/bin/runc /var/lib/docker-cluster");
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_swarm_that_others_use_does_not_end() {
    let lab = Lab::up("stack", &["--hosts", "2", "--os", "debian-13"]);
    // An engine as its package installs it alone: its client is another.
    lab.sh(2, "DEBIAN_FRONTEND=noninteractive apt-get -q remove -y docker-cli < /dev/null; ! command -v docker");
    let ran = lab.run(&["up", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains("install the Docker client, which the engine lacks"),
        "{}",
        ran.out
    );

    let image = lab.smoke_image();
    let stack = format!(
        "version: '3.8'\nservices: {{web: {{image: '{image}', command: sleep 100000, stop_grace_period: 1s, secrets: [pw], configs: [conf]}}}}\nsecrets: {{pw: {{file: /etc/hostname}}}}\nconfigs: {{conf: {{file: /etc/hostname}}}}\n"
    );
    lab.sh(1, &format!("cat > /tmp/stack.yaml <<'END'\n{stack}END\ndocker stack deploy --resolve-image never -c /tmp/stack.yaml shop"));
    lab.sh(1, &format!("docker service create -q --detach --no-resolve-image --stop-grace-period 1s --name lone {image} sleep 100000; echo x | docker secret create topsecret -; echo y | docker config create nginxconf -; docker network create -d overlay --attachable mine"));
    let holds = |host: usize| {
        lab.sh(
            host,
            "docker service ls -q; docker secret ls -q; docker config ls -q; docker network ls -q",
        )
    };
    let before = holds(1);
    let ran = lab.run(&["down", "--yes"]).expect(1);
    let words = format!(
        "{}: the swarm ends with this, and holds what is not docker-cluster's: the stack shop (service shop_web, secret shop_pw, config shop_conf, network shop_default), the service lone, the secret topsecret, the config nginxconf, the network mine",
        lab.host(1)
    );
    assert!(
        ran.out.contains(&words) && ran.out.contains("`docker stack rm shop`"),
        "{}",
        ran.out
    );
    assert_eq!(holds(1), before);
    both_halves_say_the_same(&lab);

    // With nothing of others in it, it ends.
    lab.sh(1, "docker stack rm shop; docker service rm lone; docker secret rm topsecret; docker config rm nginxconf; docker network rm mine");
    lab.eventually("the stack is gone", || {
        let left = lab.ask(1, "docker network ls --format '{{.Name}}' --filter name=shop_default; docker ps -q --filter label=com.docker.stack.namespace")?;
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
    lab.run(&["down", "--yes"]).expect(0);
    for host in 1..=2 {
        assert_eq!(
            lab.sh(host, "docker info --format '{{.Swarm.LocalNodeState}}'")
                .trim(),
            "inactive"
        );
    }
    a_swarm_that_was_there_keeps_its_quorum(&lab);
}

/// The probe says the same of a swarm and of an engine's data with Perl and without; sizes are told with it alone.
fn both_halves_say_the_same(lab: &Lab) {
    let without = facts::SCRIPT.replace("\nperl=$(command -v perl)\n", "\nperl=\n");
    let ask = |script: &str| -> Facts {
        let output = docker(&["exec", &lab.host(1), "sh", "-c", script, "facts", "data"]);
        facts::parse(output.as_bytes(), 0, i64::MAX).unwrap()
    };
    lab.sh(1, "docker volume create orders");
    let (with, without) = (ask(facts::SCRIPT), ask(&without));
    let names = |facts: &Facts| -> BTreeMap<String, String> {
        facts
            .in_swarm
            .iter()
            .flatten()
            .map(|one| (one.name.clone(), format!("{} {:?}", one.kind, one.stack)))
            .collect()
    };
    assert_eq!(names(&with).len(), 6, "{:?}", with.in_swarm);
    assert_eq!(names(&with), names(&without));
    let volumes = |facts: &Facts| -> Vec<String> {
        facts
            .data
            .volumes
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    };
    assert_eq!(
        (volumes(&with), volumes(&with)),
        (volumes(&without), vec!["orders".to_owned()])
    );
    assert_eq!(with.data.volumes[0].1, Some(0), "its size is told");
    lab.sh(1, "docker volume rm orders");
}

/// Somebody's own swarm, which `up` joined a host to that is a manager by now.
fn a_swarm_that_was_there_keeps_its_quorum(lab: &Lab) {
    lab.sh(1, "docker swarm init --advertise-addr $(hostname -I | tr ' ' '\\n' | grep ^10.213) && docker network create -d overlay theirs");
    lab.run(&["up", "--yes"]).expect(0);
    lab.sh(1, &format!("docker node promote {}", lab.host(2)));
    lab.eventually("there are two managers", || {
        let state = lab.ask(2, "docker info --format '{{.Swarm.ControlAvailable}}'")?;
        if state.trim() == "true" {
            Ok(())
        } else {
            Err(state)
        }
    });
    let ran = lab.run(&["down", "--yes"]).expect(0);
    assert!(
        ran.out.contains(&format!(
            "{}: it stays in its swarm, which it was in before",
            lab.host(1)
        )),
        "{}",
        ran.out
    );
    assert_eq!(
        lab.sh(
            1,
            "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'"
        )
        .trim(),
        format!("{} Leader", lab.host(1))
    );
    assert!(
        lab.sh(1, "docker network ls --format '{{.Name}}'")
            .contains("theirs")
    );
    assert_eq!(
        lab.sh(2, "docker info --format '{{.Swarm.LocalNodeState}}'")
            .trim(),
        "inactive"
    );
}
