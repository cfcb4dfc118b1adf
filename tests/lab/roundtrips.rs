//! The guard on speed: what a command costs on the line is counted, not timed. Round trips and bytes are the same on a busy machine.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use docker_cluster::facts;

use super::harness::{Lab, docker};

/// Round trips of a `plan`, or a `ps`, over a connection that is there: a channel is opened, the command goes with its script, the answer comes.
/// One is left for an answer so long that the window must be opened once more.
const PLAN_TRIPS: usize = 4;

/// The same for a `verify`: is the connection alive, who is on the network, start the probe, ask, remove it, four each at most.
const VERIFY_TRIPS: usize = 20;

/// What a `plan` may send to a host, in bytes: the probe's script, and what SSH puts around it.
const PLAN_SENT: usize = 60_000;

/// What it may receive: the facts of a host with few containers.
const PLAN_RECEIVED: usize = 60_000;

/// What went over a line. A round trip begins where we speak after the host has spoken.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    trips: usize,
    sent: usize,
    received: usize,
    host_spoke: bool,
}

#[derive(Clone, Copy)]
enum From {
    Us,
    Host,
}

fn pump(mut from: TcpStream, mut to: TcpStream, side: From, counted: &Mutex<Counted>) {
    let mut bytes = [0; 32768];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        {
            let mut counted = counted.lock().unwrap();
            match side {
                From::Us => {
                    // The first word after a silence is a trip too.
                    if counted.host_spoke || counted.sent == 0 {
                        counted.trips += 1;
                    }
                    counted.host_spoke = false;
                    counted.sent += count;
                }
                From::Host => {
                    counted.host_spoke = true;
                    counted.received += count;
                }
            }
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Listens for a host whose sshd is at `port`. Returns where, and the count.
fn relay(port: u16) -> (u16, Arc<Mutex<Counted>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let here = listener.local_addr().unwrap().port();
    let counted = Arc::new(Mutex::new(Counted::default()));
    let count = Arc::clone(&counted);
    spawn(move || {
        for ours in listener.incoming().flatten() {
            let host = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (ours_too, host_too) = (ours.try_clone().unwrap(), host.try_clone().unwrap());
            let (there, back) = (Arc::clone(&count), Arc::clone(&count));
            spawn(move || pump(ours, host, From::Us, &there));
            spawn(move || pump(host_too, ours_too, From::Host, &back));
        }
    });
    (here, counted)
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_plan_is_one_round_trip_and_a_few_bytes() {
    let lab = Lab::up("trips", &["--hosts", "2", "--os", "debian-11"]);
    let mut counts = Vec::new();
    let file = lab.variant("counted.yaml", |text| {
        let mut lines = Vec::new();
        for line in text.lines() {
            match line.split_once("port: ") {
                Some((before, port)) => {
                    let (port, count) = relay(port.trim_end_matches('}').parse().unwrap());
                    counts.push(count);
                    lines.push(format!("{before}port: {port}}}"));
                }
                None => lines.push(line.to_owned()),
            }
        }
        lines.join("\n") + "\n"
    });
    assert_eq!(counts.len(), 2);
    lab.run_with(&file, &["up", "--yes"]).expect(0);
    for (command, trips) in [
        ("plan", PLAN_TRIPS),
        ("ps", PLAN_TRIPS),
        ("verify", VERIFY_TRIPS),
    ] {
        // The best of three: on a busy machine a step may have to be tried again, or an answer comes in pieces.
        let mut runs = (0..3).map(|_| {
            for count in &counts {
                *count.lock().unwrap() = Counted::default();
            }
            lab.run_with(&file, &[command]).expect(0);
            let counted: Vec<Counted> = counts.iter().map(|count| *count.lock().unwrap()).collect();
            counted
        });
        let fits = |counted: &Counted| {
            counted.trips <= trips
                && (command != "plan"
                    || counted.sent <= PLAN_SENT && counted.received <= PLAN_RECEIVED)
        };
        let mut seen = Vec::new();
        assert!(
            runs.any(|counted| {
                seen.push(counted.clone());
                counted.iter().all(fits)
            }),
            "{command}: {seen:?}"
        );
    }
    with_and_without_perl(&lab);
    an_engine_that_hangs(&lab, &file);
}

/// It costs no other fact, and the time of one question: the whole probe has a minute.
fn an_engine_that_hangs(lab: &Lab, file: &Path) {
    let signal = |signal| lab.sh(2, &format!("kill -{signal} $(cat /var/run/docker.pid)"));
    signal("STOP");
    let ran = lab.run_with(file, &["plan"]);
    signal("CONT");
    let ran = ran.expect(1);
    let words = format!(
        "{}: its engine runs but does not answer `docker info`",
        lab.host(2)
    );
    assert!(
        ran.out.contains(&words) && !ran.out.contains("cannot be asked"),
        "{}",
        ran.out
    );
    assert_eq!(ran.out.matches("✗").count(), 1, "{}", ran.out);
}

/// The probe says the same whether Perl asks the engine and the store, or their clients do.
fn with_and_without_perl(lab: &Lab) {
    let without = facts::SCRIPT.replace("\nperl=$(command -v perl)\n", "\nperl=\n");
    assert_ne!(without, facts::SCRIPT);
    // For what apt could install: a host of a lab comes without lists.
    lab.sh(1, "apt-get -q update");
    // Lines of sockets have other lengths for IPv6, and the kernel's table is not read to its end.
    let listen = "my $six = -e q(/proc/net/tcp6); for (20001..20040) { \
        socket(my $one, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 0) or die; \
        bind($one, $six ? pack_sockaddr_in6($_, Socket::IN6ADDR_ANY) : pack_sockaddr_in($_, INADDR_ANY)) or die; \
        listen($one, 1) or die; push @all, $one } sleep 600";
    lab.sh(
        1,
        &format!("systemd-run -q --unit listeners perl -MSocket -e '{listen}'"),
    );
    lab.eventually("forty sockets listen", || {
        lab.ask(1, "cat /proc/net/tcp /proc/net/tcp6 | grep ':4E48 '")
            .map(drop)
    });
    let ask = |script: &str, scope: &str| {
        let output = docker(&["exec", &lab.host(1), "sh", "-c", script, "facts", scope]);
        let mut facts = facts::parse(output.as_bytes(), 0, i64::MAX).unwrap();
        // What is different from one moment to the next, or is in no order.
        facts.clock = 0;
        facts.store.members.sort();
        facts.udp.clear();
        assert_eq!(
            facts
                .tcp
                .iter()
                .filter(|(_, port)| (20001..=20040).contains(port))
                .count(),
            40,
            "{output}"
        );
        if let Some(engine) = &mut facts.engine {
            engine.networks.sort_by(|a, b| a.name.cmp(&b.name));
            engine.containers.sort_by(|a, b| a.name.cmp(&b.name));
            // Endpoints are a question of their own; Docker's client prints them unasked.
            engine
                .networks
                .iter_mut()
                .for_each(|network| network.endpoints.clear());
            engine.endpoints.sort_by(|a, b| a.name.cmp(&b.name));
            let up = engine.is_up();
            engine.info = None;
            assert!(up, "{output}");
            assert!(
                scope != "candidates" || !facts.engine_versions.is_empty(),
                "{output}"
            );
        }
        format!("{facts:#?}")
    };
    let only = |of: &str, other: &str| -> Vec<String> {
        of.lines()
            .filter(|line| !other.lines().any(|there| there == *line))
            .map(str::to_owned)
            .collect()
    };
    for scope in ["candidates", "endpoints"] {
        let (with, without) = (ask(facts::SCRIPT, scope), ask(&without, scope));
        // Two texts of a thousand lines are of no use to anybody: what only one of them has is.
        assert!(
            with == without,
            "with {:#?}, without {:#?}",
            only(&with, &without),
            only(&without, &with)
        );
    }
}
