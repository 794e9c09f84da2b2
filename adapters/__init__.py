"""Everything that adapts a frozen backbone: a library without HTTP, usable from a notebook."""

import os

# ONNX Runtime (1.29 and later, see its Privacy.md) tells its maker about sessions and graphs, and keeps a name for the
# machine in the user's cache folder, unless told otherwise before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
