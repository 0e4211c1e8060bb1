"""What surrounds the code agrees with itself: versions, addresses, workflows, what is shipped."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import rcc_integrations

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HOME = PROJECT["project"]["urls"]["Repository"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def load_yaml(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_has_the_package_version():
    citation = load_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == rcc_integrations.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["repository-code"] == HOME


def test_the_project_has_one_address():
    owner = HOME.removeprefix("https://github.com/").split("/")[0]
    pattern = re.compile(rf"https://github\.com/{owner}/[\w.-]+|https://{owner}\.github\.io/[\w.-]+")
    pages = PROJECT["project"]["urls"]["Documentation"].rstrip("/")
    for path in [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *ROOT.glob(".github/**/*.yml")]:
        for address in pattern.findall(path.read_text(encoding="utf-8")):
            assert address in (HOME, pages), path


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_targets_that_exist(workflow):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    variables = set(re.findall(r"^([A-Z]+) \?=", makefile, re.M))
    jobs = load_yaml(workflow)["jobs"]
    called: list[str] = []
    for job in jobs.values():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                if line.startswith("make "):
                    called += line.split()[1:]
        for row in job.get("strategy", {}).get("matrix", {}).get("include", []):
            called += row["target"].split()
        needs = job.get("needs", [])
        assert {needs} <= set(jobs) if isinstance(needs, str) else set(needs) <= set(jobs)
    assert called
    for word in called:
        name, given, _ = word.partition("=")
        if "$" not in word and word not in ("{{", "}}", "matrix.target"):
            assert name in (variables if given else targets), word


def test_ci_covers_the_python_versions_that_the_package_promises():
    tested = load_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: 3."
    promised = [item[len(prefix) - 2 :] for item in PROJECT["project"]["classifiers"] if item.startswith(prefix)]
    assert tested == promised
    assert PROJECT["project"]["requires-python"] == f">={promised[0]}"


def test_ci_covers_the_lowest_framework_versions():
    extras = PROJECT["project"]["optional-dependencies"]
    lowest = {
        "LANGCHAIN": re.match(r"langchain-core>=([\d.]+)", extras["langchain"][0]),
        "LLAMAINDEX": re.match(r"llama-index-core>=([\d.]+)", extras["llamaindex"][0]),
    }
    rows = load_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["frameworks"]["strategy"]["matrix"]["include"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, version in lowest.items():
        assert version
        number = version[1] if version[1].count(".") == 2 else f"{version[1]}.0"
        assert any(f"{name}={number}" in row["target"] for row in rows), number
        assert f"{name} ?= {number} newest" in makefile


def test_hooks_use_the_pinned_tools():
    hooks = load_yaml(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    wanted = [pin for hook in hooks for pin in hook.get("additional_dependencies", [])]
    assert wanted
    for pin in wanted:
        name, version = pin.split("==")
        assert pins()[name] == version


def test_every_declared_dependency_is_pinned():
    project = PROJECT["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    names = {re.split(r"[\[<>=;! ]", item)[0].lower().replace("_", "-") for group in groups for item in group}
    # flash-attn is built against a CUDA toolkit, which the pinned set-up does without.
    assert names - set(pins()) - {"rcc-integrations", "flash-attn"} == set()
