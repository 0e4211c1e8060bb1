"""What is public, and what importing it must not pull in."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rcc_integrations

PUBLIC = [
    "AddReport",
    "Answer",
    "AnswerStream",
    "Document",
    "GenerationOptions",
    "Grammar",
    "MemoryStore",
    "Part",
    "RCCConfig",
    "RCCError",
    "RCCModel",
    "RCCReader",
    "Request",
    "Source",
    "Span",
    "Support",
    "Ticket",
    "Timings",
    "Turn",
    "Usage",
    "VerifyReport",
    "__version__",
    "find_files",
]


def test_public_names():
    assert rcc_integrations.__all__ == PUBLIC and set(PUBLIC) == {*rcc_integrations._WHERE, "__version__"}
    for name in PUBLIC:
        assert getattr(rcc_integrations, name) is not None
    assert dir(rcc_integrations) == sorted(PUBLIC)
    with pytest.raises(AttributeError, match="RCCModle"):
        _ = rcc_integrations.RCCModle


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("rcc_integrations", "torch transformers langchain_core llama_index diskcache numpy"),
        ("rcc_integrations.files", "torch transformers bs4 pypdf docx"),
        ("rcc_integrations.memory.records", "torch transformers"),
        ("rcc_integrations.memory.store", "torch transformers"),
        ("rcc_integrations.reader.reader", "torch transformers"),
    ],
)
def test_importing_pulls_in_no_more_than_it_must(module, absent):
    code = f"import sys, {module}; print([m for m in '{absent}'.split() if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_pickle_and_no_torch_load_in_the_package():
    from pathlib import Path

    folder = Path(rcc_integrations.__file__).parent
    for path in folder.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "torch.load(" not in source, path
        assert "pickle.load" not in source, path
        assert "import pickle" not in source, path
        assert "trust_remote_code=True" not in source, path


def test_public_names_of_llamaindex():
    pytest.importorskip("llama_index.core")
    from rcc_integrations import llamaindex

    assert llamaindex.__all__ == [
        "RCCLLM", "RCCChatEngine", "RCCCompressEvent", "RCCGenerateEvent", "RCCLoadEvent", "RCCMemoryIndex",
        "RCCMemoryRetriever", "RCCMemoryStruct", "RCCQueryEngine", "RCCRouteEvent", "RCCSelector", "WholeDocuments",
    ]  # fmt: skip
    for name in llamaindex.__all__:
        assert getattr(llamaindex, name).__doc__
