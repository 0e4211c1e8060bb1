"""Open WebUI's housekeeping: it asks the model of a chat for titles, tags and further questions."""

from __future__ import annotations

import json
import re

_HISTORY = re.compile(r"<chat_history>\s*(.*?)\s*</chat_history>", re.DOTALL)
_FIRST = re.compile(r"^(?:USER|User|user):\s*(.+)$", re.MULTILINE)
#: What such a prompt asks for, by a word that its output format holds.
_KEYS = ("follow_ups", "title", "tags", "queries", "text")


def task_answer(prompt: str) -> str | None:
    """Answer such a prompt without the model: it is no question to the documents, and costs as much as one.

    Args:
        prompt: What the user is said to have said.

    Returns:
        The answer, a JSON object; `None` if the prompt is none of these.
    """
    if not prompt.lstrip().startswith("### Task:") or "### Output" not in prompt:
        return None
    asked = next((key for key in _KEYS if re.search(rf"\"{key}\"\s*:", prompt)), None)
    if asked is None:
        return None
    if asked != "title":
        return json.dumps({asked: "" if asked == "text" else []})
    history = _HISTORY.search(prompt)
    first = _FIRST.search(history[1]) if history else None
    words = (first[1] if first else "Question").split()
    return json.dumps({"title": " ".join(words[:8]) + ("…" if len(words) > 8 else "")}, ensure_ascii=False)
