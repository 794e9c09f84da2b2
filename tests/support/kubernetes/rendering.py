"""deploy/ rendered: by kubectl's kustomize, by helm; and what both make, brought to one form."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.services import PATIENCE, ROOT

Object = dict[str, Any]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("single-node", "cpu", "gpu")
VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")  # of Kubernetes
# What helm adds for itself, and what names the release.
LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "app.kubernetes.io/part-of")

HASHED = re.compile(r"^(espalier-settings|espalier-migrate-[0-9-]+)-[a-z0-9]{10}$")  # by kustomize


def tool(name: str) -> str:
    """The path of a program: beside this Python, or on PATH. Skips the test where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}: deploy/tools.sh FOLDER puts it into FOLDER/bin")
    return found


def kustomize(overlay: str) -> list[Object]:
    """The objects of an overlay."""
    return kustomization(DEPLOY / "kubernetes" / "overlays" / overlay)


def kustomization(folder: Path) -> list[Object]:
    """The objects of any kustomization."""
    return _objects([tool("kubectl"), "kustomize", str(folder)])


def guides(word: str) -> str:
    """The kustomization of docs/guides/kubernetes.md that has a word in it."""
    text = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    (example,) = [found for found in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if word in found]
    return str(example)


def beside_a_checkout(text: str, folder: Path) -> list[Object]:
    """The objects of a kustomization of somebody's own, with an oidc.toml beside it."""
    own = folder / "own"
    own.mkdir()
    (folder / "espalier").symlink_to(ROOT)
    (own / "oidc.toml").write_text('[[rule]]\nwhen = {}\ntenant = ""\nscopes = ["read"]\n')
    (own / "kustomization.yaml").write_text(text)
    return kustomization(own)


def helm(*options: str, release: str = "espalier") -> list[Object]:
    """The objects of the chart."""
    chart = str(DEPLOY / "helm" / "espalier")
    return _objects([tool("helm"), "template", release, chart, "--namespace", "espalier", *options])


def example(name: str) -> list[str]:
    """Options of helm for one of the chart's examples."""
    return ["--values", str(DEPLOY / "helm" / "espalier" / "examples" / f"{name}.yaml")]


def _objects(command: list[str]) -> list[Object]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [found for found in objects if found["kind"] == kind]


def one(objects: list[Object], kind: str, name: str = "") -> Object:
    """The only one of a kind, or of a kind and name."""
    (found,) = [o for o in of_kind(objects, kind) if name in ("", o["metadata"]["name"])]
    return found


def pods(objects: list[Object]) -> dict[str, Object]:
    """Specs of pods by the kind and name of what makes them."""
    return {name: template["spec"] for name, template in templates(objects).items()}


def templates(objects: list[Object]) -> dict[str, Object]:
    """Labels and specs of pods by the kind and name of what makes them; a CronJob makes a Job first."""
    makers = {f"{o['kind']}/{o['metadata']['name']}": o.get("spec", {}) for o in objects}
    makers = {name: spec.get("jobTemplate", {}).get("spec", spec) for name, spec in makers.items()}
    return {name: spec["template"] for name, spec in makers.items() if "template" in spec}


def containers(objects: list[Object]) -> list[Object]:
    return [container for pod in pods(objects).values() for container in pod["containers"]]


def settings(objects: list[Object]) -> dict[str, str]:
    """The ConfigMap of settings."""
    (found,) = [o for o in of_kind(objects, "ConfigMap") if "-settings" in o["metadata"]["name"]]
    return dict(found["data"])


def environment(objects: list[Object], container: Object) -> dict[str, str]:
    """What a container is given by value; references to secrets and fields are left out."""
    given = settings(objects) if container.get("envFrom") else {}
    return given | {variable["name"]: variable["value"] for variable in container.get("env", []) if "value" in variable}


def comparable(objects: list[Object]) -> dict[str, Object]:
    """By kind and name, without what only kustomize or only helm writes."""
    found = [_plain(o) for o in objects if o["kind"] != "Namespace"]
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in found}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _plain(part) for key, part in value.items() if key not in LABELS and not _is_helms(key)}
        return {key: part for key, part in kept.items() if not (key == "annotations" and not part)}
    if isinstance(value, list):
        parts = [_plain(part) for part in value]
        named = all(isinstance(part, dict) and "name" in part for part in parts)
        return sorted(parts, key=lambda part: part["name"]) if named else parts
    return HASHED.sub(r"\1", value) if isinstance(value, str) else value


def _is_helms(key: str) -> bool:
    return key.startswith(("helm.sh/", "checksum/"))
