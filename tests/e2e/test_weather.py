"""A stranger's first real task: 1,123 photos of four kinds of weather, by the command line. Needs ../shared/data."""

import hashlib
import itertools
import json
import shutil

import pytest
from support.services import Service, espalier


def command(service: Service, *arguments: str) -> dict:
    return json.loads(espalier(*arguments, "--server", service.url, "--json", home=service.home).stdout)


@pytest.mark.slow
@pytest.mark.data
def test_weather_is_learned_cached_and_extended(own_server, data, tmp_path):
    """≥ 0.94 of held-out photos; a second call runs no backbone; a fifth class appended later works beside the four."""
    service = own_server()
    job = command(service, "finetune", "weather", str(data / "weather"))
    assert job["status"] == "succeeded" and job["report"]["evaluation"] in ("holdout", "cross-validation")
    assert job["metrics"]["accuracy"] >= 0.94
    files = {hashlib.sha256(photo.read_bytes()).digest() for photo in (data / "weather").glob("*/*")}
    assert job["report"]["embedding"]["new"] == len(files)  # 26 of the 1,123 are copies, byte for byte
    again = command(service, "finetune", "weather", str(data / "weather"), "--deploy", "manual")
    assert again["report"]["embedding"]["new"] == 0
    cells = sorted((data / "bccd" / "JPEGImages").glob("*.jpg"))
    folder = tmp_path / "more" / "cells"
    folder.mkdir(parents=True)
    for photo in cells[:30]:
        shutil.copy(photo, folder)
    more = command(service, "finetune", "weather", str(folder.parent))
    assert more["status"] == "succeeded" and len(more["report"]["data"]["classes"]) == 5
    assert more["metrics"]["accuracy"] >= 0.94
    photos = {"cells": cells[30:40]}
    for kind in ("cloud", "rain", "shine", "sunrise"):
        photos[kind] = list(itertools.islice(sorted((data / "weather" / kind).iterdir()), 10))
    for kind, asked in photos.items():
        answer = command(service, "predict", f"weather@{more['version']}", *map(str, asked))
        right = sum(p["label"] == kind for p in answer["predictions"])
        assert right >= 9, (kind, right)
