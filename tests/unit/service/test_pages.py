"""The report as a page: everything is in it, nothing from a caller is markup, and nothing is fetched."""

import base64
import copy
import hashlib
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from adapters.errors import CorruptArtifact
from service.web import charts, pages

HOSTILE = '"><script>alert(1)</script>&'
VOID = {"meta", "img", "br"}


def row(name: str, **more: Any) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(name.encode()).hexdigest(), "file_name": name, "label": HOSTILE, **more}


VIEW: dict[str, Any] = {
    "head": "weather", "version": 3, "status": "published", "created_at": "2026-11-21T10:00:00Z",
    "task": "classification", "method": "logistic", "backbone": "lite0", "backbone_digest": "b" * 64,
    "digest": "d" * 64, "data_digest": "e" * 64, "labels": [HOSTILE, "rain"], "splits": {"train": 90, "test": 10},
    "metrics": {"accuracy": 0.9, "accuracy_interval": [0.8, 0.95], "examples": 10, "log_loss": 0.3, "evaluation": "x"},
    "explanation": "measured on 10 examples.",
    "per_class": {k: {"precision": 1.0, "recall": 0.5, "f1": 0.66, "support": 5} for k in (HOSTILE, "rain")},
    "confusion": {"labels": [HOSTILE, "rain"], "matrix": [[4, 1], [0, 5]]},
    "reliability": [
        {"from": 0.9, "to": 1.0, "examples": 10, "confidence": 0.95, "accuracy": 0.9, "interval": [0.6, 0.98]}
    ],
    "worst": [row("worst.jpg", predicted="rain", score=0.9)],
    "findings": {
        "examples": 100,
        "duplicates": {"groups": 1, "examples": 2, "contradicting": 0, "straddling": 0, "list": [[row("a"), row("b")]]},
        "imbalance": {"counts": {HOSTILE: 80, "rain": 20}, "largest": HOSTILE, "smallest": "rain", "ratio": 4.0},
        "suspected_labels": {
            "judged": 90, "examples": 100, "flagged": 30, "estimate": 31.4,
            "list": [row(f"{HOSTILE}{i}.jpg", suggested="rain", score=0.9) for i in range(30)],
        },
        "outliers": {"judged": 100, "flagged": 1, "list": [row("odd.jpg", score=7.5)]},
        "look_alikes": [{"classes": [HOSTILE, "rain"], "confused": 1, "of": 10, "share": 0.1, "similarity": 0.9}],
    },
    "curve": {
        "points": [
            {"share": s, "examples": int(90 * s), "score": a, "interval": [a - 0.1, a + 0.05], "held_out": 10}
            for s, a in ((0.25, 0.7), (0.5, 0.8), (1.0, 0.9))
        ],
        "measure": "accuracy", "more_inputs": "yes", "answer": "Most likely yes.",
    },
    "race": [
        {"method": "logistic", "hyperparameters": {"regularization": 0.25}, "loss": 0.3, "standard_error": 0.02,
         "accuracy": 0.9},
        {"method": HOSTILE, "hyperparameters": {}, "loss": 0.4, "standard_error": 0.02, "accuracy": 0.8},
    ],
    "winner": {"method": "logistic", "hyperparameters": {"regularization": 0.25}, "note": "2 candidates; all tried"},
    "gate": {"passed": True, "reason": "nobody to lose against"}, "parity": {"max_difference": 1e-7},
}  # fmt: skip


def photo(_: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 480), (200, 100, 50)).save(out, "JPEG")
    return out.getvalue()


def render(view: dict[str, Any] = VIEW, read=photo) -> str:
    return pages.render(view, read, "image", 10**7)


class Strict(HTMLParser):
    """Tags, attributes and text; fails on a tag that is closed in the wrong order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_texts_are_shown_as_text_and_never_as_markup():
    """In the words of texts; no picture, and nothing of the text is a tag."""
    page = pages.render(VIEW, lambda _: f"{HOSTILE} where is my card?".encode(), "text", 1000)
    seen = Strict(page)
    assert not {"script", "img"} & {tag for tag, _ in seen.tags} and "blockquote" in {tag for tag, _ in seen.tags}
    assert f"{HOSTILE} where is my card?" in seen.text and "held-out texts" in seen.text
    assert "image" not in seen.text


def without(*names: str) -> dict[str, Any]:
    view = copy.deepcopy(VIEW)
    for name in names:
        for place in (view, view["findings"]):
            place.pop(name, None)
    return view


def test_the_page_says_what_the_report_says():
    text = Strict(render()).text
    for words in (
        "90.0 %",
        "95 % interval 80.0 %",
        "30 of 90 labels look wrong",
        "Most likely yes.",
        "4.0 times",
        "rain",
    ):
        assert words in text


def test_the_page_says_how_the_winner_was_chosen():
    assert "2 candidates; all tried." in render()
    older = VIEW | {"winner": {"method": "logistic", "hyperparameters": {}}}  # before reports had it
    assert "were fitted to the same folds" in render(older)


DEEP = {
    "cut": {"name": "blocks.4", "share": 0.37, "bytes": 10_700_000}, "why": "the loss fell",
    "evidence": {"passed": True, "reason": "the loss fell", "examples": 720, "merit": "accuracy", "gain": 0.0312,
                 "interval": [0.0123, 0.0501]},
    "losses": {"cut": "blocks.4", "best": 2, "gap": 0.25, "meaning": "Overfitting from epoch 3 on.",
               "epochs": [{"epoch": n, "train_loss": 1 / n, "held_out_loss": 0.6 + abs(n - 2)} for n in (1, 2, 3)]},
    "table": [{"cut": "blocks.4", "epochs": -1, "mix": 0.75, "loss": 0.31},
              {"cut": "blocks.5", "epochs": 3, "mix": 1.0, "loss": 0.42}],
}  # fmt: skip


def test_a_deep_version_says_from_where_it_was_trained_what_that_brought_and_how_it_went():
    winner = {"method": "deep", "hyperparameters": {"unfreeze": "blocks.4"}, "note": "2 candidates"}
    text = Strict(render(VIEW | {"deep": DEEP, "winner": winner})).text
    for words in (
        "blocks.4", "37 %", "10.7 MB", "+0.0312", "+0.0123 to +0.0501", "Overfitting from epoch 3 on.", "epoch 2",
        "0.250 above", "held out", "0.3100", "0.75", "where deeper training began",
    ):  # fmt: skip
        assert words in text, words


def test_which_weights_were_kept_is_said_and_one_epoch_draws_no_curve():
    losses = DEEP["losses"] | {"kept": 3, "of": 3, "mix": 0.75}
    told = Strict(render(VIEW | {"deep": DEEP | {"losses": losses}})).text
    assert "after epoch 3 of 3, taken 75 % of the way" in told and "best" in told and "as was asked" not in told
    start = DEEP | {"losses": losses | {"mix": 0.0}}
    assert "Kept is the start" in Strict(render(VIEW | {"deep": start})).text
    once = losses | {"epochs": losses["epochs"][:1], "best": 1, "kept": 1, "of": 1}
    assert "loss by epoch" not in Strict(render(VIEW | {"deep": DEEP | {"losses": once}})).text
    asked = {"table": DEEP["table"][:1], "losses": losses | {"reached": 2}}  # one mix alone: nothing was compared
    told = Strict(render(VIEW | {"deep": DEEP | asked})).text
    assert "(mix), as was asked" in told and "After epoch 2 some fits had stopped" in told
    none = {"table": [DEEP["table"][0] | {"mix": 0.0}], "losses": losses | {"mix": 0.0}}
    assert "the start, as mix=0 asks" in Strict(render(VIEW | {"deep": DEEP | none})).text
    begun = DEEP | {"begun_at": 7}
    assert "goes on from version 7" in Strict(render(VIEW | {"deep": begun})).text


def test_a_deep_round_that_brought_nothing_says_that_the_frozen_backbone_stays():
    declined = {name: value for name, value in DEEP.items() if name != "cut"} | {"why": "less than chance"}
    nothing = {"evidence": {"passed": False, "reason": "no cut fits the budget"}, "why": "no cut fits the budget",
               "losses": {"cut": "", "best": None, "gap": None, "epochs": [], "meaning": "x"}, "table": []}  # fmt: skip
    assert "frozen backbone stays. Less than chance." in Strict(render(VIEW | {"deep": declined})).text
    assert "No cut fits the budget." in Strict(render(VIEW | {"deep": nothing})).text


def test_what_became_of_earlier_classes_is_said_where_others_were_added():
    gate = VIEW["gate"] | {"forgetting": {"meaning": "accuracy was 0.9 and is 0.8 now"}}
    assert "accuracy was 0.9 and is 0.8 now" in Strict(render(VIEW | {"gate": gate})).text


def test_nothing_that_came_from_a_caller_is_markup():
    page = Strict(render())
    assert "script" not in {tag for tag, _ in page.tags}
    assert HOSTILE in page.text


def test_the_page_fetches_nothing_and_its_policy_allows_nothing_else():
    found = render()
    page = Strict(found)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "form", "a")
        assert "style" not in attributes and not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("src") or "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?:", found)
    style = re.search(r"<style>(.*?)</style>", found, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert pages.policy().startswith("default-src 'none'") and f"'sha256-{digest}'" in pages.policy()


def test_a_few_pictures_are_shown_small_and_the_rest_is_a_table():
    page = Strict(render())
    pictures = [a["src"] for tag, a in page.tags if tag == "img"]
    assert 10 < len(pictures) <= sum(pages.SHOWN.values()) == 24
    data = base64.b64decode(str(pictures[0]).partition(",")[2])
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.format == "JPEG" and max(shown.size) == pages.SIDE
    assert "20 more" in page.text


def test_a_picture_that_is_not_kept_leaves_its_place_empty():
    def gone(sha256: str) -> bytes:
        raise CorruptArtifact("gone", item=sha256)

    assert "not kept" in Strict(render(read=gone)).text
    assert "not kept" in Strict(render(read=lambda _: b"no image")).text


@pytest.mark.parametrize(
    "left_out",
    [("curve",), ("confusion",), ("suspected_labels", "outliers", "look_alikes", "imbalance"), ("worst", "per_class")],
)
def test_what_is_not_there_is_left_out(left_out):
    Strict(render(without(*left_out)))


def test_a_task_without_classes_has_a_page_too():
    view = without("per_class", "confusion", "reliability", "worst", "curve", "imbalance", "suspected_labels")
    view["findings"] = {"examples": 100, "duplicates": VIEW["findings"]["duplicates"]}
    view["metrics"] = {"rmse": 1.25, "rmse_interval": [1.1, 1.4], "examples": 10}
    text = Strict(render(view)).text
    assert "1.250" in text and "95 % interval 1.100" in text and "labels look wrong" not in text


def test_a_curve_that_is_still_being_measured_or_was_skipped_is_explained():
    assert "Being measured" in Strict(render(without("curve"))).text
    assert "Too few" in Strict(render(VIEW | {"curve": {"skipped": "too few images"}})).text


def test_a_matrix_of_many_classes_is_drawn_without_numbers():
    names = [f"class {i}" for i in range(40)]
    drawn = charts.confusion(names, [[int(i == j) for j in range(40)] for i in range(40)])
    assert drawn.count("<rect") == 2 * 1600 and drawn.count("<text") == 80
