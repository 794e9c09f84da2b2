"""pip-audit by a folder of advisories, where no service is reached: `advisories.py FOLDER pip-audit …`.

FOLDER is https://github.com/pypa/advisory-database; a service of OSV's form answers from there while the command runs
(https://google.github.io/osv.dev/post-v1-query/). Exit code 3: there are no advisories in FOLDER.
"""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


def affecting(folder: Path, name: str, version: str) -> list[dict[str, Any]]:
    """The advisories on a version of a package, as OSV has them."""
    files = [f for f in sorted(folder.glob("vulns/*/*.yaml")) if canonicalize_name(f.parent.name) == name]
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    return [each for each in found if any(_fits(part, name, Version(version)) for part in each["affected"])]


def _fits(affected: dict[str, Any], name: str, asked: Version) -> bool:
    package = affected["package"]
    package["name"] = canonicalize_name(package["name"])  # as pip-audit compares it
    ranges = [each["events"] for each in affected.get("ranges", []) if each["type"] == "ECOSYSTEM"]
    listed = any(_version(each) == asked for each in affected.get("versions", []))
    mine = package["name"] == name and package["ecosystem"] == "PyPI"
    return mine and (listed or any(_is_within(events, asked) for events in ranges))


def _is_within(events: list[dict[str, str]], asked: Version) -> bool:
    """As https://ossf.github.io/osv-schema/#evaluation says; where an event has no version of PEP 440, yes."""
    flat = [(kind, _version(text)) for event in events for kind, text in event.items()]
    within = any(version is None for _, version in flat)
    for kind, version in sorted(((k, v) for k, v in flat if v is not None), key=lambda event: event[1]):
        if kind == "introduced" and asked >= version:
            within = True
        elif (kind == "fixed" and asked >= version) or (kind == "last_affected" and asked > version):
            within = False
    return within


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def serving(folder: Path) -> str:
    """The address at which queries are answered from now on."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = affecting(folder, canonicalize_name(asked["package"]["name"]), asked["version"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"vulns": found} if found else {}, default=str).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1/query"


if __name__ == "__main__":
    files = (file.read_text(encoding="utf-8") for file in Path(sys.argv[1]).glob("vulns/*/*.yaml"))
    dates = re.findall(r"(?m)^modified: *['\"]?([0-9-]{10})", "\n".join(files)) or sys.exit(3)
    print(f"advisories of {max(dates)} and before", flush=True)
    asking = [*sys.argv[2:], "--vulnerability-service", "osv", "--osv-url", serving(Path(sys.argv[1]))]
    sys.exit(subprocess.run(asking, env=os.environ | {"NO_PROXY": "127.0.0.1"}).returncode)
