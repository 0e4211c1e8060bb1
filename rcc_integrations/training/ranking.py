"""Ranks decoder layers by how much they look up in a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.training.data.mixture import Mixture
from rcc_integrations.training.data.sample import Sample

#: Composed documents that are looked at if none are given, and the most questions about each.
_SAMPLES, _QUESTIONS = 8, 3


def rank_layers(model: RCCModel, samples: Sequence[Sample] | None = None) -> tuple[int, ...]:
    """Order decoder layers by how much they look up in a text before a question.

    The score of a layer is the attention that its heads pay, while an answer token is predicted, to the positions in
    the text where that token occurs, as a mean over all answer tokens. Heads with such attention are the retrieval
    heads of arXiv 2404.15574, without which a model does not find what it has read.

    Args:
        model: The model, whose decoder reads the uncompressed texts.
        samples: Texts with questions whose answers they contain; composed documents if not given.

    Returns:
        All decoder layers, beginning with the one that looks up most; for `RCCConfig.layers`.
    """
    if samples is None:
        composed = Mixture({"facts": 1.0})
        drawn = (composed.sample(number) for number in range(_SAMPLES))
        samples = [replace(sample, questions=sample.questions[:_QUESTIONS]) for sample in drawn]
    held = model.decoder.config._attn_implementation
    # Other implementations do not tell what was attended to.
    model.decoder.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            score = torch.stack([_looked_up(model, sample) for sample in samples]).sum(0)
    finally:
        model.decoder.set_attn_implementation(held)
    return tuple(int(layer) for layer in score.argsort(descending=True))


def _looked_up(model: RCCModel, sample: Sample) -> Tensor:
    """Return a sum over the answer tokens of a sample, shape (layers,)."""
    opening = model.token_ids(model.config.prefix_text, special=True)
    front = len(opening)
    text = model.token_ids(sample.text)[: model.reach // 4]
    score = torch.zeros(model.levels)
    for question in sample.questions:
        asked, answer = model.question_ids(question.q), model.token_ids(question.answers[0])
        ids = [*opening, *text, *asked, *answer]
        output = model.decoder(input_ids=torch.tensor([ids], device=model.device), output_attentions=True)
        rows = range(len(ids) - len(answer) - 1, len(ids) - 1)
        places = torch.tensor(answer)[:, None] == torch.tensor(text)[None]
        for layer, attention in enumerate(output.attentions):
            seen = attention[0, :, rows.start : rows.stop, front : front + len(text)].float().cpu()
            score[layer] += (seen * places).sum()
    return score
