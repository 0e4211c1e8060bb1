"""`RoutingTrainer`: trains a routing head to find the windows that answer questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.training.routing_features import RoutingFeatures

#: The most windows of its own document that compete for a question in a step.
_OWN = 8
#: At the beginning a cosine counts so many times, as in other contrastive training.
_SHARPNESS = 20.0


@dataclass(frozen=True)
class RoutingSettings:
    """How a routing head is trained.

    Args:
        steps: Optimizer steps.
        documents: Documents of a step; their windows are one another's negatives.
        per_document: Questions about each of them.
        hard: Windows of other documents, sharing many words with it, that are added for each question.
        learning_rate: At its highest; a cosine follows.
        weight_decay: Of AdamW.
        dropout: Share of the features that a step leaves out, below 1: maps that rely on few of them fit composed
            documents well and others badly.
        seed: Decides the order of everything.

    Raises:
        ConfigError: If a number is not above 0.
    """

    steps: int = 900
    documents: int = 24
    per_document: int = 2
    hard: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 0.2
    dropout: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "documents", "per_document", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0; it is {getattr(self, name)!r}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be from 0 to below 1; it is {self.dropout!r}.")


class RoutingTrainer:
    """Trains a head by a contrastive loss (InfoNCE, arXiv 1807.03748) over late interaction (arXiv 2004.12832).

    A step takes documents of one collection; each question has to find the windows that hold its answer among all
    windows of the step, those of its own document and hard negatives by shared words with them.

    Args:
        head: Trained in place.
        collections: What it is trained on; steps take turns between them.
        settings: How.
        report: Called with a line of progress now and then.
    """

    def __init__(
        self,
        head: RoutingHead,
        collections: Sequence[RoutingFeatures],
        settings: RoutingSettings | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._head, self._collections, self._report = head, collections, report
        self._settings = settings or RoutingSettings()
        self._chance = np.random.default_rng(self._settings.seed)
        self._sharpness = nn.Parameter(torch.tensor(math.log(_SHARPNESS)))
        self._by_document: list[dict[int, list[int]]] = []
        for features in collections:
            questions: dict[int, list[int]] = {}
            for number, document in enumerate(features.documents):
                questions.setdefault(document, []).append(number)
            self._by_document.append(questions)
        self._own = [_by_owner(features) for features in collections]
        self._of_windows = Scale.of([each for features in collections for each in features.windows[:300]])
        self._of_questions = Scale.of([each for features in collections for each in features.questions[:2000]])

    def run(self) -> None:
        """Train the head and leave it as models keep it, without gradients."""
        head, settings = self._head.requires_grad_(True).train(), self._settings
        torch.manual_seed(settings.seed)
        start(head)
        maps = [weight for name, weight in head.named_parameters()]
        optimizer = torch.optim.AdamW(
            [{"params": maps, "weight_decay": settings.weight_decay}, {"params": [self._sharpness], "weight_decay": 0}],
            lr=settings.learning_rate,
        )
        rng = Random(settings.seed)
        mean = 0.0
        for step in range(settings.steps):
            part = step / settings.steps
            rate = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate
            loss = self._loss(rng)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([*maps, self._sharpness], 1.0)
            optimizer.step()
            mean = float(loss.detach()) if not step else 0.97 * mean + 0.03 * float(loss.detach())
            if step % 100 == 99 or step == settings.steps - 1:
                self._report(f"routing: step {step + 1} of {settings.steps}, loss {mean:.3f}")
        head.requires_grad_(False).eval()
        for linear, scale in ((head.key, self._of_windows), (head.question, self._of_questions),
                              (head.weight, self._of_questions)):  # fmt: skip
            scale.fold_into(linear)
        head.mixture[:] = torch.tensor([float(self._sharpness.detach().exp()), 0.0, 0.0, 0.0])

    def _loss(self, rng: Random) -> Tensor:
        at = rng.randrange(len(self._collections))
        features, by_document = self._collections[at], self._by_document[at]
        settings = self._settings
        questions: list[int] = []
        for document in rng.sample(sorted(by_document), min(settings.documents, len(by_document))):
            own_questions = by_document[document]
            questions += rng.sample(own_questions, min(settings.per_document, len(own_questions)))
        windows: dict[int, None] = {}
        for question in questions:
            own, hard = self._own[at][features.documents[question]], features.hard[question]
            for window in (*rng.sample(own, min(_OWN, len(own))), rng.choice(features.answers[question]),
                           *rng.sample(hard, min(settings.hard, len(hard)))):  # fmt: skip
                windows[window] = None
        place = {window: number for number, window in enumerate(windows)}
        right = torch.zeros(len(questions), len(windows), dtype=torch.bool)
        for row, question in enumerate(questions):
            right[row, [place[window] for window in features.answers[question] if window in place]] = True
        logits = self._sharpness.exp() * late_interaction(
            self._head, self._thinned(self._of_windows, [features.windows[window] for window in windows]),
            self._thinned(self._of_questions, [features.questions[question] for question in questions]),
        )  # fmt: skip
        # Each part learns on its own. Several windows may hold the answer: together they are to have all probability.
        return -logits.log_softmax(-1).masked_fill(~right, -1e9).logsumexp(-1).mean()

    def _thinned(self, scale: Scale, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Scale features and leave a share of them out, the same ones everywhere in a step."""
        share = self._settings.dropout
        kept = np.asarray(self._chance.random(parts[0].shape[1]) >= share, dtype=np.float32) / (1 - share)
        return [scale(each) * kept for each in parts]


def late_interaction(head: RoutingHead, windows: Sequence[np.ndarray], questions: Sequence[np.ndarray]) -> Tensor:
    """Return the score of every window for every question, differentiable.

    Args:
        head: The head.
        windows: Features of each window, shape (entries, features).
        questions: Features of each question, shape (tokens, features).

    Returns:
        Weighted means of cosines, for each part of the codes, shape (parts, questions, windows).
    """
    device = head.key.weight.device
    codes = head.entry_codes(torch.from_numpy(np.concatenate(windows)).to(device).float())
    asked, weights = head.question_codes(torch.from_numpy(np.concatenate(questions)).to(device).float())
    counts = torch.tensor([len(window) for window in windows], device=device)
    ends = counts.cumsum(0)
    # Rows of a window, its last one repeated up to the length of the longest.
    rows = torch.minimum((ends - counts)[:, None] + torch.arange(int(counts.max()), device=device), ends[:, None] - 1)
    of = torch.repeat_interleave(torch.tensor([len(each) for each in questions], device=device))
    scores = []
    for part in range(head.parts):
        mine, theirs, weight = asked[:, part], codes[:, part], weights[:, part]
        with torch.no_grad():
            best = (mine @ theirs.T)[:, rows.flatten()].view(len(mine), *rows.shape).argmax(-1)
            taken = rows.gather(1, best.T).T
        # Gradients flow through the entries that were taken alone, which is exact for a maximum and much faster.
        cosines = torch.einsum("qd,qwd->qw", mine, theirs[taken])
        sums = cosines.new_zeros(len(questions), len(windows)).index_add(0, of, cosines * weight[:, None])
        scores.append(sums / weight.new_zeros(len(questions)).index_add(0, of, weight)[:, None])
    return torch.stack(scores)


def start(head: RoutingHead) -> None:
    """Give a head random maps, under which all tokens of a question count alike."""
    for linear in (head.key, head.question):
        nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
        nn.init.zeros_(linear.bias)
    nn.init.zeros_(head.weight.weight)
    nn.init.constant_(head.weight.bias, math.log(math.e - 1))


@dataclass(frozen=True, eq=False)
class Scale:
    """Brings features to mean 0 and deviation 1: those of a decoder differ by orders of magnitude.

    Args:
        mean: Shape (features,), float32.
        deviation: Shape (features,), float32.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> Scale:
        """Measure features.

        Args:
            parts: Features, shape (any, features) each.
        """
        seen = np.concatenate(parts).astype(np.float32)
        return cls(seen.mean(0), seen.std(0) + 1e-3)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return scaled features, float32."""
        scaled: np.ndarray = (features.astype(np.float32) - self.mean) / self.deviation
        return scaled

    def fold_into(self, linear: nn.Linear) -> None:
        """Make a map of scaled features one of features as they are."""
        with torch.no_grad():
            linear.weight /= torch.from_numpy(self.deviation).to(linear.weight)
            linear.bias.sub_(linear.weight @ torch.from_numpy(self.mean).to(linear.weight))


def _by_owner(features: RoutingFeatures) -> dict[int, list[int]]:
    windows: dict[int, list[int]] = {}
    for number, owner in enumerate(features.owners):
        windows.setdefault(owner, []).append(number)
    return windows
