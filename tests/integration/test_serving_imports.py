"""Serving never loads what only training needs, and works where that is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.services import PATIENCE, environment

from adapters import finetune as pipeline
from adapters.runtime.backbone import Backbones
from adapters.store import database, heads, jobs
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Example, HeadRef, JobRequest
from service.loading import load_backbone

TRAINING = ("torch", "torchvision", "timm", "onnx", "sklearn", "safetensors", "dbos")
UNUSED = ("obstore", "tokenizers", "sqlalchemy.dialects.postgresql", "encodings.cp874")  # 12 MiB

# One process: serve a real prediction through the ASGI application that `bentoml serve` runs, then say what is loaded.
SERVE = """
import sys, json, threading
from pathlib import Path
blocked = json.loads(sys.argv[2])

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r} (not installed here)", name=name)

sys.meta_path.insert(0, Block())
from starlette.testclient import TestClient
from service.app import Espalier

app = Espalier.to_asgi()
assert type(app).__name__ == "FastPath"
with TestClient(app) as client:
    assert client.get("/readyz").status_code == 200
    image = Path(sys.argv[1]).read_bytes()
    answer = client.post("/predict", data={"head": "shapes"}, files={"images": image})
    paths = ("/embed", "/backbones", "/methods", "/heads/shapes", "/jobs", "/metrics", "/openapi.json")
    paths += ("/heads/shapes/examples", "/heads/shapes/compare?a=1&b=live")
    paths += ("/heads/shapes/report", "/heads/shapes/report?format=html")
    statuses = {path: client.get(path).status_code for path in paths if path != "/embed"}
    statuses["/embed"] = client.post("/embed", files={"images": image}).status_code
    form = {"head": "more", "labels": ["a", "b", "a", "b"]}
    files = [("images", (f"{n}.png", Path(f"{sys.argv[1]}.{n}").read_bytes(), "image/png")) for n in range(4)]
    statuses["/finetune"] = client.post("/finetune", data=form, files=files).status_code
    statuses["/labels"] = client.post("/heads/shapes/labels", json={"drop": ["circle"]}).status_code
print(json.dumps({"answer": answer.json(), "statuses": statuses, "modules": sorted(sys.modules),
                  "threads": [thread.name for thread in threading.enumerate()]}))
"""


@pytest.fixture
def taught(home: Path) -> Path:
    """A home with the head `shapes`, taught as from a notebook: without service, worker and HTTP."""
    engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
    artifacts = Artifacts(str(home / "artifacts"))
    loaded = Backbones(lambda digest: load_backbone(engine, artifacts, digest))
    shop = pipeline.TrainingContext(engine, artifacts, loaded, lanes=2, most={"image": 10**6})
    examples = [Example(artifacts.put(i.data()), i.label, i.file_name) for i in shapes()]
    request = JobRequest("shapes", method="prototype", backbone="tf_efficientnet_lite0")
    job = jobs.create(engine, request, examples, fingerprint="")
    assert pipeline.finetune(job.id, shop) == "succeeded"
    assert heads.resolve(engine, HeadRef("shapes")).number == 1
    engine.dispose()
    return home


def serve(home: Path, blocked: tuple[str, ...] = ()) -> dict:
    image = home / "image"
    image.write_bytes(shape("square", 33))
    for number in range(4):
        image.with_name(f"image.{number}").write_bytes(shape("circle", number))
    command = [sys.executable, "-c", SERVE, str(image), json.dumps(blocked)]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_process_that_serves_has_not_loaded_what_trains(taught):
    """After a real /predict, /embed and /finetune, torch, timm, onnx and the like are not in sys.modules."""
    found = serve(taught)
    assert found["answer"]["predictions"][0]["label"] == "square"
    loaded = {name.partition(".")[0] for name in found["modules"]}
    assert not loaded & set(TRAINING)
    assert not set(found["modules"]) & set(UNUSED)
    assert {"onnxruntime", "bentoml"} <= loaded, "then this has shown nothing"
    ours = {name for name in found["modules"] if name.startswith(("adapters.", "service."))}
    assert not {n for n in ours if f"{n}.".startswith(("adapters.training.", "adapters.methods."))}
    assert not {"adapters.finetune", "service.processes.worker"} & ours


def test_serving_works_where_nothing_for_training_is_installed(taught):
    """Every route answers while imports of torch, timm, onnx and the like fail; /finetune accepts jobs."""
    found = serve(taught, TRAINING)
    assert found["answer"]["predictions"][0]["label"] == "square"
    assert {path for path, status in found["statuses"].items() if status not in (200, 202)} == set()
    assert found["statuses"]["/finetune"] == 202
    assert "memory" in found["threads"], "the one that gives free memory back: `service.operations.memory`"


def test_our_packages_are_the_ones_of_this_repository():
    """AdapterHub's wheel installs a top-level `adapters` too: ours must be the one that is imported."""
    import adapters
    import service

    root = Path(__file__).parents[2]
    assert Path(adapters.__file__).parent == root / "adapters"
    assert Path(service.__file__).parent == root / "service"
