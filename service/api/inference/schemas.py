"""The wire contract of /predict, /embed and suggestions."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters import decoding
from adapters.predict import Predictions
from adapters.suggest import Suggestions
from adapters.tenancy import shown
from service.wire import Wire


class LabelScore(Wire):
    """One class and its calibrated probability."""

    label: str
    score: float


class Prediction(Wire):
    """What one version of one head says of one input."""

    index: int = Field(description="Position of the input in the request, from 0.")
    head: str
    version: int
    digest: str = Field(description="SHA-256 of the graph that answered.")
    label: Any = Field(description="In the task's shape: a class, a list of labels, a number or numbers by name.")
    score: float | None = Field(description="How sure it is, 0 to 1; null where answers are numbers.")
    top: list[LabelScore]
    novelty: float | None = Field(
        description="The share of held-out examples that are less unlike what was taught: 0.5 is typical, near 1 is "
        "like nothing it was taught. Null from versions made before heads told it."
    )
    set: list[str] | None = Field(None, description="With `coverage`: labels that hold the truth that often.")
    interval: Any = Field(None, description="With `coverage`, of numbers: [low, high], or such pairs by name.")
    coverage: float | None = Field(None, description="The coverage asked for.")
    abstain: bool | None = Field(None, description="With `abstain`: leave this answer be.")


class ItemError(Wire):
    """An input that could not be used (`on_error=skip`)."""

    index: int
    code: str
    detail: str


class HeadError(Wire):
    """A head of several that cannot answer, for a reason of ours."""

    head: str
    code: str
    detail: str = Field(description="What is wrong with it, and how to go on.")


class Shortened(Wire):
    """An input of which the backbone read only the beginning."""

    index: int
    tokens: int = Field(description="That it has.")
    cut: int = Field(description="Of these, how many were not read.")


Cut = Annotated[
    list[Shortened] | None,
    Field(description="Inputs that are longer than what the backbone reads; absent where none is."),
]


class PredictResponse(Wire):
    """Predictions by input, then by head in the order asked for."""

    predictions: list[Prediction]
    errors: list[ItemError]
    generation: int = Field(
        description="Changes to what is served that this replica had seen when it admitted the request."
    )
    head_errors: list[HeadError] | None = Field(
        None, description="Heads of several that cannot answer; absent where all do. Of a head alone it is the answer."
    )
    cut: Cut = None

    @classmethod
    def plain(cls, result: Predictions) -> dict[str, Any]:
        """The same as a dictionary: on this hot path our own words are not validated."""
        found: dict[str, Any] = {"predictions": cls.listed(result.predictions)}
        found.update(cls.rest(result))
        return found

    @staticmethod
    def listed(predictions: Iterable[decoding.Prediction]) -> list[dict[str, Any]]:
        """Some predictions."""
        return [
            {
                "index": p.index,
                "head": shown(p.head.version.head),
                "version": p.head.version.number,
                "digest": p.head.version.digest,
            }
            | p.answer
            for p in predictions
        ]

    @staticmethod
    def rest(result: Predictions) -> dict[str, Any]:
        """What follows them."""
        found: dict[str, Any] = {"errors": [asdict(e) for e in result.errors], "generation": result.generation}
        if result.head_errors:
            found["head_errors"] = [asdict(e) for e in result.head_errors]
        return found


class Suggestion(Wire):
    """An input that is worth a label."""

    index: int = Field(description="Position of the input in the request, from 0.")
    label: Any = Field(description="What the head says of it now.")
    score: float | None
    doubt: float = Field(description="The chance that this is wrong, by the head's own calibrated word.")


class SuggestResponse(Wire):
    """Inputs to label next, the most instructive first."""

    head: str
    version: int
    strategy: Literal["typical", "uncertain"]
    explanation: str
    suggestions: list[Suggestion]
    expected_corrections: float = Field(description="Of the suggested inputs, how many the head has wrong, expected.")
    expected_of_random: float = Field(description="The same for as many inputs drawn at random from those sent.")
    errors: list[ItemError]
    cut: Cut = None

    @classmethod
    def of(cls, found: Suggestions, cut: dict[str, Any]) -> "SuggestResponse":
        """On the wire; `cut` as `shortened.told` gives it."""
        rows = [
            Suggestion(index=index, label=answer["label"], score=answer["score"], doubt=doubt)
            for index, answer, doubt in zip(found.indices, found.answers, found.doubts, strict=True)
        ]
        return cls(
            head=shown(found.head.version.head), version=found.head.version.number, strategy=found.strategy,
            explanation=found.explanation, suggestions=rows, expected_corrections=sum(found.doubts),
            expected_of_random=found.random_doubt * len(rows),
            errors=[ItemError(index=e.index, code=e.code, detail=e.detail) for e in found.errors], **cut,
        )  # fmt: skip


class Tap(Wire):
    """Numbers of an embedding that tell one thing of the end of one block."""

    name: str = Field(description="Of the block, as the model calls it.")
    statistic: Literal["regions", "max", "mean", "deviation", "class"]
    offset: int
    length: int


class EmbedResponse(Wire):
    """The backbone's pooled output for each input, and with `taps` what earlier blocks saw."""

    backbone: str
    digest: str
    dimension: int = Field(description="Numbers of `pooled`, the first of each row.")
    taps: list[Tap] = Field(description="What the numbers behind them tell; empty where they were not asked for.")
    embeddings: list[list[float]] = Field(description="One row an input that could be read, in order.")
    indices: list[int] = Field(description="Position in the request of each row.")
    errors: list[ItemError]
    cut: Cut = None
