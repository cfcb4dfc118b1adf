"""What `plan` checks on a host that is as it should be, as somebody would write it for pyinfra."""

import json

from pyinfra import host
from pyinfra.facts.files import File, FileContents
from pyinfra.facts.server import Command, Kernel, LinuxDistribution
from pyinfra.operations import apt, systemd

host.get_fact(Kernel)
host.get_fact(LinuxDistribution)
apt.packages(name="the packages are there", packages=["docker.io", "consul"], _sudo=True)
options = json.loads("\n".join(host.get_fact(FileContents, path="/etc/docker/daemon.json", _sudo=True)))
assert "cluster-store" in options
assert host.get_fact(File, path="/etc/docker-cluster/consul/agent.json", _sudo=True)
for unit in ("docker", "docker-cluster-consul"):
    systemd.service(name=f"{unit} runs", service=unit, running=True, enabled=True, _sudo=True)
host.get_fact(
    Command,
    command="docker info >/dev/null && docker network inspect $(docker network ls -q) >/dev/null && docker ps -aq",
    _sudo=True,
)
host.get_fact(Command, command="/usr/local/lib/docker-cluster/store kv get -keys docker/", _sudo=True)
