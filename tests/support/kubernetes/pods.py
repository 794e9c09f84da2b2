"""Pods of a manifest as processes here: its command, its environment, its probes, and its end."""

import contextlib
import http.client
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.kubernetes import rendering
from support.kubernetes.network import Network
from support.kubernetes.rendering import Object
from support.services import ROOT, environment, kill

Watcher = Callable[["Pod", bool], None]  # told whether a pod is ready


def command(target: str) -> list[str]:
    """CMD of an image, with this Python's programs."""
    stage = (ROOT / "Dockerfile").read_text().partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
    (found,) = re.findall(r"^CMD \[(.*)\]$", stage, re.MULTILINE)
    program, *arguments = [word.strip().strip('"') for word in found.split(",")]
    module = {"bentoml": "bentoml", "espalier": "service.cli"}[program]
    return [sys.executable, "-m", module, *arguments]


@dataclass
class Pod:
    """The first container of a pod. Its kubelet is a thread, which probes it as the manifest says."""

    network: Network
    spec: Object
    variables: dict[str, str]
    home: Path
    watcher: Watcher
    restarts: list[str] = field(default_factory=list)  # why the kubelet would have restarted it
    killed: bool = False  # it had not ended when its grace period had gone by
    seconds_to_end: float = 0.0
    is_ready: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.container = self.spec["containers"][0]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self._leaving = threading.Event()
        self.namespace, self.address = self.network.add()
        self.log = self.home / f"{self.namespace}.log"

    def start(self) -> "Pod":
        """Run it, and begin to probe it."""
        home = self.home / self.namespace
        home.mkdir()
        given = {"ESPALIER_HOME": str(home), "HOME": str(home), "BENTOML_HOME": str(home / "bentoml")} | self.variables
        inside = ["ip", "netns", "exec", self.namespace, *command("serve")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(inside, env=environment(home) | given, stdout=log, stderr=log, cwd=ROOT)
        threading.Thread(target=self._probe, name=f"kubelet-{self.address}", daemon=True).start()
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_leaving(self) -> bool:
        return self._leaving.is_set()

    def leave(self) -> None:
        """As when it is deleted: no endpoint any more, then its hook, SIGTERM, and SIGKILL after its grace period."""
        assert self._process is not None
        began = time.monotonic()
        self._leaving.set()
        self.watcher(self, False)
        hook = self.container.get("lifecycle", {}).get("preStop", {})
        time.sleep(hook.get("sleep", {}).get("seconds", 0))
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - began))
        self.seconds_to_end = time.monotonic() - began
        self.kill()

    def kill(self) -> None:
        """What of it still runs: the serving process outlives BentoML's arbiter, where that is killed."""
        assert self._process is not None
        self._leaving.set()
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], check=True, capture_output=True, text=True)
        for pid in listed.stdout.split():
            self.killed = True
            kill(int(pid))
        self._process.wait()

    def _probe(self) -> None:
        if not self._started():
            return
        probes = {name: self.container[f"{name}Probe"] for name in ("readiness", "liveness")}
        due, failures = dict.fromkeys(probes, 0.0), dict.fromkeys(probes, 0)
        while not self._leaving.wait(0.05):
            for name, probe in probes.items():
                if (now := time.monotonic()) >= due[name]:
                    due[name] = now + probe.get("periodSeconds", 10)
                    failures[name] = 0 if self._answers(probe) else failures[name] + 1
                    self._judge(name, failures[name], probe["failureThreshold"])

    def _judge(self, name: str, failures: int, most: int) -> None:
        if name == "liveness" and failures >= most:
            self.restarts.append(f"{self.address}: its livenessProbe failed {failures} times")
        if name == "readiness" and failures in (0, most) and not self._leaving.is_set():
            changed, self.is_ready = self.is_ready != (failures == 0), failures == 0
            if changed:
                self.watcher(self, self.is_ready)

    def _started(self) -> bool:
        probe = self.container["startupProbe"]
        for _ in range(probe["failureThreshold"]):
            if self._answers(probe):
                return True
            if self._leaving.wait(probe["periodSeconds"]):
                return False
        self.restarts.append(f"{self.address}: it did not start in time")
        return False

    def _answers(self, probe: Object) -> bool:
        """As the kubelet asks: by the pod's address, each time by a new connection, and with no patience."""
        asked = probe["httpGet"]
        opened = http.client.HTTPConnection(self.address, self.ports[asked["port"]], timeout=probe["timeoutSeconds"])
        try:
            opened.request("GET", asked["path"], headers={"User-Agent": "kube-probe/1.37", "Connection": "close"})
            return 200 <= opened.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            opened.close()


def variables(objects: list[Object], container: Object, secret: dict[str, str]) -> dict[str, str]:
    """The environment of a container. Raises KeyError for a key of the Secret that has no value, unless it may."""
    given = rendering.environment(objects, container)
    for variable in container.get("env", []):
        wanted = variable.get("valueFrom", {}).get("secretKeyRef")
        if wanted and (wanted["key"] in secret or not wanted.get("optional")):
            given[variable["name"]] = secret[wanted["key"]]
    return given


def resident(pid: int) -> int:
    """Bytes that a process and those below it have in memory, what they share counted once for each."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() + sum(resident(int(child)) for child in children)
