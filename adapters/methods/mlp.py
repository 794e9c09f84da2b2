"""One hidden layer, Dense + ReLU + dropout + softmax (or sigmoids, or values): the classical recipe, a grid at once.

K configurations are one batched program, the way DINOv2 trains its grid of linear heads: weights carry a leading
dimension, and learning rate, decay, dropout, smoothing, optimizer and schedule are numbers of that length. Narrower
layers are padded to the widest. Each configuration trains exactly as it would alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters.fitting.inputs import Inputs, Kind, numpy
from adapters.methods import Regime, Setting
from adapters.types import HeadProgram, Linear, Objective, Relu, Step

FORMS: dict[str, Kind] = {"power": "power", "standardized": "plain"}
PLENTY = 200  # examples of the median class from which `auto` lets it take part; linear heads win below
GRID: dict[str, tuple[Any, ...]] = {
    "inputs": ("power",), "hidden": (128, 512), "dropout": (0.2, 0.5), "weight_decay": (0.0001, 0.01),
    "label_smoothing": (0.0,), "learning_rate": (0.001,), "loss": ("squared",),
}  # fmt: skip
VALIDATION = 0.1  # of the examples, for early stopping and plateaus
LEAST_VALIDATION = 20  # examples; with fewer all epochs are run
PLATEAU, DROP = 3, 0.3  # epochs without progress, and what is left of the learning rate after them
BETAS, MOMENTUM, EPSILON = (0.9, 0.999), 0.9, 1e-8
CYCLE_START = 0.04  # of the learning rate, where one-cycle begins

OBJECTIVES: tuple[Objective, ...] = ("softmax", "sigmoid", "squared")
CLOSED_FORM = False

Share = Annotated[float, Field(ge=0, le=0.95)]
Positive = Annotated[float, Field(gt=0, le=100)]


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    inputs: Literal["auto", "plain", "standardized", "power"] = Field(
        "auto",
        description="`plain` embeddings, `standardized` to unit variance, or square-rooted and normalised before "
        "that (`power`, which `auto` takes)",
    )
    hidden: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = Field(
        "auto", description="Units of the hidden layer; `auto` tries 128 and 512"
    )
    dropout: Literal["auto"] | Share = Field("auto", description="Of hidden units; `auto` tries 0.2 and 0.5")
    weight_decay: Literal["auto"] | Annotated[float, Field(ge=0, le=10)] = Field(
        "auto", description="Decoupled, as in AdamW; `auto` tries 0.0001 and 0.01"
    )
    label_smoothing: Literal["auto"] | Share = Field("auto", description="Share of each label given to all; auto: 0")
    loss: Literal["auto", "squared", "huber"] = Field(
        "auto", description="Of numbers only: squared error, or Huber's, which forgives outliers; `auto`: squared"
    )
    optimizer: Literal["adam", "sgd"] = Field("adam", description="Adam, or SGD with momentum 0.9")
    learning_rate: Literal["auto"] | Positive = Field("auto", description="At its highest; `auto` is 0.001")
    schedule: Literal["constant", "cosine", "one-cycle", "plateau"] = Field(
        "cosine", description="How the learning rate goes: `plateau` cuts it to 0.3 after 3 epochs without progress"
    )
    warmup: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.05, description="Share of the steps in which the learning rate rises from zero (not of one-cycle)"
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(128, description="Examples a step")
    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(40, description="Passes over the examples, at most")
    patience: Annotated[int, Field(ge=0, le=1000)] = Field(
        8, description="Epochs without progress on a tenth of the examples after which to stop; 0 runs all on all"
    )


def promise(regime: Regime) -> float:
    """Where there is enough to bend a boundary by; below that it only over-fits and takes its time."""
    return 1.0 if regime.median >= PLENTY else 0.0


def settings(hyperparameters: Hyperparameters, regime: Regime) -> list[Setting]:
    """The grid of what was left open, wide and little regularised last."""
    asked = hyperparameters.model_dump()
    choices = {name: GRID[name] if value == "auto" else (value,) for name, value in asked.items()}
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def work(regime: Regime, settings: list[Setting]) -> float:
    """See `adapters.methods.Method.work`: forward and twice as much back."""
    each = sum(s["epochs"] * (s["hidden"]) for s in settings)
    return 6.0 * regime.examples * (regime.dimension + regime.classes) * each


def fit(
    inputs: Inputs,
    targets: torch.Tensor,
    classes: int,
    settings: list[Setting],
    seed: int,
    cancelled: Callable[[], None],
    start: list[HeadProgram] | None = None,
    final: bool = False,
    objective: Objective = "softmax",
) -> list[HeadProgram]:
    """See `adapters.methods.Method.fit`. Those that differ in more than numbers are trained in turn."""
    programs: dict[int, HeadProgram] = {}
    alike = [(s["inputs"], s["batch_size"], s["epochs"], s["patience"] > 0) for s in settings]
    for key in dict.fromkeys(alike):
        chosen = [i for i, other in enumerate(alike) if other == key]
        steps, x = _inputs(inputs, key[0])
        mine = [settings[i] for i in chosen]
        layers = _Training(x, inputs.each, targets, classes, mine, seed, objective).run(cancelled)
        programs |= {i: HeadProgram((*steps, *layer)) for i, layer in zip(chosen, layers, strict=True)}
    return [programs[i] for i in range(len(settings))]


def _inputs(inputs: Inputs, kind: str) -> tuple[tuple[Step, ...], torch.Tensor]:
    if kind == "plain":
        return inputs.form("plain")
    form = inputs.standardized(FORMS[kind])
    return form.steps, form.x


@dataclass(slots=True)
class _Layers:
    """Two layers of G networks: [G, D, H], [G, 1, H], [G, H, K], [G, 1, K]."""

    tensors: list[torch.Tensor]

    def logits(self, x: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """[M, D] → [G, M, K]; `keep` [G, M, H] scales hidden units, zero drops them."""
        first, bias, second, out = self.tensors
        hidden = (x @ first + bias).relu()
        return (hidden if keep is None else hidden * keep) @ second + out

    def copy(self) -> "_Layers":
        """The same numbers in other memory."""
        return _Layers([tensor.detach().clone() for tensor in self.tensors])


class _Training:
    """One run over all configurations."""

    def __init__(
        self,
        x: torch.Tensor,
        each: int,
        targets: torch.Tensor,
        classes: int,
        settings: list[Setting],
        seed: int,
        objective: Objective,
    ) -> None:
        self.losses = _LOSSES[objective]
        self.classes, self.settings, self.seed = classes, settings, seed
        self.random = torch.Generator().manual_seed(seed)  # on the CPU: a GPU would draw other numbers
        self.widths = [s["hidden"] for s in settings]
        self.drops = {width: torch.Generator().manual_seed(seed + 1) for width in self.widths}
        count = len(targets) // each  # of examples; see `Inputs`
        left, val = self._split(targets[:count], settings[0]["patience"] > 0)
        train = (torch.arange(each, device=left.device)[:, None] * count + left).flatten()
        self.x, self.targets, self.val_x, self.val_targets = x[train], targets[train], x[val], targets[val]
        self.layers = self._begin(x)
        self.moments = [torch.zeros_like(t) for t in self.layers.tensors]
        self.squares = [torch.zeros_like(t) for t in self.layers.tensors]
        self.adam = self._numbers(lambda s: s["optimizer"] == "adam") > 0
        self.rate, self.decay = self._numbers("learning_rate"), self._numbers("weight_decay")
        self.smoothing, self.kept = self._numbers("label_smoothing"), 1 - self._numbers("dropout")
        self.size = min(settings[0]["batch_size"], len(self.x))
        self.total = settings[0]["epochs"] * math.ceil(len(self.x) / self.size)
        self.cuts = torch.ones_like(self.rate)  # by plateaus

    def run(self, cancelled: Callable[[], None]) -> list[tuple[Step, ...]]:
        """Train to the end, or until every configuration has stopped; the best of each by validation loss."""
        best, least = self.layers.copy(), torch.full_like(self.rate, torch.inf).flatten()
        since, done = torch.zeros_like(least), torch.zeros_like(least, dtype=torch.bool)
        patience = self._numbers("patience").flatten()
        for epoch in range(self.settings[0]["epochs"]):
            cancelled()
            self._epoch(epoch)
            loss = self._validation_loss()
            better = (loss < least) & ~done
            least, since = torch.where(better, loss, least), torch.where(better, torch.zeros_like(since), since + 1)
            self._keep(best, better if len(self.val_x) else torch.ones_like(better))
            self._cut(since)
            done |= (since >= patience) & (patience > 0)
            if len(self.val_x) and bool(done.all()):
                break
        return [self._steps(best, i) for i in range(len(self.settings))]

    def _epoch(self, epoch: int) -> None:
        order = torch.randperm(len(self.x), generator=self.random).to(self.x.device)
        for number, rows in enumerate(order.split(self.size)):
            step = epoch * math.ceil(len(self.x) / self.size) + number
            self._step(rows, step)

    def _step(self, rows: torch.Tensor, step: int) -> None:
        for tensor in self.layers.tensors:
            tensor.requires_grad_(True)
        logits = self.layers.logits(self.x[rows], self._dropout(len(rows)))
        gradients = torch.autograd.grad(self._loss(logits, self.targets[rows]).sum(), self.layers.tensors)
        rate = self.rate * self._pace(step) * self.cuts
        with torch.no_grad():
            for i, gradient in enumerate(gradients):
                self._update(i, gradient, rate, step + 1)

    def _update(self, i: int, gradient: torch.Tensor, rate: torch.Tensor, step: int) -> None:
        tensor = self.layers.tensors[i].detach()
        if i % 2 == 0:  # decay weights, not biases
            tensor = tensor * (1 - rate * self.decay)
        self.squares[i] = BETAS[1] * self.squares[i] + (1 - BETAS[1]) * gradient * gradient
        moment = torch.where(self.adam, BETAS[0] * self.moments[i] + (1 - BETAS[0]) * gradient, gradient)
        self.moments[i] = torch.where(self.adam, moment, MOMENTUM * self.moments[i] + gradient)
        scale = (self.squares[i] / (1 - BETAS[1] ** step)).sqrt() + EPSILON
        adam = self.moments[i] / (1 - BETAS[0] ** step) / scale
        self.layers.tensors[i] = tensor - rate * torch.where(self.adam, adam, self.moments[i])

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, smooth: bool = True) -> torch.Tensor:
        """The mean loss of each configuration, [G]."""
        smoothing = self.smoothing if smooth else torch.zeros_like(self.smoothing)
        return self.losses(logits, targets, smoothing, self._numbers(lambda s: s["loss"] == "huber"))

    def _validation_loss(self) -> torch.Tensor:
        x, targets = (self.val_x, self.val_targets) if len(self.val_x) else (self.x, self.targets)
        with torch.no_grad():
            return self._loss(self.layers.logits(x), targets, smooth=False)

    def _keep(self, best: _Layers, better: torch.Tensor) -> None:
        for i, tensor in enumerate(self.layers.tensors):
            best.tensors[i] = torch.where(better[:, None, None], tensor.detach(), best.tensors[i])

    def _cut(self, since: torch.Tensor) -> None:
        """Lower the rate of those on a plateau whose schedule says so."""
        plateau = self._numbers(lambda s: s["schedule"] == "plateau").flatten() > 0
        stuck = plateau & (since > 0) & (since % PLATEAU == 0)
        self.cuts = torch.where(stuck[:, None, None], self.cuts * DROP, self.cuts)

    def _pace(self, step: int) -> torch.Tensor:
        """What part of its learning rate each configuration uses at a step, [G, 1, 1]."""
        return self._numbers(lambda s: pace(s["schedule"], s["warmup"], step, self.total))

    def _dropout(self, count: int) -> torch.Tensor | None:
        """One over the share kept, or zero, for each hidden unit: [G, count, H]; None where nobody drops any."""
        if bool((self.kept == 1).all()):
            return None
        drawn = {width: torch.rand(count, width, generator=random) for width, random in self.drops.items()}
        wide = max(self.widths)
        padded = [torch.nn.functional.pad(drawn[width], (0, wide - width)) for width in self.widths]
        return (torch.stack(padded).to(self.x.device) < self.kept) / self.kept

    def _begin(self, x: torch.Tensor) -> _Layers:
        """Glorot's uniform, the recipe's default; each configuration draws as if it were alone."""
        dimension, wide = x.shape[1], max(self.widths)
        stacked: list[list[torch.Tensor]] = [[], [], [], []]
        for width in self.widths:
            random = torch.Generator().manual_seed(self.seed)
            first, second = _glorot(dimension, width, random), _glorot(width, self.classes, random)
            pad = wide - width
            stacked[0].append(torch.nn.functional.pad(first, (0, pad)))
            stacked[2].append(torch.nn.functional.pad(second, (0, 0, 0, pad)))
            stacked[1].append(torch.zeros(1, wide))
            stacked[3].append(torch.zeros(1, self.classes))
        return _Layers([torch.stack(tensors).to(x) for tensors in stacked])

    def _split(self, targets: torch.Tensor, wanted: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Examples to train on and to stop by: a tenth of each class, where that is enough to go by.

        What is stopped by is their first rows, of which no other row is trained on.
        """
        order = torch.randperm(len(targets), generator=self.random).to(targets.device)
        if not wanted or len(targets) * VALIDATION < LEAST_VALIDATION:
            return order.sort().values, order[:0]
        val = [
            rows[: int(VALIDATION * len(rows))]
            for rows in ([order] if targets.ndim > 1 else [order[targets[order] == k] for k in range(self.classes)])
        ]
        held = torch.cat(val)
        left = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
        left[held] = False
        return left.nonzero().flatten(), held

    def _numbers(self, what: str | Callable[[Setting], float]) -> torch.Tensor:
        """One number of each configuration, [G, 1, 1]."""
        values = [float(s[what] if isinstance(what, str) else what(s)) for s in self.settings]
        return torch.tensor(values, device=self.x.device)[:, None, None]

    def _steps(self, layers: _Layers, i: int) -> tuple[Step, ...]:
        first, bias, second, out = (tensor[i] for tensor in layers.tensors)
        width = self.widths[i]
        hidden = Linear(numpy(first[:, :width]), numpy(bias[0, :width]))
        return hidden, Relu(), Linear(numpy(second[:width]), numpy(out[0]))


def _cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor, huber: torch.Tensor
) -> torch.Tensor:
    """Logits [G, M, K], classes i64 [M], smoothing [G, 1, 1] → [G]."""
    logs = logits.log_softmax(dim=2)
    truth = logs[:, torch.arange(len(targets), device=logs.device), targets].mean(dim=1)
    share = smoothing.flatten()
    return -(1 - share) * truth - share * logs.mean(dim=(1, 2))


def _binary(logits: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor, huber: torch.Tensor) -> torch.Tensor:
    """The same for labels that are yes or no, f32 [M, K]: summed over labels."""
    wanted = targets * (1 - smoothing) + smoothing / 2
    return (torch.nn.functional.softplus(logits) - wanted * logits).sum(dim=2).mean(dim=1)


def _error(logits: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor, huber: torch.Tensor) -> torch.Tensor:
    """The same for numbers f32 [M, K] of variance one: squared error, or Huber's with a corner at one; their mean."""
    size = (logits - targets).abs()
    robust = torch.where(size <= 1, size.square(), 2 * size - 1)
    return torch.where(huber > 0, robust, size.square()).mean(dim=(1, 2))


_LOSSES = {"softmax": _cross_entropy, "sigmoid": _binary, "squared": _error}


def pace(schedule: str, warmup: float, step: int, total: int) -> float:
    """What part of the learning rate is used at a step of `total`; plateaus are cut elsewhere."""
    done = (step + 0.5) / total
    if schedule == "one-cycle":  # Smith (2018): up for three tenths, then down to nothing
        up = CYCLE_START + (1 - CYCLE_START) * (1 - math.cos(math.pi * min(done / 0.3, 1))) / 2
        return up if done < 0.3 else (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2
    rise = min(1.0, done / warmup) if warmup else 1.0
    if schedule == "cosine":
        return rise * (1 + math.cos(math.pi * max(0.0, done - warmup) / (1 - warmup))) / 2
    return rise


def _glorot(rows: int, columns: int, random: torch.Generator) -> torch.Tensor:
    limit = math.sqrt(6 / (rows + columns))
    return (torch.rand(rows, columns, generator=random) * 2 - 1) * limit
