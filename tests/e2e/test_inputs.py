"""What one sends is `inputs`, by whatever name and in whatever way: the same answer, or a word on what was wrong."""

import hashlib
import io
import json
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from support.services import Service, espalier, eventually
from support.zips import zipped

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
PLAIN, BYTES = {"Content-Type": "text/plain"}, {"Content-Type": "application/octet-stream"}
CP1252 = "text/plain; charset=windows-1252"


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


CARD = ["Where is my card?", "My new card has not come", "When will the card arrive?", "Track my card, please",
        "The card is late", "Has my card been sent?"]  # fmt: skip
TOP_UP = ["How do I top up?", "My top up failed", "Can I top up by transfer?", "Top up with cash", "Top up limits?",
          "Why was my top up cancelled?"]  # fmt: skip


@pytest.fixture(scope="module")
def intents(server: Service) -> str:
    """A head of texts, taught by JSON; its backbone is the default for texts."""
    body = {"head": "inputs-intents", "texts": CARD + TOP_UP, "labels": ["card"] * 6 + ["top_up"] * 6, "method": "gda"}
    job = server.http.post("/finetune", params={"wait": 60}, json=body).json()
    assert job["status"] == "succeeded" and job["request"]["backbone"] == "minilm", job
    return "inputs-intents"


ASKED = "Where’s my card – für März? 🙂"


def test_a_text_is_answered_alike_whichever_way_it_came(server: Service, intents: str) -> None:
    """A form field, a file, in another charset, the body, JSON, by the client; `texts` and `inputs`."""
    post, head = server.http.post, {"head": intents}
    [expected] = answers(post("/predict", json={"head": intents, "texts": [ASKED]}))
    assert expected[1] == "card"
    plain = "Where is my card - für März?"
    [other] = answers(post("/predict", json={"head": [intents], "inputs": plain}))
    ways = [
        (expected, post("/predict", files=[("head", (None, intents)), ("texts", (None, ASKED))])),
        (expected, post("/predict", files=[("head", (None, intents)), ("inputs", (None, ASKED))])),
        (expected, post("/predict", data=head, files=[("texts", ("a.txt", ASKED.encode(), "text/plain"))])),
        (expected, post("/predict", params=head, content=ASKED.encode(), headers=PLAIN)),
        (expected, post("/predict", params=head, content=ASKED.encode(), headers=BYTES)),
        (other, post("/predict", data=head, files=[("texts", ("a.txt", plain.encode("cp1252"), CP1252))])),
        (other, post("/predict", params=head, content=plain.encode("cp1252"), headers={"Content-Type": CP1252})),
    ]  # fmt: skip
    for said, response in ways:
        assert answers(response) == [said]
    assert server.client.predict([intents], texts=[ASKED])["predictions"][0]["score"] == expected[2]
    assert server.client.predict([intents], inputs=[ASKED.encode()])["predictions"][0]["score"] == expected[2]


def test_images_for_a_head_of_texts_are_refused_with_the_field_to_use(server: Service, intents: str) -> None:
    said = ("inputs-intents", "reads texts, not images", "the field 'texts'")
    post = server.http.post
    refused(post("/predict", data={"head": intents}, files=[("images", ("x.png", RED))]), "wrong_modality", *said)
    raw = post("/predict", params={"head": intents}, content=RED, headers={"Content-Type": "image/png"})
    refused(raw, "wrong_modality", *said)
    refused(post("/predict", data={"head": intents}, files=[("inputs", ("x.png", RED))]), "invalid_text", "text 0")
    form = {"head": intents, "labels": '["card", "top_up"]'}
    for name in ("images", "inputs"):
        files = [(name, ("x.png", RED)), (name, ("y.png", BLUE))]
        refused(post("/finetune", data=form, files=files), "wrong_modality", *said)
    bento = server.http.post("/bento/predict", data={"head": intents}, files=[("image", ("x.png", RED))])
    refused(bento, "wrong_modality", *said)


def test_heads_of_two_modalities_in_one_request_are_refused(server: Service, intents: str, colours: str) -> None:
    """Whichever comes first, and whatever field is used; and no head moves to a backbone of another modality."""
    for heads in ([intents, colours], [colours, intents]):
        both = server.http.post("/predict", data={"head": heads}, files=[("inputs", ("x.png", RED))])
        refused(both, "wrong_modality", heads[1])
        refused(server.http.post("/predict", json={"head": heads, "texts": ["a"]}), "wrong_modality", colours)
    moved = server.http.post(f"/heads/{colours}/rebuild", json={"backbone": "minilm"})
    refused(moved, "wrong_modality", "reads images, not texts")
    body = {"head": colours, "texts": ["a", "b"], "labels": ["red", "blue"], "backbone": "minilm"}
    refused(server.http.post("/finetune", json=body), "wrong_modality", "reads images, not texts")
    refused(server.http.post("/finetune", json=body | {"backbone": "tf_efficientnet_lite0", "head": "inputs-new"}),
            "wrong_modality", "tf_efficientnet_lite0", "images")  # fmt: skip


def test_embeddings_of_texts_are_by_the_backbone_for_texts(server: Service, intents: str) -> None:
    found = server.client.embed(texts=[ASKED, "How do I top up?"])
    assert found["backbone"] == "minilm" and found["dimension"] == 384 and len(found["embeddings"]) == 2
    refused(server.http.post("/embed", files=[("texts", (None, "a")), ("backbone", (None, "tf_efficientnet_lite0"))]),
            "wrong_modality", "tf_efficientnet_lite0", "images")  # fmt: skip
    suggested = server.client.suggest(intents, texts=[ASKED, "What is the weather like?", "Hello"], count=2)
    assert len(suggested["suggestions"]) == 2


def test_a_bad_text_is_named_and_the_good_ones_are_answered(server: Service, intents: str) -> None:
    body = {"head": intents, "texts": [ASKED, "", "\u0000", "x" * 100_001]}
    refused(server.http.post("/predict", json=body), "invalid_text", "text 1", "3 of 4 texts cannot be used")
    found = server.http.post("/predict", json=body | {"on_error": "skip"}).json()
    assert [row["index"] for row in found["predictions"]] == [0]
    assert [(row["index"], row["code"]) for row in found["errors"]] == [
        (1, "invalid_text"), (2, "invalid_text"), (3, "text_too_long"),
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["form", "files", "table", "archive", "client"])
def test_texts_are_taught_in_every_way(server: Service, way: str) -> None:
    """The same examples, whichever way they came: known by the SHA-256 of their bytes."""
    head, texts, labels = f"inputs-{way}", CARD[:3] + TOP_UP[:3], ["card"] * 3 + ["top_up"] * 3
    form, said = [("head", (None, head)), ("method", (None, "gda"))], zip(labels, texts, strict=True)
    if way == "client":
        job = server.client.finetune(head, texts=list(zip(texts, labels, strict=True)), wait=60, method="gda")
    else:
        if way == "form":
            form += [("texts", (None, text)) for text in texts] + [("labels", (None, label)) for label in labels]
        elif way == "files":
            form += [("inputs", (f"{n}.txt", text.encode())) for n, text in enumerate(texts)]
            form += [("labels", (None, json.dumps(labels)))]
        elif way == "table":
            table = "label;text\n" + "".join(f'{label};"{text}"\n' for label, text in said)
            form += [("manifest", ("messages.csv", table.encode("utf-8-sig")))]
        else:
            files = [(f"{label}/{n}.txt", text.encode()) for n, (label, text) in enumerate(said)]
            form += [("archive", ("messages.zip", zipped(*files, ("readme.txt", b"about"))))]
        job = server.http.post("/finetune", params={"wait": 60}, files=form).json()
    assert job["status"] == "succeeded", job
    held = {row["sha256"]: row["label"] for row in server.client.examples(head)}
    assert held == {hashlib.sha256(t.encode()).hexdigest(): label for t, label in zip(texts, labels, strict=True)}


def test_a_table_with_a_bad_row_is_refused_by_its_line(server: Service) -> None:
    table = f"text,label\n{CARD[0]},card\n,card\n{TOP_UP[0]},top_up\n{TOP_UP[1]},top_up\n{CARD[1]},card\n"
    files = [("head", (None, "inputs-bad")), ("manifest", ("messages.csv", table.encode()))]
    refused(server.http.post("/finetune", files=files), "invalid_text", "text 1 (line 3)")
    skipped = server.http.post("/finetune", params={"wait": 60}, files=[*files, ("on_error", (None, "skip"))]).json()
    assert skipped["received"]["left_out"]["count"] == 1 and skipped["received"]["examples"] == 4


def test_what_is_longer_than_a_backbone_reads_is_said(server: Service) -> None:
    texts = ["card " * 400, *CARD[:2], *TOP_UP[:3]]
    body = {"head": "inputs-long", "texts": texts, "labels": ["card"] * 3 + ["top_up"] * 3}
    job = server.http.post("/finetune", params={"wait": 60}, json=body).json()
    assert job["received"]["cut"]["count"] == 1 and job["received"]["cut"]["list"][0]["item"] == "text 0"
    asked, short = ["Where?", "card " * 300, "", "w" * 250 + " card", texts[0]], ["Where?", "card"]
    for ask in (partial(server.client.predict, ["inputs-long"]), partial(server.client.suggest, "inputs-long", count=1),
                server.client.embed):  # fmt: skip
        cut = ask(texts=asked, on_error="skip")["cut"]
        assert [row["index"] for row in cut] == [1, 4] and all(row["tokens"] - row["cut"] == 256 for row in cut)
        assert "cut" not in ask(texts=short)


def test_a_body_of_no_kind_that_is_read_is_told_all_that_are(server: Service) -> None:
    """A table to a route that answers, too: which of them the route takes."""
    table = {"content": b"text\nWhere?", "headers": {"Content-Type": "text/csv"}}
    json_too = ("multipart/form-data", "or texts as application/json, not 'text/csv'")
    for path in ("/predict", "/embed", "/heads/inputs-colours/suggest"):
        refused(server.http.post(path, **table), "invalid_input", *json_too, "the body (image/*, text/plain)")
    refused(server.http.post("/finetune", **table), "invalid_input", *json_too)
    problem = refused(server.http.post("/bento/predict", **table), "invalid_input", "(image/*), not 'text/csv'")
    assert "JSON" not in problem["detail"] and "text/plain" not in problem["detail"]


def test_the_content_of_a_text_is_shown_as_text(server: Service, intents: str) -> None:
    """Never as a page; /image says where it is."""
    sha256 = hashlib.sha256(CARD[0].encode()).hexdigest()
    content = server.http.get(f"/heads/{intents}/examples/{sha256}/content")
    assert content.content == CARD[0].encode() == server.client.content(intents, sha256)
    assert content.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in content.headers["content-security-policy"]
    refused(server.http.get(f"/heads/{intents}/examples/{sha256}/image"), "wrong_modality", "/content")
    page = server.client.report_page(intents)
    assert "12 texts</p>" in page and "held-out texts" in page


@pytest.mark.slow
def test_the_command_line_asks_texts_and_files(server: Service, intents: str, colours: str, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "asked.txt").write_text(ASKED)

    def run(*arguments: str, check: bool = True) -> str:
        done = espalier(*arguments, "--server", server.url, home=server.home, check=check)
        return done.stdout + done.stderr

    assert "card" in run("predict", intents, "Where is my card?")
    assert "card" in run("predict", intents, "--text", "card.txt")
    assert "card" in run("predict", intents, str(tmp_path / "asked.txt"))
    assert "red" in run("predict", colours, str(tmp_path / "red.png"))
    assert "there is no file 'rde.png'" in run("predict", colours, "rde.png", check=False)
    assert "wrong_modality" in run("predict", colours, "Where is my card?", check=False)
    assert "top" in run("suggest", intents, "Where is my card?", "How do I top up?", "--count", "1").lower()


NOVEL = ["Tomorrow it rains in the mountains", "The cat sleeps on the sofa", "Goals decide football matches",
         "Boil the pasta for nine minutes", "Stars are far away", "My bicycle has a flat tyre"]  # fmt: skip


def test_hard_texts_are_kept_shown_and_learned(server: Service, intents: str) -> None:
    """As hard images are; a form's bytes are gone by then, so samples keep their own."""
    client = server.client
    client.set_sampling(intents, True)

    def asked() -> int:
        client.predict([intents], texts=NOVEL)
        client.predict([intents], inputs=[text.encode() for text in NOVEL])
        return client.sampling(intents)["samples"]

    assert eventually(asked, pause=0.5) > 0
    kept = {one["sha256"] for one in client.samples(intents)}
    assert kept <= {hashlib.sha256(text.encode()).hexdigest() for text in NOVEL}
    first = min(kept)
    content = server.http.get(f"/heads/{intents}/samples/{first}/content")
    assert content.text in NOVEL and content.headers["content-type"] == "text/plain; charset=utf-8"
    assert hashlib.sha256(client.sample(intents, first)).hexdigest() == first
    refused(server.http.get(f"/heads/{intents}/samples/{first}/image"), "wrong_modality", "/content")
    job = client.wait(client.label_samples(intents, dict.fromkeys(kept, "card"))["id"])
    assert job["status"] in ("succeeded", "rejected"), job
    assert kept <= {row["sha256"] for row in client.examples(intents, label="card")}
    client.set_sampling(intents, False)
