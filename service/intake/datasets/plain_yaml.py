"""Plain YAML → objects and lists: keys, items and scalars by their indentation, and lists in brackets.

Only to see what a file beside inputs says: anchors, tags and blocks of text are read as the scalars that they look
like, and nothing is looked up, so that no text costs more than its length.
"""

import re
from typing import Any

MOST_LINES = 50_000
MOST_DEEP = 20  # levels of indentation
Line = tuple[int, str]  # indentation, text


def tree(text: str) -> Any:
    """What it says; None for nothing."""
    lines = [_line(one) for one in text.splitlines()[:MOST_LINES]]
    found, _ = _block([line for line in lines if line[1]], 0, 0)
    return found


def _line(raw: str) -> Line:
    bare = raw.strip()
    about = bare.startswith(("#", "---", "...", "%"))
    return len(raw) - len(raw.lstrip(" ")), "" if about else bare


def _block(lines: list[Line], at: int, depth: int) -> tuple[Any, int]:
    """The object, list or scalar that begins on a line, and the line behind it."""
    if at >= len(lines) or depth > MOST_DEEP:
        return None, len(lines)
    indent, text = lines[at]
    if _is_item(text):
        return _list(lines, at, indent, depth)
    return _object(lines, at, indent, depth) if _key(text) else (_scalar(text), at + 1)


def _key(text: str) -> tuple[str, str] | None:
    """`key: value` → both; None for what is no such line."""
    if text[0] in "[{":
        return None
    quoted = text.find(text[0], 1) + 1 if text[0] in "\"'" else 0
    end = text.find(": ", quoted)
    end = len(text) - 1 if end < 0 and text.endswith(":") else end
    return (text[:end], text[end + 1 :].strip()) if end > 0 else None


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _list(lines: list[Line], at: int, indent: int, depth: int) -> tuple[list[Any], int]:
    found = []
    while at < len(lines) and lines[at][0] == indent and _is_item(lines[at][1]):
        rest = lines[at][1][1:].lstrip()
        if rest:
            lines[at] = (indent + len(lines[at][1]) - len(rest), rest)
        else:
            at += 1
        value, at = _block(lines, at, depth + 1)
        found.append(value)
    return found, at


def _object(lines: list[Line], at: int, indent: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] >= indent:
        pair = _key(lines[at][1]) if lines[at][0] == indent else None
        if pair is None:
            if lines[at][0] == indent:
                break
            at += 1  # the rest of a long text
            continue
        key, value = _unquoted(pair[0]), pair[1]
        at += 1
        if value or at >= len(lines) or not _is_inside(lines[at], indent):
            found[key] = _scalar(value)
        else:
            found[key], at = _block(lines, at, depth + 1)
    return found, at


def _is_inside(line: Line, indent: int) -> bool:
    """Whether a line belongs to the key above it: further in, or an item of its list."""
    return line[0] > indent or (line[0] == indent and _is_item(line[1]))


def _scalar(text: str) -> Any:
    """A text without its quotes and what is said behind it; a list or an object in brackets as one."""
    text = re.sub(r"\s#.*$", "", text).strip()
    if text[:1] == "[" and text[-1:] == "]":
        return [_unquoted(one) for one in text[1:-1].split(",")]
    if text[:1] == "{" and text[-1:] == "}":
        pairs = (one.partition(":") for one in text[1:-1].split(","))
        return {_unquoted(key): _unquoted(value) for key, _, value in pairs}
    return _unquoted(text)


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
