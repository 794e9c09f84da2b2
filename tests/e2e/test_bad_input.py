"""Bad input gets a clear 4xx that names the item, and leaves nothing behind."""

import httpx
import pytest
from support.pictures import zipped
from support.refusals import FILES, HEAD, LABELS, ONE_PIXEL, archive, folders, images, post, refused
from support.services import MIB

BAD_FIELDS = {
    "a head with a slash": ({"head": "a/b"}, 422, "invalid_input", "head"),
    "a head in capitals": ({"head": "Cats"}, 422, "invalid_input", "head"),
    "a head that is too long": ({"head": "a" * 64}, 422, "invalid_input", "head"),
    "no head": ({"head": ""}, 422, "invalid_input", "head"),
    "an unknown task": ({"task": "sorting"}, 422, "invalid_input", "task"),
    "an unknown method": ({"method": "magic"}, 422, "invalid_input", "magic"),
    "a method that is a path": ({"method": "../logistic"}, 422, "invalid_input", "method"),
    "an unknown hyperparameter": (
        {"method": "logistic", "hyperparameters": '{"depth": 3}'}, 422, "invalid_hyperparameter", "depth",
    ),
    "a hyperparameter of auto": ({"hyperparameters": '{"regularization": 1}'}, 422, "invalid_hyperparameter", "auto"),
    "NaN": ({"method": "logistic", "hyperparameters": '{"regularization": NaN}'}, 422, "invalid_hyperparameter", "NaN"),
    "infinity": (
        {"method": "logistic", "hyperparameters": '{"regularization": 1e999}'}, 422, "invalid_hyperparameter", "inf",
    ),
    "a negative one": (
        {"method": "logistic", "hyperparameters": '{"regularization": -1}'}, 422, "invalid_hyperparameter",
        "'regularization' of logistic: -1 is less than or equal to the minimum of 0",
    ),
    "hyperparameters that are no JSON": (
        {"method": "logistic", "hyperparameters": "{l2: 1}"}, 422, "invalid_hyperparameter", "not JSON",
    ),
    "an unknown backbone": ({"backbone": "vgg"}, 404, "backbone_not_found", "vgg"),
    "an unknown mode": ({"mode": "merge"}, 422, "invalid_input", "mode"),
    "an unknown deploy": ({"deploy": "later"}, 422, "invalid_input", "deploy"),
    "a seed that is no number": ({"seed": "-1"}, 422, "invalid_input", "seed"),
    "an unknown field": ({"epochs": "3"}, 422, "invalid_input", "epochs"),
}  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_wrong_field_is_named(server, name):
    """With what there is instead."""
    data, status, code, said = BAD_FIELDS[name]
    refused(post(server, images(), {"labels": LABELS} | data), status, code, said)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("files", "data", "said"),
    [
        ([], {}, "images"),
        (images(), {}, "0 labels"),
        (images() + archive(zipped(folders())), {"labels": LABELS}, "archive"),
        (archive(zipped(folders())), {"labels": LABELS}, "labels"),
        ([("images", (None, "text"))], {"labels": ["a"]}, "files"),
    ],
    ids=["nothing", "no labels", "both", "archive with labels", "text for a file"],
)
def test_a_form_that_makes_no_sense_is_refused(server, files, data, said):
    """Which parts go together is said."""
    refused(post(server, files or [("nothing", (None, ""))], data), 422, "invalid_input", said if files else "")


@pytest.mark.usefixtures("unchanged")
def test_a_body_that_is_no_form_is_refused(server):
    """Another kind of body, a cut-off form, and an Idempotency-Key that is too long."""
    plain = server.http.post("/finetune", content=b"head=x", headers={"Content-Type": "text/plain"})
    refused(plain, 422, "invalid_input", "multipart/form-data")
    cut = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b'--x\r\nContent-Disposition: form-data; name="head"\r\n\r\nabc'
    refused(server.http.post("/finetune", content=body, headers=cut), 422, "invalid_input", "cut off")
    long = server.http.post(
        "/finetune", data={"head": HEAD, "labels": LABELS}, files=images(), headers={"Idempotency-Key": "k" * 256}
    )
    refused(long, 422, "invalid_input", "Idempotency-Key")


@pytest.mark.usefixtures("unchanged")
def test_what_is_not_there_is_a_404_that_names_it(server, known):
    """Heads, versions, aliases, jobs, backbones."""
    ask = {"files": images(FILES[:1])}
    for head, code in (("nobody", "head_not_found"), (f"{known}@99", "version_not_found"),
                       (f"{known}@canary", "version_not_found")):  # fmt: skip
        refused(server.http.post("/predict", data={"head": head}, **ask), 404, code, head.split("@")[0])
    refused(server.http.post("/embed", data={"backbone": "vgg"}, **ask), 404, "backbone_not_found", "vgg")
    for method, path, code in (
        ("GET", "/heads/nobody", "head_not_found"),
        ("DELETE", "/heads/nobody", "head_not_found"),
        ("GET", f"/heads/{known}/versions/99", "version_not_found"),
        ("GET", f"/heads/{known}/versions/99/head.onnx", "version_not_found"),
        ("DELETE", f"/heads/{known}/versions/99", "version_not_found"),
        ("DELETE", f"/heads/{known}/aliases/canary", "version_not_found"),
        ("GET", "/jobs/job_none", "job_not_found"),
        ("GET", "/jobs/job_none/events", "job_not_found"),
        ("POST", "/jobs/job_none/cancel", "job_not_found"),
    ):
        refused(server.http.request(method, path), 404, code)
    refused(server.http.put(f"/heads/{known}/aliases/live", json={"version": 99}), 404, "version_not_found")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"head": "a/b"}, "a/b"), ({"head": "a@b@c"}, "a@b@c"), ({"head": "a@0"}, "a@0"), ({}, "head"),
        ({"head": "a", "top_k": "0"}, "top_k"), ({"head": "a", "top_k": "many"}, "top_k"),
        ({"head": "a", "on_error": "ignore"}, "on_error"), ({"head": "a", "min_generation": "-1"}, "min_generation"),
        ({"head": "a", "top_k": ["1", "2"]}, "top_k"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_predict_is_named(server, data, said):
    """Each by its name."""
    refused(server.http.post("/predict", data=data, files=images(FILES[:1])), 422, "invalid_input", said)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", ["/predict", "/embed", "/finetune", "/heads/{head}/suggest"])
def test_an_option_that_is_not_known_is_refused_wherever_it_comes(server, known, path):
    """In the query, in the form, beside a raw image; and a file by another name than the one there is."""
    path = path.format(head=known)
    refused(server.http.post(f"{path}?coverag=0.9", files=images(FILES[:1])), 422, "invalid_input", "coverag")
    refused(server.http.post(path, data={"topk": "1"}, files=images(FILES[:1])), 422, "invalid_input", "topk")
    wrong = [("file", file) for _, file in images(FILES[:1])]
    said = refused(server.http.post(path, files=wrong), 422, "invalid_input", "file")
    assert "images" in said["detail"]


@pytest.mark.usefixtures("unchanged")
def test_predict_without_images_or_with_too_many_is_refused(server, known):
    """At most 1,024 images and 256 heads by default."""
    none = server.http.post("/predict", files=[("head", (None, known))])
    refused(none, 422, "invalid_input", "images")
    many = server.http.post("/predict", data={"head": known}, files=images([("x", ONE_PIXEL)] * 1025))
    refused(many, 422, "invalid_input", "1025 images")
    heads = server.http.post("/predict", data={"head": [known] * 257}, files=images(FILES[:1]))
    refused(heads, 422, "invalid_input", "257 heads")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", ["/finetune", "/predict", "/embed"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_a_413(server, path, declared):
    """By its declared length at once, else as soon as it grows too long; other requests go on."""
    limit = 32 * MIB if path == "/finetune" else 128 * MIB
    body = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + bytes(limit)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    content = body if declared else (body[at : at + MIB] for at in range(0, len(body), MIB))
    with httpx.Client(base_url=server.url, timeout=60) as fresh:
        refused(fresh.post(path, content=content, headers=headers), 413, "too_large", f"{limit:,} bytes")
    assert server.client.is_ready()


@pytest.mark.parametrize("number", [2**31, 10**20, -1])
def test_numbers_that_no_database_holds_are_refused(server, known, number):
    """A version to point at, a version to look at, and an event to go on after."""
    refused(server.http.put(f"/heads/{known}/aliases/live", json={"version": number}), 422, "invalid_input")
    assert server.http.get(f"/heads/{known}/versions/{number}").status_code in (404, 422)
    assert server.http.get(f"/heads/{known}/report", params={"version": number}).status_code in (404, 422)
    job = server.client.jobs(limit=1)[0]["id"]
    events = server.http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": str(number)})
    refused(events, 422, "invalid_input")
