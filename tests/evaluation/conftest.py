from __future__ import annotations

import pytest

from rcc_integrations.evaluation.datasets import DECLINES
from rcc_integrations.training.data.sample import Question, Sample

FERRY = (
    "The ferry to Holm leaves at 7:45. A ticket for the ferry costs 12 euros.\n\n"
    "The harbour has two cranes and a long stone wall.\n\n"
    "Ines Calder works as a harbour pilot. Ines Calder was born in Varde.\n\n"
    "The bell rings twice: once for fog, once for ice. Nobody sails in a storm, and the warden approves leave.\n"
)
LIBRARY = (
    "The library opens at nine. Nobody borrows more than four books at once. The reading room is on the upper floor, "
    "and the warden of the library is called Tove Lind. Late books cost 2 euros.\n"
)
PILOT = "Nobody approves leave but the pilot. The pilot sails at 6:30.\n"


@pytest.fixture
def samples() -> list[Sample]:
    """A set of three documents, two of them of several windows of the tiny model."""
    return [
        Sample(
            FERRY,
            (
                Question("When does the ferry leave?", ("7:45",), "date"),
                Question("Where was Ines Calder born?", ("Varde", "in Varde"), "name"),
                Question("Who owns the ferry?", DECLINES, "unanswerable"),
            ),
            "isle",
            "ferry",
        ),
        Sample(LIBRARY, (Question("When does the library open?", ("nine", "at nine"), "date"),), "isle", "library"),
        Sample(PILOT, (Question("When does the pilot sail?", ("6:30",), "date"),), "isle", "pilot"),
    ]
