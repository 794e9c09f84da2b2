"""A job that cannot fit is refused before it embeds anything, and one that can is trained within what was estimated."""

from dataclasses import replace

import pytest
from support.training import SMALL, Bench, bench, picture

from adapters import finetune, training_memory
from adapters.errors import TooMuchData
from adapters.store.embeddings import EmbeddingCache

PICTURES = [picture(n, label) for n in range(8) for label in "ab"]


def test_a_job_that_cannot_fit_embeds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(training_memory, "SMALL", 0)
    with bench(tmp_path) as made:
        tight = Bench(replace(made.shop, memory=lambda: 1000))
        job = tight.job("cats", PICTURES)
        with pytest.raises(TooMuchData, match="training on 16 examples takes"):
            finetune.finetune(job.id, tight.shop)
        shas = [sent.example.sha256 for sent in PICTURES]
        assert EmbeddingCache(made.shop.engine, SMALL.digest).missing(shas) == shas


def test_a_job_that_fits_is_done(tmp_path):
    with bench(tmp_path) as made:
        assert made.teach("cats", PICTURES).number == 1
