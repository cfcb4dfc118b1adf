#!/usr/bin/env python3
"""Measures docker-cluster against what people use now, and writes BENCHMARKS.md. `make bench` runs it.

Everything happens on throwaway hosts of this machine and is removed at the end, also after an interruption. What is compared runs
in turns, so that a machine that is busy for a while is busy for all of them; what counts is the ratio of the medians.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PROGRAM = ROOT / "target/release/docker-cluster"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "docker-cluster" / "bench-venv"
# What is added to each round trip for the row about distance: a continent away.
DELAY_MS = 100
# How many hosts `plan` is measured with.
SCALES = (10, 25, 50, 100)
# How often each measurement is made: an odd number, so that the median is one of them. Those that take a minute are made less often.
OFTEN, SELDOM = 7, 3
# How often ten hosts are made into a cluster for the first time.
FIRST = 10
# What two measurements of the same thing differ by on a shared machine, where a goal is compared to a difference or a growth.
NOISE = 0.1

# inotify instances that systemd and its services take on a host of a lab; beyond the machine's limit a host's sshd does not come up.
INOTIFY = 8

rows, notes, pages = [], [], []
began = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)


def run(command, check=True, **kwargs):
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.STDOUT)
    result = subprocess.run([str(word) for word in command], text=True, **kwargs)
    if check and result.returncode != 0:
        raise RuntimeError(f"{command} failed with {result.returncode}:\n{result.stdout}")
    return result


def timed(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def in_turns(actions, times):
    """Medians, in seconds, of actions that run in turns. An action is a function, or a pair: what comes before, and what is timed."""
    taken = {name: [] for name in actions}
    for _ in range(times):
        for name, action in actions.items():
            before, action = action if isinstance(action, tuple) else (None, action)
            if before:
                before()
            taken[name].append(timed(action))
    return {name: statistics.median(all) for name, all in taken.items()}


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def row(what, against, goal, ours, theirs, ratio, met, why=""):
    written, said = {True: ("yes", "met"), False: ("**no**", "MISSED"), None: ("", "")}[met]
    rows.append((what, against, goal, ours, theirs, ratio, written, why))
    say(f"{what} | {against} | {ours} | {theirs} | {ratio} | {said}")


def compared(what, against, goal, ours, theirs, why=""):
    """A row of seconds that are to be at most `goal` times theirs."""
    ratio = ours / theirs
    row(what, against, f"≤ {goal}", seconds(ours), seconds(theirs), f"{ratio:.2f}", ratio <= goal, "" if ratio <= goal else why)


class Lab:
    """Throwaway hosts."""

    def __init__(self, name, hosts, *arguments):
        self.name, self.folder = name, Path(tempfile.mkdtemp(prefix="dc-bench-"))
        self.file = self.folder / "cluster.yaml"
        self.down()
        say(f"making the lab {name} with {hosts} hosts")
        run([PROGRAM, "lab", "up", "--name", name, "--hosts", hosts, "--inventory", self.file, *arguments])
        text = self.file.read_text()
        self.identity = Path(re.search(r'identity: "(.*)"', text)[1])
        self.known_hosts = Path(re.search(r'known_hosts: "(.*)"', text)[1])
        self.image, self.tar = re.search(r"image: (.*)", text)[1], re.search(r'tar: "(.*)"', text)[1]
        entry = re.compile(r"name: (\S+)\n +address: (\S+)\n +private: (\S+)\n +ssh: \{user: (\w+), port: (\d+)\}")
        self.hosts = [
            {"name": name, "private": private, "user": user, "port": int(port)}
            for name, _, private, user, port in entry.findall(text)
        ]

    def down(self):
        run([PROGRAM, "lab", "down", "--name", self.name], check=False)

    def remove(self):
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cluster(self, *arguments, file=None, codes=(0,)):
        result = run([PROGRAM, "-f", file or self.file, *arguments], check=False)
        if result.returncode not in codes:
            raise RuntimeError(f"{arguments} ended with {result.returncode}:\n{result.stdout}")
        return result.stdout

    def log_in_as(self, user):
        """From here on; the key opens every host for root and for its ordinary user."""
        for host in self.hosts:
            host["user"] = user
        self.file.write_text(re.sub(r"user: \w+", f"user: {user}", self.file.read_text()))

    def on(self, host, line):
        return run(["docker", "exec", host["name"], "sh", "-c", line]).stdout

    def everywhere(self, line):
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return list(pool.map(lambda host: self.on(host, line), self.hosts))

    def ssh(self, host, port=None, control=None):
        words = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", self.identity]
        words += ["-o", f"UserKnownHostsFile={self.known_hosts}", "-l", host["user"], "-p", port or host["port"]]
        words += ["-o", "StrictHostKeyChecking=accept-new"]
        if control:
            words += ["-S", control]
        return [str(word) for word in [*words, "127.0.0.1"]]


def parallel(commands, inputs=None):
    """Runs commands at once and waits for all; each must succeed."""
    started = [subprocess.Popen(c, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
    codes = [process.wait() for process in started]
    if any(codes):
        raise RuntimeError(f"exit codes {codes} of {commands[0]}...")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def disconnect():
    run([PROGRAM, "disconnect"], check=False)


def tools():
    """pyinfra and Ansible, from PyPI, in an environment of their own."""
    if not (CACHE / "bin/pyinfra").exists() or not (CACHE / "bin/ansible-playbook").exists():
        say("installing pyinfra and Ansible")
        run([sys.executable, "-m", "venv", CACHE])
        run([CACHE / "bin/pip", "-q", "install", "pyinfra>=3,<4", "ansible-core"])


class Others:
    """pyinfra and Ansible on the hosts of a lab, directly or through other ports."""

    def __init__(self, lab, name, ports):
        self.folder = lab.folder / name
        self.folder.mkdir()
        (self.folder / "ansible.ini").write_text(
            "\n".join(
                f"{h['name']} ansible_host=127.0.0.1 ansible_port={p} ansible_user={h['user']} ansible_become=true "
                f"ansible_ssh_private_key_file={lab.identity} "
                f"ansible_ssh_common_args='-o UserKnownHostsFile={lab.folder}/known-{name} -o StrictHostKeyChecking=accept-new'"
                for h, p in zip(lab.hosts, ports)
            )
            + "\n"
        )
        entries = [
            (
                h["name"],
                {
                    "ssh_hostname": "127.0.0.1",
                    "ssh_port": p,
                    "ssh_user": h["user"],
                    "ssh_key": str(lab.identity),
                    "ssh_known_hosts_file": f"{lab.folder}/known-{name}",
                    "ssh_strict_host_key_checking": "accept-new",
                },
            )
            for h, p in zip(lab.hosts, ports)
        ]
        (self.folder / "inventory.py").write_text(f"hosts = {entries!r}\n")
        self.control = self.folder / "cp"

    def environment(self):
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(HERE / "ansible/ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.control),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "LC_ALL": "C.UTF-8",
        }

    def ansible(self):
        command = [CACHE / "bin/ansible-playbook", "-i", self.folder / "ansible.ini", HERE / "ansible/nothing-to-do.yml"]
        text = run(command, env=self.environment()).stdout
        if "changed=0" not in text or re.search(r"(changed|failed|unreachable)=[1-9]", text):
            raise RuntimeError(text)

    def pyinfra(self):
        command = [CACHE / "bin/pyinfra", "-y", self.folder / "inventory.py", HERE / "pyinfra/nothing_to_do.py"]
        run(command, env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL)

    def forget(self):
        """Ends the connections that Ansible keeps."""
        for path in self.control.glob("*"):
            run(["ssh", "-O", "exit", "-S", path, "x"], check=False)


def against_ssh(lab, command="true"):
    """Medians of `plan` with nothing to do and of `ssh HOST COMMAND` for all hosts at once, cold and warm."""
    say("making the cluster")
    lab.cluster("up", "--yes", codes=(0, 4))
    if "Nothing to do" not in lab.cluster("plan"):
        raise RuntimeError("the plan is not empty")
    cold = [[*lab.ssh(host), command] for host in lab.hosts]
    masters = [lab.folder / f"{n}.ctl" for n in range(len(lab.hosts))]
    for host, control in zip(lab.hosts, masters):
        run([*lab.ssh(host, control=control)[:-1], "-M", "-N", "-f", "-o", "ControlPersist=600", "127.0.0.1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    warm = [[*lab.ssh(host, control=control), command] for host, control in zip(lab.hosts, masters)]
    plan = lambda: lab.cluster("plan")
    say("plan, cold and warm")
    try:
        near = in_turns({"ssh": lambda: parallel(cold), "ours": (disconnect, plan)}, OFTEN)
        near_warm = in_turns({"ssh": lambda: parallel(warm), "ours": plan}, OFTEN)
    finally:
        for path in masters:
            run(["ssh", "-O", "exit", "-S", path, "x"], check=False)
    return near, near_warm


def alone():
    """One host has the cores of this machine to itself, as each host of its own has: as root, and as a user with sudo, which takes its time."""
    lab = Lab("bench-alone", 1, "--os", "debian-11")
    try:
        for user, command in (("root", "true"), (lab.hosts[0]["user"], "sudo -n true")):
            lab.log_in_as(user)
            for kind, measured in zip(("cold", "warm"), against_ssh(lab, command)):
                ours, theirs = measured["ours"], measured["ssh"]
                what = f"`plan` with nothing to do, one host alone as {user}, {kind}"
                against = f"`ssh HOST {command}`" + (" over a warm master" if kind == "warm" else "")
                if kind == "cold" and user == "root":
                    compared(what, against, 1.3, ours, theirs)
                else:
                    row(what, against, "", seconds(ours), seconds(theirs), f"{ours / theirs:.2f}", None)
    finally:
        lab.remove()


def nothing_to_do(lab):
    """Rows 1 to 3, and the one about distance."""
    near, near_warm = against_ssh(lab)
    plan = lambda: lab.cluster("plan")
    cpu = host_cpu(lab, plan)
    number = len(lab.hosts)
    what = f"`plan` with nothing to do, {number} hosts"
    probe = f"the facts cost {cpu * 1000:.0f} ms of CPU a host, and all {number} hosts share the {os.cpu_count()} cores of this machine: {cpu * number / os.cpu_count():.2f} s of wall time that hosts of their own would spend side by side"
    for kind, measured, goal in (("cold", near, 1.5), ("warm", near_warm, 1.5)):
        against = "`ssh HOST true` to all at once" + (" over warm masters" if kind == "warm" else "")
        compared(f"{what}, {kind}", against, goal, measured["ours"], measured["ssh"], probe)
    say("Python for Ansible")
    lab.everywhere("DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; (apt-get -q update && apt-get -q install -y --no-install-recommends python3 python3-apt) >/dev/null 2>&1")
    others = Others(lab, "near", [host["port"] for host in lab.hosts])
    say("pyinfra and Ansible")
    theirs = in_turns({"ours": (disconnect, plan), "pyinfra": others.pyinfra, "ansible": (others.forget, others.ansible)}, SELDOM)
    theirs_warm = in_turns({"ours": plan, "pyinfra": others.pyinfra, "ansible": others.ansible}, SELDOM)
    for kind, all in (("cold", theirs), ("warm", theirs_warm)):
        ours, pyinfra, ansible = (all[name] for name in ("ours", "pyinfra", "ansible"))
        row(f"{what}, {kind}", "pyinfra" + (" (keeps no connections)" if kind == "warm" else ""), "2 times faster", seconds(ours), seconds(pyinfra), f"{pyinfra / ours:.1f} times faster", pyinfra >= 2 * ours)
        row(f"{what}, {kind}", "Ansible", "20 times faster", seconds(ours), seconds(ansible), f"{ansible / ours:.1f} times faster", ansible >= 20 * ours, "" if ansible >= 20 * ours else probe)
    others.forget()
    distance(lab, plan)


def host_cpu(lab, action):
    """CPU seconds that an action costs each host of a lab, or 0 where the machine does not tell."""
    ids = [run(["docker", "inspect", "-f", "{{.Id}}", host["name"]]).stdout.strip() for host in lab.hosts]

    def used():
        total = 0.0
        for id in ids:
            for path, read in (
                (f"/sys/fs/cgroup/cpuacct/docker/{id}/cpuacct.usage", lambda text: int(text) / 1e9),
                (f"/sys/fs/cgroup/system.slice/docker-{id}.scope/cpu.stat", lambda text: int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6),
                (f"/sys/fs/cgroup/docker/{id}/cpu.stat", lambda text: int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6),
            ):
                if os.path.exists(path):
                    total += read(Path(path).read_text())
                    break
        return total

    start = used()
    time.sleep(3)
    idle = (used() - start) / 3
    start = used()
    took = sum(timed(action) for _ in range(OFTEN))
    return max(0.0, used() - start - idle * took) / OFTEN / len(ids)


def distance(lab, near):
    """The same job with a round trip of 100 ms."""
    say(f"{DELAY_MS} ms on every round trip")
    ports = [free_port() for _ in lab.hosts]
    pairs = [f"{port}:{host['port']}" for port, host in zip(ports, lab.hosts)]
    relay = subprocess.Popen([sys.executable, HERE / "relay.py", str(DELAY_MS), *pairs], stdout=subprocess.PIPE, text=True)
    try:
        relay.stdout.readline()
        far_file = lab.folder / "far.yaml"
        text = lab.file.read_text().replace(str(lab.known_hosts), f"{lab.folder}/known-ours")
        for port, host in zip(ports, lab.hosts):
            text = text.replace(f"port: {host['port']}}}", f"port: {port}}}")
        far_file.write_text(text)
        others = Others(lab, "far", ports)
        ssh = [[*lab.ssh(host, port=port), "true"] for host, port in zip(lab.hosts, ports)]
        ssh = [[word.replace(str(lab.known_hosts), f"{lab.folder}/known-ssh") for word in line] for line in ssh]
        plan = lambda: lab.cluster("plan", file=far_file)
        far = in_turns({"ssh": lambda: parallel(ssh), "ours": (disconnect, plan)}, SELDOM)
        warm = in_turns({"near": near, "far": plan}, OFTEN)
        far_theirs = in_turns({"pyinfra": others.pyinfra, "ansible": (others.forget, others.ansible)}, 1)
        others.forget()
    finally:
        relay.terminate()
        relay.wait()
    after = (warm["far"] - warm["near"]) * 1000 / DELAY_MS
    row(f"`plan` with {DELAY_MS} ms on every round trip, warm", "the same without", f"≤ 3 round trips after connect, {NOISE:.0%} for noise", seconds(warm["far"]), seconds(warm["near"]), f"{after:.1f} round trips", after <= 3 * (1 + NOISE))
    row("the same, cold", "`ssh HOST true` through the same relay", "", seconds(far["ours"]), seconds(far["ssh"]), f"{far['ours'] / far['ssh']:.2f}", None)
    for name in ("pyinfra", "ansible"):
        factor = far_theirs[name] / far["ours"]
        row("the same, cold", {"pyinfra": "pyinfra", "ansible": "Ansible"}[name] + ", once", "the factor", seconds(far["ours"]), seconds(far_theirs[name]), f"{factor:.1f} times faster", None)


def verify(lab):
    """`verify` against one shell loop a host."""
    lab.cluster("up", "--yes", codes=(0, 4))
    document = json.loads(run([PROGRAM, "-f", lab.file, "verify", "--output", "json"], check=False, stderr=subprocess.DEVNULL).stdout)
    if not document["ok"]:
        # Engines of this age that start at the same instant can end in two gossip clusters; see BENCHMARKS.md.
        say("some pair does not reach; restarting the engines, one after the other")
        for host in lab.hosts:
            lab.on(host, "systemctl restart docker")
    lab.cluster("verify")
    script = (HERE / "sh/verify-loop.sh").read_text()

    def loop():
        started = []
        names = [host["name"] for host in lab.hosts]
        for host in lab.hosts:
            others = [name for name in names if name != host["name"]]
            words = ["sudo", "-n", "sh", "-c", script, "loop", lab.name, lab.image, host["name"], *others]
            line = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
            started.append(subprocess.Popen([*lab.ssh(host), line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for word in ("started", "done"):
            for process in started:
                line = process.stdout.readline()
                if line != f"{word}\n":
                    raise RuntimeError(f"the loop says: {line}")
            for process in started:
                process.stdin.write("go\n")
                process.stdin.flush()
        said = [process.communicate()[0] for process in started]
        if any(said):
            raise RuntimeError("".join(said))

    number = len(lab.hosts)
    say("verify")
    took = in_turns({"loop": loop, "ours": (disconnect, lambda: lab.cluster("verify"))}, SELDOM)
    what = f"`verify`, {number} hosts ({number * (number - 1)} pairs), cold"
    compared(what, "containers and the same wgets by one shell loop a host, all at once", 1.0, took["ours"], took["loop"])


def ps(lab):
    """The containers of all hosts, over connections that are there, against Docker's own client over its own. As root: the ordinary user of
    a lab is not in the group `docker`, and Docker's client knows no sudo."""
    lab.log_in_as("root")
    folder = lab.folder / "docker"
    folder.mkdir()
    # Docker's client runs `ssh`, which reads the configuration of the user and no other: so this one comes first in PATH.
    config = folder / "config"
    config.write_text(lab.cluster("ssh-config"))
    shim = folder / "ssh"
    shim.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    shim.chmod(0o755)
    names = [host["name"] for host in lab.hosts]
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def theirs():
        started = [subprocess.Popen(["docker", "-H", f"ssh://{name}", "ps"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for name in names]
        said = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            raise RuntimeError("".join(said))

    say("ps")
    theirs(), lab.cluster("ps")
    took = in_turns({"docker": theirs, "ours": lambda: lab.cluster("ps")}, OFTEN)
    factor = took["docker"] / took["ours"]
    row(f"`ps`, {len(names)} hosts, warm", "`docker -H ssh://HOST ps` to each, in parallel, over the connections that `ssh-config` shares", "2 times faster", seconds(took["ours"]), seconds(took["docker"]), f"{factor:.1f} times faster", factor >= 2)


def first_up():
    """A first `up` of ten hosts where engines are present: how long it takes against the same by hand, and whether it is green. Engines that
    come at the same time have to learn of each other before anything can be proved. A run needs hosts that have never seen one."""
    took, green = {"ours": [], "by hand": []}, 0
    for number in range(1, FIRST + 1):
        for way in took if number <= SELDOM else ["ours"]:
            lab = Lab("bench-first", 10, "--os", "debian-13")
            try:
                # Three managers, as in the script: ten hosts get five of their own accord, and managers join one after the other.
                lab.file.write_text("swarm: {managers: 3}\n" + lab.file.read_text())
                # As for a person: the engines have been up for a while, and the connections are cold.
                lab.everywhere("until docker info >/dev/null 2>&1; do sleep 0.2; done")
                disconnect()
                start = time.monotonic()
                if way == "ours":
                    result = run([PROGRAM, "-f", lab.file, "up", "--yes"], check=False)
                    green += result.returncode == 0
                    if result.returncode != 0:
                        say(result.stdout[-3000:])
                else:
                    first_up_by_hand(lab)
                took[way].append(time.monotonic() - start)
                say(f"first `up` of ten hosts, {way}, {number} of {FIRST}: {took[way][-1]:.1f} s")
            finally:
                lab.remove()
    # The runs that took turns.
    ours, theirs = (statistics.median(took[way][:SELDOM]) for way in ("ours", "by hand"))
    compared("first `up`, 10 hosts with engines (swarm mode)", "the same steps by a shell script, in parallel", 1.1, ours, theirs)
    row("the same: green", "", "every time", f"{green} of {FIRST}", "", "", green == FIRST)


def first_up_by_hand(lab):
    for number, host in enumerate(lab.hosts, 1):
        wrapper = lab.folder / f"ssh-{number}"
        line = "sudo -n sh -c '$(printf %s \"$1\" | sed \"s/'/'\\\\\\\\''/g\")'"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(lab.ssh(host))} "{line}"\n')
        wrapper.chmod(0o755)
    addresses = [host["private"] for host in lab.hosts]
    run(["sh", HERE / "sh/first-up.sh", lab.folder, lab.tar, lab.image, HERE / "sh/verify-loop.sh", *addresses])


def wireguard():
    """Throughput of `routed` over WireGuard, against the same by hand: two labs, measured in turns by the program that `bench` uses."""
    ours, hand = Lab("bench-wg-ours", 2, "--os", "debian-13"), Lab("bench-wg-hand", 2, "--os", "debian-13")
    try:
        text = ours.file.read_text()
        ours.file.write_text("network: {fabric: routed}\nunderlay: wireguard\n" + text)
        ours.cluster("up", "--yes")
        script = (HERE / "sh/wireguard.sh").read_text()
        do = lambda host, *words: run(["docker", "exec", host["name"], "sh", "-c", script, "wireguard", *words], stderr=None).stdout.strip()
        one, two = hand.hosts
        hand.everywhere(f"docker load -q -i {load(hand)}")
        keys = [do(host, "key") for host in hand.hosts]
        do(one, "up", "1", "2", two["private"], keys[1], hand.image)
        ends = [do(two, "up", "2", "1", one["private"], keys[0], hand.image).split()]
        source = do_pid(hand, one)
        program = (ROOT / "templates/verify/bench.pl").read_text()
        address, pid = ends[0]

        def by_hand():
            server = subprocess.Popen(["docker", "exec", "-i", two["name"], "nsenter", "-t", pid, "-n", "perl", "-e", program, "serve", "fabric", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                port = server.stdout.readline().split()[2]
                said = run(["docker", "exec", one["name"], "nsenter", "-t", source, "-n", "perl", "-e", program, "ask", "fabric", address, port]).stdout
                return float(said.split()[4])
            finally:
                server.stdin.close()
                server.wait()

        def measured():
            pair = f"{ours.hosts[0]['name']}:{ours.hosts[1]['name']}"
            document = json.loads(run([PROGRAM, "-f", ours.file, "bench", pair, "--output", "json"], stderr=subprocess.DEVNULL).stdout)
            return document["bench"][0]["fabric"]["bits_per_second"]

        rates = {"ours": [], "hand": []}
        for _ in range(OFTEN):
            rates["hand"].append(by_hand())
            rates["ours"].append(measured())
        mine, theirs = statistics.median(rates["ours"]), statistics.median(rates["hand"])
        row("`routed` over WireGuard (in a process), one stream", "the same by hand with `wg-quick` and routes", "≥ 0.95", f"{mine / 1e9:.2f} Gbit/s", f"{theirs / 1e9:.2f} Gbit/s", f"{mine / theirs:.2f}", mine >= 0.95 * theirs)
    finally:
        ours.remove()
        hand.remove()


def load(lab):
    """Puts the image of the probes onto each host of a lab, and returns where it is there."""
    for host in lab.hosts:
        run(["docker", "cp", lab.tar, f"{host['name']}:/root/probe.tar"])
    return "/root/probe.tar"


def do_pid(lab, host):
    return lab.on(host, "docker inspect --format '{{.State.Pid}}' hand").strip()


def prices():
    """What every fabric costs: a page of its own, and the same table here."""
    say("every fabric")
    page = ROOT / "docs/prices.md"
    with tempfile.TemporaryDirectory() as folder:
        result = run([PROGRAM, "bench", "--fabrics", "--markdown", page, "--html", Path(folder) / "prices.html"], check=False)
    say(result.stdout[-4000:])
    if result.returncode != 0:
        raise RuntimeError(result.stdout)
    lines = page.read_text().splitlines()
    pages.append("\n".join(["## What every fabric costs", *[line.replace("## ", "### ") for line in lines[1:]]]))


def bare():
    """Bare hosts to a green matrix, and what apt takes of it."""
    # The run in the middle, so that its figures belong together.
    total, slowest, rest = sorted((bare_once() for _ in range(SELDOM)), key=lambda run: run[2])[SELDOM // 2]
    row("3 bare hosts to a green matrix", "apt on the slowest host", "≤ 15 s on top", seconds(total), seconds(slowest), f"{slowest / total:.0%} is apt, {rest:.1f} s on top", rest <= 15)


def bare_once():
    """Seconds in all, of apt on the host where it took longest, and of the rest."""
    lab = Lab("bench-bare", 3, "--os", "debian-11", "--bare")
    try:
        start = time.monotonic()
        text = lab.cluster("up", "--yes")
        total = time.monotonic() - start
    finally:
        lab.remove()
    apt = {}
    for host, why, took in re.findall(r"^\S+ (\S+): (install .*?|refresh .*?) \(([^()]*)\)$", text, re.M):
        unit = 1 if took.endswith(" s") else 60
        apt[host] = apt.get(host, 0) + sum(float(n) * (60 if u.startswith("m") else 1) for n, u in re.findall(r"([\d.]+) ?(min|m|s)", took))
    slowest = max(apt.values())
    return total, slowest, total - slowest


def scales():
    """Facts and plan of many hosts."""
    most = max(SCALES)
    # Ten hosts, each in the inventory as often as it takes, by another port of its sshd each time. Each host of a lab needs about eight
    # of the 128 inotify instances that Linux gives root, so that a hundred do not boot.
    lab = Lab("bench-many", min(SCALES), "--os", "debian-11", "--bare")
    try:
        each = most // len(lab.hosts)
        ports = " ".join(f"-p {2200 + n}" for n in range(1, each))
        # A second sshd, which ends with its host. IPv4 alone: it takes sixteen sockets at most.
        listens = f"timeout 30 sh -c \"until grep -q ':{2200 + each - 1:04X} ' /proc/net/tcp; do sleep 0.1; done\""
        lab.everywhere(f"mkdir -p /run/sshd && /usr/sbin/sshd -o PidFile=none -o AddressFamily=inet {ports} && {listens}")
        files = {}
        head = lab.file.read_text().split("hosts:\n")[0]
        for number in SCALES:
            hosts = ""
            for n in range(number):
                host, again = lab.hosts[n % len(lab.hosts)], n // len(lab.hosts)
                port = 22 if again == 0 else 2200 + again
                hosts += f"  - {{name: {host['name']}-{again}, address: {host['private']}, ssh: {{user: {host['user']}, port: {port}}}}}\n"
            files[number] = lab.folder / f"first-{number}.yaml"
            files[number].write_text(f"{head}hosts:\n{hosts}")
        say("plan with many hosts")
        # Plans for hosts without an engine: problems or not, the facts and the plan are made.
        def plan(file):
            if "cannot be asked" in lab.cluster("plan", file=file, codes=(0, 1)):
                raise RuntimeError("a host could not be asked")

        actions = {number: (disconnect, lambda file=file: plan(file)) for number, file in files.items()}
        took = in_turns(actions, SELDOM)
        disconnect()
        command = [sys.executable, "-c", "import resource,subprocess,sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"]
        memory = int(run([*command, PROGRAM, "-f", files[most], "plan"]).stdout) / 1024
    finally:
        lab.remove()
    first = SCALES[0]
    for number in SCALES[1:]:
        growth = took[number] / took[first] / (number / first)
        row(f"`plan`, {number} entries of 10 bare hosts, cold", f"itself with {first}", f"no worse than linear (≤ 1, {NOISE:.0%} for noise)", seconds(took[number]), seconds(took[first]), f"{growth:.2f} of linear", growth <= 1 + NOISE)
    row(f"memory of `plan`, {most} hosts, once", "", "< 100 MB", f"{memory:.0f} MB", "", "", memory < 100)


def startup(lab):
    say("--help and env")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    name = lab.hosts[0]["name"]
    commands = {
        "docker --help": ["docker", "--help"],
        "docker-cluster --help": [PROGRAM, "--help"],
        "docker-cluster env HOST": [PROGRAM, "-f", lab.file, "env", name],
    }
    took = in_turns({key: lambda words=words: run(words, **quiet) for key, words in commands.items()}, 41)
    for key in list(commands)[1:]:
        row(f"`{key}`", "`docker --help`", "no slower", f"{took[key] * 1000:.1f} ms", f"{took['docker --help'] * 1000:.1f} ms", f"{took[key] / took['docker --help']:.2f}", took[key] <= took["docker --help"])


def version(words, pattern=r"\d+\.\d+[\w.+~-]*"):
    found = re.search(pattern, run(words, check=False).stdout)
    return found[0] if found else "?"


def write(path):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) >> 20
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`, which repeats all of it: it makes throwaway hosts on this machine's Docker, measures, and removes them.",
        f"Each figure is the median of {SELDOM} runs or more that took turns with what they are compared to, but for those that say \"once\". Look",
        "at the ratios: the hosts and everything that is measured share one machine.",
        "",
        f"- machine: {os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), {memory} GiB, Linux {platform.release()}",
        f"- docker-cluster {version([PROGRAM, '--version'])} (release build), OpenSSH {version(['ssh', '-V'], r'OpenSSH_[^, ]*')[8:]}, Docker {version(['docker', '--version'])}",
        f"- pyinfra {version([CACHE / 'bin/pyinfra', '--version'])}, ansible-core {version([CACHE / 'bin/ansible', '--version'], r'[0-9]+[.][0-9.]+')} (pipelining, 50 forks, ControlPersist), Python {platform.python_version()}",
        "- hosts: Debian 11 with its engine 20.10.5 and Consul 1.8.7 (classic overlay), Debian 13 for swarm mode; the last host of each lab logs in as a user with sudo",
        "",
        "| what | against | goal | ours | theirs | result | met |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(cells[:7]) + " |" for cells in rows]
    missed = {(cells[0], cells[7]) for cells in rows if cells[7]}
    if missed:
        lines += ["", "Missed, and why:", ""] + [f"- {what}: {why}." for what, why in sorted(missed)]
    if notes:
        lines += ["", "Not measured in this run:", ""] + [f"- {note}" for note in notes]
    for page in pages:
        lines += ["", page]
    lines += ["", (HERE / "notes.md").read_text().rstrip(), ""]
    Path(path).write_text("\n".join(lines))
    say(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="parts: startup plan verify ps alone first wireguard prices bare many")
    parser.add_argument("--output", default=str(ROOT / "BENCHMARKS.md"))
    arguments = parser.parse_args()
    # Connections of its own: what it closes to be cold are not those of whoever else works here. A short path, for sockets have short names.
    own = tempfile.TemporaryDirectory(prefix="dcb-")
    os.environ["XDG_RUNTIME_DIR"] = own.name
    wanted = lambda part: not arguments.only or part in arguments.only
    # An interrupted run still removes its hosts.
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def part(name, action):
        if not wanted(name):
            return
        try:
            action()
        except Exception as error:  # One part that fails does not take the figures of the others.
            say(f"{name} FAILED: {str(error)[:2000]}")
            notes.append(f"{name}: {(str(error).splitlines() or ['?'])[0][:200]}")

    running = len(run(["docker", "ps", "-q", "--filter", "label=docker-cluster.lab"]).stdout.split())
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if (running + 10) * INOTIFY > limit:
        sys.exit(f"{running} hosts of other labs run here; ten more do not boot with fs.inotify.max_user_instances={limit}. Remove them first.")
    if wanted("plan"):
        tools()
    if any(map(wanted, ("plan", "verify", "startup", "ps"))):
        lab = Lab("bench", 10, "--os", "debian-11")
        try:
            part("startup", lambda: startup(lab))
            part("plan", lambda: nothing_to_do(lab))
            part("verify", lambda: verify(lab))
            part("ps", lambda: ps(lab))
        finally:
            lab.remove()
    part("alone", alone)
    part("first", first_up)
    part("wireguard", wireguard)
    part("prices", prices)
    part("bare", bare)
    part("many", scales)
    disconnect()
    write(arguments.output)
    if notes:
        sys.exit(1)


if __name__ == "__main__":
    main()
