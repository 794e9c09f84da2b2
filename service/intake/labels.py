"""Labels and the names of examples in JSON bodies, in the shape of any task."""

from typing import Annotated

from pydantic import StringConstraints

from service.limits.slices import FIRST_ERROR, in_slices
from service.wire import NUMBER

SHA256 = r"^[0-9a-f]{64}$"
MOST = 100_000  # examples or classes that one request may name
Sha256 = Annotated[str, StringConstraints(pattern=SHA256)]
Number = Annotated[float, NUMBER]
AnyLabel = (  # in the task's shape
    str | Number | Annotated[list[str], FIRST_ERROR] | Annotated[dict[str, Number], in_slices(MOST)]
)
