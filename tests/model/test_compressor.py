"""Compressing beside questions."""

from __future__ import annotations

import threading

import torch

from rcc_integrations.model.family import Family
from rcc_integrations.model.runtime import shared_copy
from tests.tiny import TEXT, tiny_model


def apart():
    """Return a tiny model whose encoder has modules of its own, as one with an adapter has."""
    model = tiny_model()
    body = Family.of(model.parts.base).body
    model.parts.make_encoder = lambda: shared_copy(body)
    return model


def windows_of(model):
    return [window.ids for window in model.cut(TEXT)]


def test_an_encoder_with_modules_of_its_own_makes_the_same_memories():
    for ours, theirs in zip(
        apart().compress(windows_of(apart())), tiny_model().compress(windows_of(tiny_model())), strict=True
    ):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_questions_are_answered_while_windows_are_read():
    model = apart()
    assert model._encoder_is_apart and not tiny_model()._encoder_is_apart
    prefix = model.prefix(model.compress(windows_of(model)))
    question = model.question_ids("Who approves leave?")
    expected = model.generate([prefix], [question])[0].ids
    reading, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        reading.set()
        assert go_on.wait(60)

    handle = next(iter(model.encoder.modules())).register_forward_pre_hook(wait)
    thread = threading.Thread(target=model.compress, args=(windows_of(model),))
    thread.start()
    try:
        assert reading.wait(60)
        assert model.generate([prefix], [question])[0].ids == expected
    finally:
        go_on.set()
        thread.join()
        handle.remove()


def test_batches_are_as_small_as_they_are_asked_to_be():
    model = tiny_model()
    windows = windows_of(model) * 4
    whole = [numbers for numbers, _ in model.compress_batches(windows, 4)]
    model.batch_tokens = 1
    single = [numbers for numbers, _ in model.compress_batches(windows, 4)]
    assert len(whole) < len(single) == len(windows)
