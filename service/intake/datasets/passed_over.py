"""What is passed over, and why: text, hidden files, what systems and tools leave behind. Never a class folder.

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
HIDDEN, TEXT, NO_FILE = "a hidden file", "text, not an image", "not an ordinary file (a pipe, a socket or a device)"
FOREIGN = "no image, by its name and by its bytes"
NO_IMAGES, OUTSIDE = "a folder without images", "outside of the root that was asked for"


def reason(name: str) -> str | None:
    """Why a file of that path, '/' between its parts, is no example; None for one that is taken as an image."""
    path = PurePosixPath(name)
    if any(is_system_folder(part) for part in path.parts[:-1]):
        return IN_SYSTEM_FOLDER
    if path.name.lower() in SYSTEM_FILES:
        return SYSTEM_FILE
    if path.name.startswith("."):
        return HIDDEN
    return TEXT if path.suffix.lower() in TEXT_SUFFIXES or path.name.lower() in TEXT_NAMES else None


def is_system_folder(name: str) -> bool:
    """Whether a folder of that name, without its path, is one that a system or a tool made."""
    return name.lower() in SYSTEM_FOLDERS or name.lower().startswith(SYSTEM_PREFIXES)


def without_images(folders: Iterable[str], images: Iterable[str]) -> list[str]:
    """Of all folders, the topmost that have no image in them, with a slash behind, but for what systems made."""
    filled = {".", *(str(parent) for name in images for parent in PurePosixPath(name).parents)}
    empty = {f for f in folders if f not in filled and not any(map(is_system_folder, PurePosixPath(f).parts))}
    return [f"{f}/" for f in sorted(empty) if not any(str(parent) in empty for parent in PurePosixPath(f).parents)]
