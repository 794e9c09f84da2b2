"""What is passed over, and why: text beside other inputs, hidden files, what systems and tools leave behind.

Never a class folder.

A file that a manifest names is never passed over. Everything that is, is told: in the job and on the command line.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

# Folders that an operating system, a disk station or a tool makes by itself; lower case.
SYSTEM_FOLDERS = frozenset({
    "__macosx", ".appledouble", ".appledb", ".appledesktop", ".trashes", ".trash", ".spotlight-v100", ".fseventsd",
    ".temporaryitems", ".documentrevisions-v100", ".apdisk", "network trash folder", "temporary items",  # macOS
    "$recycle.bin", "system volume information", "found.000", "$windows.~bt",  # Windows
    "lost+found", ".thumbnails", ".cache",  # Linux
    "@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin", "@recycle", "@recently-snapshot", ".@__thumb", ".snapshot",
    ".snapshots", ".zfs", ".sync", ".stfolder", ".stversions", ".dropbox.cache", "@__thumb",  # disk stations, sync
    ".git", ".svn", ".hg", ".bzr", ".dvc", ".ipynb_checkpoints", "__pycache__", ".idea", ".vscode", ".vs", ".venv",
})  # fmt: skip
SYSTEM_PREFIXES = (".trash-",)  # .Trash-1000: of the user with that number
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
TEXT_SUFFIXES = frozenset({
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".xml", ".html", ".htm",
    ".log", ".bib", ".md5", ".sha1", ".sha256", ".xmp", ".aae",
})  # fmt: skip
TEXT_NAMES = frozenset({
    "license", "licence", "readme", "copying", "notice", "changelog", "authors", "citation", "md5sums", "sha256sums",
})  # fmt: skip

IN_SYSTEM_FOLDER, SYSTEM_FILE = "in a folder that a system or a tool made", "a file that a system made"
HIDDEN, NO_FILE = "a hidden file", "not an ordinary file (a pipe, a socket or a device)"
TEXT = "text"  # of a file, until it is known what the inputs are
BESIDE = "text beside the folders of classes"
BESIDE_EXAMPLES = "text beside the examples"
OUTSIDE = "outside of the root that was asked for"


def text(one: str) -> str:
    """Of a text where inputs are no texts; `one` is what one of them is called, with its article."""
    return f"text, not {one}"


def foreign(noun: str) -> str:
    """Of a file that is no input, where such are passed over."""
    return f"no {noun}, by its name and by its bytes"


def empty(noun: str) -> str:
    """Of a folder."""
    return f"a folder without {noun}s"


def reason(name: str) -> str | None:
    """Why a file of that path, '/' between its parts, is no example; None for one that is taken as an input."""
    if told := of_a_system(name):
        return told
    return TEXT if is_text(name) else None


def of_a_system(name: str) -> str | None:
    """Why a file is no example whatever inputs are looked for; None for any other."""
    path = PurePosixPath(name)
    if any(is_system_folder(part) for part in path.parts[:-1]):
        return IN_SYSTEM_FOLDER
    if path.name.lower() in SYSTEM_FILES:
        return SYSTEM_FILE
    if path.name.startswith("."):
        return HIDDEN
    return None


def is_text(name: str) -> bool:
    """Whether a file is text by its name: beside inputs of another kind it is about them."""
    path = PurePosixPath(name)
    return path.suffix.lower() in TEXT_SUFFIXES or path.name.lower() in TEXT_NAMES


def is_about(name: str) -> bool:
    """Whether a text is about the whole, by its name, as a licence is: no example where examples are texts."""
    path = PurePosixPath(name)
    return path.name.lower() in TEXT_NAMES or path.stem.lower() in TEXT_NAMES


def is_system_folder(name: str) -> bool:
    """Whether a folder of that name, without its path, is one that a system or a tool made."""
    return name.lower() in SYSTEM_FOLDERS or name.lower().startswith(SYSTEM_PREFIXES)


def without_inputs(folders: Iterable[str], inputs: Iterable[str]) -> list[str]:
    """Of all folders, the topmost that have no input in them, with a slash behind, but for what systems made."""
    filled = {".", *(str(parent) for name in inputs for parent in PurePosixPath(name).parents)}
    empty = {f for f in folders if f not in filled and not any(map(is_system_folder, PurePosixPath(f).parts))}
    return [f"{f}/" for f in sorted(empty) if not any(str(parent) in empty for parent in PurePosixPath(f).parents)]
