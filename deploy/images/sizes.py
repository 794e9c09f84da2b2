"""What takes the room in an image, as a table.

docker run --rm -i --user 0 --entrypoint python IMAGE - < deploy/images/sizes.py
"""

import os
import re
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path

MIB = 2**20
SHOWN = 15  # packages with a row of their own


def size(path: Path) -> int:
    """Bytes of a file, or of all below a folder."""
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files)


def python_packages(site: Path) -> Counter[str]:
    """Bytes of each package with its bytecode, which no RECORD lists as pip compiled nothing.

    A folder of several packages, such as `nvidia`, counts as one.
    """
    owners: dict[str, set[str]] = {}
    for package in distributions(path=[str(site)]):
        for file in package.files or []:
            owners.setdefault(file.parts[0], set()).add(f"{package.name} {package.version}")
    found: Counter[str] = Counter()
    for path in site.iterdir():
        names = owners.get(path.name, {"other"})
        found[min(names) if len(names) == 1 else f"{path.name}/ of {len(names)} packages"] += size(path)
    return found


def main() -> None:
    """Print the table."""
    site = next(Path("/opt/venv/lib").glob("python3*/site-packages"))
    packages = python_packages(site)
    rows = packages.most_common(SHOWN)
    rows += [(f"{len(packages) - SHOWN} more Python packages", sum(packages.values()) - sum(n for _, n in rows))]
    rows += [("Espalier", size(Path("/app"))), ("backbones", size(Path("/opt/espalier")))]
    system = Path("/etc/os-release").read_text()
    name = re.search(r'^PRETTY_NAME="?([^"\n]+)', system, re.MULTILINE)
    rows += [
        (f"{name[1] if name else 'the system'} with Python", sum(size(Path(at)) for at in ("/usr", "/etc", "/var")))
    ]
    rows += [("all", sum(count for _, count in rows))]
    print("| what | MiB |\n|---|---:|")
    for what, count in rows:
        print(f"| {what} | {count / MIB:.1f} |")
    print(f"| bytecode, in the above | {sum(size(p) for p in site.rglob('*.pyc')) / MIB:.1f} |")


if __name__ == "__main__":
    main()
