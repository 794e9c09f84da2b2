"""Writes what an image is made of to the standard output: CycloneDX 1.6, JSON. Run by the Dockerfile; see tools.txt.

Python's packages as cyclonedx-py finds them in /opt/venv, Debian's as dpkg lists them, and the backbones that are built
in, by their digests.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

PYTHON, BACKBONES = "/opt/venv/bin/python", Path("/opt/espalier/backbones")


def python_packages() -> Bom:
    """The packages of the virtual environment, and what depends on what."""
    command = ["/opt/sbom/bin/cyclonedx-py", "environment", "--pyproject", "/app/pyproject.toml"]
    command += ["--output-reproducible", "--short-PURLs", PYTHON]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return Bom.from_json(json.loads(found.stdout))  # type: ignore[attr-defined]


def system_packages() -> Iterator[Component]:
    """What dpkg says is installed."""
    listed = "${db:Status-Abbrev}|${Package}|${Version}|${Architecture}\n"
    lines = subprocess.run(["dpkg-query", "-W", "-f", listed], check=True, capture_output=True, text=True).stdout
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    distribution = release["ID"].strip('"')
    for line in lines.splitlines():
        status, name, version, architecture = line.split("|")
        if status.startswith("ii"):
            url = PackageURL("deb", distribution, name, version, {"arch": architecture})
            yield Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=url.to_string())


def backbones() -> Iterator[Component]:
    """The graphs that the image brings."""
    for path in sorted(BACKBONES.glob("*.json")):
        facts = json.loads(path.read_text())
        digest = HashType(alg=HashAlgorithm.SHA_256, content=facts["artifact"])
        yield Component(
            name=facts["name"],
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"backbone/{facts['name']}",
            hashes=[digest],
            properties=[Property(name="espalier:backbone:digest", value=facts["digest"])],
        )


def text(bom: Bom) -> str:
    """The document, proven to be one. Raises ValueError where the schema is not met."""
    written = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(written):
        raise ValueError(f"not CycloneDX 1.6: {error}")
    # Serial numbers are random; whose the document is, its image says.
    document = json.loads(written)
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=1, sort_keys=True)


if __name__ == "__main__":
    bom = python_packages()
    bom.components.update(system_packages(), backbones())
    print(text(bom))
