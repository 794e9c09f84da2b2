"""What one sends is `inputs`, by whatever name and in whatever way: the same answer, or a word on what was wrong."""

import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image
from support.services import Service

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
PLAIN = {"Content-Type": "text/plain"}


def picture(colour: str, seed: int) -> bytes:
    """A noisy picture of one colour."""
    noise = np.random.default_rng(seed).integers(-25, 26, (64, 64, 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


RED, BLUE = picture("red", 100), picture("blue", 101)


@pytest.fixture(scope="module")
def colours(server: Service) -> str:
    """A head of images, taught by the field `inputs`."""
    names = [colour for colour in COLOURS for _ in range(8)]
    files = [("inputs", (f"{n}.png", picture(name, n), "image/png")) for n, name in enumerate(names)]
    job = server.http.post("/finetune", params={"wait": 60}, files=files,
                           data={"head": "inputs-colours", "labels": json.dumps(names)}).json()  # fmt: skip
    assert job["status"] == "succeeded", job
    return "inputs-colours"


def refused(response: httpx.Response, code: str, *words: str) -> dict[str, str]:
    """The problem, with its words in the detail."""
    problem: dict[str, str] = response.json()
    assert response.status_code == 422 and problem["code"] == code, problem
    assert all(word in problem["detail"] for word in words), problem["detail"]
    return problem


def answers(response: httpx.Response) -> list[tuple[int, str, float]]:
    assert response.status_code == 200, response.text
    return [(row["index"], row["label"], row["score"]) for row in response.json()["predictions"]]


def test_images_under_every_name_and_as_the_body_are_answered_alike(server: Service, colours: str) -> None:
    files = [("red.png", RED, "image/png"), ("blue.png", BLUE, "image/png")]
    by_name = [
        answers(server.http.post("/predict", data={"head": colours}, files=[(name, file) for file in files]))
        for name in ("images", "inputs")
    ]
    assert [label for _, label, _ in by_name[0]] == ["red", "blue"] and by_name[0] == by_name[1]
    [alone] = answers(server.http.post("/predict", data={"head": colours}, files=[("images", files[0])]))
    for kind in ("image/png", "application/octet-stream"):
        sent = server.http.post("/predict", params={"head": colours}, content=RED, headers={"Content-Type": kind})
        assert answers(sent) == [alone]
    assert [row["label"] for row in server.client.predict([colours], inputs=[RED, BLUE])["predictions"]] == [
        "red",
        "blue",
    ]


def test_embed_and_suggest_take_the_same_names(server: Service, colours: str) -> None:
    one, other = (
        server.http.post("/embed", files=[(name, ("x.png", RED))]).json()["embeddings"] for name in ("images", "inputs")
    )
    assert one == other and len(one) == 1
    for path in ("/embed", f"/heads/{colours}/suggest"):
        for name in ("images", "inputs"):
            assert server.http.post(path, files=[(name, ("x.png", RED)), (name, ("y.png", BLUE))]).status_code == 200
        two = [("images", ("x.png", RED)), ("inputs", ("y.png", BLUE))]
        refused(server.http.post(path, files=two), "invalid_input", "`inputs` or `images`, not both")


def test_texts_for_a_head_of_images_are_refused_with_the_field_to_use(server: Service, colours: str) -> None:
    """As a field, a file, the body and JSON."""
    said = ("inputs-colours", "reads images, not texts", "the field 'images'")
    post = server.http.post
    refused(post("/predict", files=[("head", (None, colours)), ("texts", (None, "red?"))]), "wrong_modality", *said)
    refused(post("/predict", data={"head": colours}, files=[("texts", ("a.txt", b"red?"))]), "wrong_modality", *said)
    raw = post("/predict", params={"head": colours}, content=b"red?", headers=PLAIN)
    refused(raw, "wrong_modality", *said)
    refused(post("/predict", json={"head": colours, "texts": ["red?"]}), "wrong_modality", *said)
    refused(post("/predict", json={"head": colours, "inputs": ["red?"]}), "invalid_image", "image 0", "text")
    refused(post(f"/heads/{colours}/suggest", json={"texts": ["red?"]}), "wrong_modality", *said)
    refused(
        post("/embed", json={"backbone": "tf_efficientnet_lite0", "texts": ["red?"]}),
        "wrong_modality", "tf_efficientnet_lite0", "images",
    )  # fmt: skip
    refused(
        post("/finetune", json={"head": colours, "texts": ["a", "b"], "labels": ["red", "blue"]}),
        "wrong_modality",
        *said,
    )


def test_two_fields_of_inputs_are_refused_by_name(server: Service, colours: str) -> None:
    two = [("images", ("x.png", RED)), ("texts", (None, "red?"))]
    for path in ("/predict", "/finetune"):
        refused(server.http.post(path, data={"head": colours}, files=two), "invalid_input", "not both")
    refused(
        server.http.post("/predict", json={"head": colours, "texts": ["a"], "inputs": ["b"]}),
        "invalid_input",
        "not both",
    )


def test_images_do_not_come_as_text(server: Service, colours: str) -> None:
    form = [("head", (None, colours)), ("images", (None, "red"))]
    refused(server.http.post("/predict", files=form), "invalid_input", "'images' must be files")
    refused(
        server.http.post("/predict", json={"head": colours, "images": ["red"]}),
        "invalid_input",
        "JSON carries no images",
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no body"),
        (b'{"head": "x", "texts": ["a"', "not JSON"),
        (b'["a"]', "must be a JSON object"),
        (b'"a"', "must be a JSON object"),
        (b'{"head": "x", "texts": ["a", 5]}', "texts[1] must be a string, not a number"),
        (b'{"head": "x", "texts": [null]}', "texts[0] must be a string, not null"),
        (b'{"head": "x", "texts": [["a"]]}', "texts[0] must be a string, not a list"),
        (b'{"head": "x", "texts": {"a": 1}}', "texts[0] must be a string, not an object"),
        (b'{"head": "x", "texts": ["half \\ud800"]}', "texts[0] holds half a character"),
        (b'{"head": "x", "\\ud800": 1, "texts": ["a"]}', "holds half a character"),
        (b'{"head": ["x", 3], "texts": ["a"]}', "head[1] must be a string, not a number"),
        (b'{"head": "x", "texts": []}', "no inputs"),
        (b'{"head": "x"}', "no inputs"),
        (b'{"texts": ["a"]}', "no head"),
        (b'{"head": "x", "text": ["a"]}', "unknown field 'text'; did you mean 'texts'?"),
        (b'{"head": "x", "texts": ["a"], "top_k": "many"}', "'top_k' must be a whole number"),
        (b'{"head": "x", "texts": ["a"], "top_k": [1, 2]}', "'top_k' must be a whole number"),
        (b'{"head": "x", "texts": ["\xff"]}', "not UTF-8 (byte 25)"),
        (b"[" * 10_000, "not JSON|nested"),
    ],
)  # fmt: skip
def test_a_json_body_that_cannot_be_read_says_where(server: Service, body: bytes, says: str) -> None:
    answer = server.http.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json", answer.text
    assert any(part in answer.json()["detail"] for part in says.split("|")), answer.json()["detail"]


def test_a_text_in_a_charset_that_nobody_knows_is_refused(server: Service, colours: str) -> None:
    """One that is known is read; then the head says that it reads images."""
    for charset, code in (("latin-1", "wrong_modality"), ("utf-8", "wrong_modality"), ("klingon", "invalid_input")):
        headers = {"Content-Type": f"text/plain; charset={charset}"}
        answer = server.http.post(
            "/predict", params={"head": colours}, content="für".encode("latin-1"), headers=headers
        )
        refused(answer, code)


def test_the_content_of_an_example_is_what_was_sent(server: Service, colours: str) -> None:
    example = next(server.client.examples(colours))
    content = server.http.get(f"/heads/{colours}/examples/{example['sha256']}/content")
    image = server.http.get(f"/heads/{colours}/examples/{example['sha256']}/image")
    assert content.content == image.content == server.client.content(colours, example["sha256"])
    assert content.headers["content-type"] == image.headers["content-type"] == "image/png"
    assert "sandbox" in content.headers["content-security-policy"]
    missing = server.http.get(f"/heads/{colours}/examples/{'0' * 64}/content")
    assert missing.status_code == 404 and missing.json()["code"] == "example_not_found"
