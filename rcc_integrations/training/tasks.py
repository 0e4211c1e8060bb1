"""What training consists of: tasks, and their shares in its stages."""

from __future__ import annotations

#: Tasks: composed facts; questions about, repetition and continuation of real text; questions of one's own.
TASKS = ("facts", "real", "repeat", "continue", "own")

#: Shares of tasks in the three stages (design: reconstruction first, then questions, then many windows). Data of one's
#: own count as much as composed facts; tasks that the data do not serve are left out.
STAGE_SHARES: dict[str, dict[str, float]] = {
    "A": {"repeat": 0.5, "continue": 0.5},
    "B": {"facts": 0.55, "own": 0.55, "real": 0.25, "repeat": 0.14, "continue": 0.06},
    "C": {"facts": 0.7, "own": 0.7, "real": 0.3},
}
