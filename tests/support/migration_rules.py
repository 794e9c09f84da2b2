"""What a migration may do so that the release before goes on working beside the new one: it only adds.

A reading of the source, since a run shows what a migration did to one database and not what it would do to another.
A migration that says `CONTRACTS = True` may take away, and must then raise the row of the table `compatibility`.
"""

import ast
import re
from collections.abc import Iterator

TAKES = ("drop_table", "drop_column", "drop_constraint", "rename_table")
REFUSES = ("create_unique_constraint", "create_check_constraint", "create_foreign_key", "create_primary_key")
SQL = re.compile(r"\b(DROP|RENAME|TRUNCATE|DELETE FROM|SET NOT NULL|ADD CONSTRAINT|CREATE UNIQUE|REVOKE)\b", re.I)
OLDEST = re.compile(r"UPDATE\s+compatibility\s+SET\s+oldest", re.I)


def violations(module: ast.Module) -> list[str]:
    """A sentence for each thing that a migration must not do; empty for a good one."""
    if any(_name(call) == "batch_alter_table" for call in ast.walk(module) if isinstance(call, ast.Call)):
        return [
            "batch_alter_table makes a table anew, and on SQLite the rows that refer to it are deleted with the old one"
        ]
    if _contracts(module):
        told = any(OLDEST.search(text) for text in _texts(module))
        return [] if told else ["it contracts and does not set compatibility.oldest"]
    new = {_text(call.args[0]) for call in _calls(module) if _name(call) == "create_table" and call.args}
    return [sentence for call in _calls(module) for sentence in _of(call, new)]


def _contracts(module: ast.Module) -> bool:
    names = [target.id for node in module.body if isinstance(node, ast.Assign) for target in node.targets
             if isinstance(target, ast.Name)]  # fmt: skip
    return "CONTRACTS" in names


def _calls(module: ast.Module) -> Iterator[ast.Call]:
    """Calls of all that is not the way back, helpers included."""
    for node in module.body:
        if not (isinstance(node, ast.FunctionDef) and node.name == "downgrade"):
            yield from (found for found in ast.walk(node) if isinstance(found, ast.Call))


def _of(call: ast.Call, new: set[str]) -> Iterator[str]:
    name = _name(call)
    if name in TAKES:
        yield f"{name} takes something away"
    elif name == "add_column":
        yield from (f"{_text(column.args[0])} is NOT NULL without a server_default" for column in _columns(call)
                    if _is_required(column))  # fmt: skip
    elif name == "alter_column" and _narrows(call):
        yield f"alter_column narrows {[_text(argument) for argument in call.args][-1]}"
    elif name in REFUSES or (name == "create_index" and _is(call, "unique", True)):
        if not {_text(argument) for argument in call.args[1:2]} <= new:
            yield f"{name} may refuse what the release before writes"
    elif name == "execute":
        for text in _texts(call):
            if SQL.search(text):
                yield f"SQL takes something away: {text}"


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _columns(call: ast.Call) -> Iterator[ast.Call]:
    yield from (found for argument in call.args for found in ast.walk(argument)
                if isinstance(found, ast.Call) and _name(found) == "Column")  # fmt: skip


def _is_required(column: ast.Call) -> bool:
    strict = _is(column, "nullable", False) or _is(column, "primary_key", True)
    return strict and "server_default" not in {word.arg for word in column.keywords}


def _narrows(call: ast.Call) -> bool:
    words = {word.arg: word.value for word in call.keywords}
    if "new_column_name" in words or _is(call, "nullable", False):
        return True
    return "type_" in words and not _wider(words.get("existing_type"), words["type_"])


def _wider(old: ast.expr | None, new: ast.expr) -> bool:
    """Text that may be longer."""
    if not (isinstance(old, ast.Call) and isinstance(new, ast.Call) and _name(old) in ("String", "VARCHAR")):
        return False
    return _name(new) == "Text" or (_name(new) in ("String", "VARCHAR") and _length(new) >= _length(old))


def _length(kind: ast.Call) -> int:
    values = [*kind.args, *(word.value for word in kind.keywords if word.arg == "length")]
    return next((int(str(v.value)) for v in values if isinstance(v, ast.Constant)), 0)


def _is(call: ast.Call, name: str, value: object) -> bool:
    found = next((word.value for word in call.keywords if word.arg == name), None)
    return isinstance(found, ast.Constant) and found.value is value


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _texts(node: ast.AST) -> Iterator[str]:
    """All strings in it; of one with gaps the parts between them."""
    yield from (found.value for found in ast.walk(node) if isinstance(found, ast.Constant)
                and isinstance(found.value, str))  # fmt: skip
