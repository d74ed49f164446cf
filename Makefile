# `make run` and `make test` set everything up first, in .venv; the second time they start at once.
#
#   make run                              label HalfCheetah live in the browser while it learns
#   make run LABELER=oracle               nobody has to answer; the page shows the oracle's choices
#   make run ARGS="--env Pendulum-v1"     any flag of `rltrainer train` (see .venv/bin/rltrainer train --help)
#   make test                             the everyday tests
#   make long                             the tests that take longer
#   make check                            style, types and all tests
#   make config.yaml                      writes the shipped settings again from rltrainer/config.py
#   make docs/labeler.png                 takes the README's picture and film of the page again, in a few minutes

BIN := .venv/bin
READY := .venv/ready

LABELER =
ARGS =
FLAGS = $(if $(LABELER),--labeler $(LABELER)) $(if $(filter oracle,$(LABELER)),--page on) $(ARGS)

.PHONY: run test long lint check setup chromium config.yaml docs/labeler.png

run: $(READY)
	$(BIN)/rltrainer train --config config.yaml $(FLAGS)

test: $(READY) chromium
	$(BIN)/python -m pytest $(ARGS)
	@if command -v node >/dev/null; then node --test tests/web/*.test.js; \
	else echo "Node is not installed: the page's own tests (tests/web) were left out"; fi

long: $(READY) chromium
	$(BIN)/python -m pytest -m long $(ARGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint test long

setup: $(READY)

chromium: $(READY)
	@.ci/setup chromium

config.yaml: $(READY)
	$(BIN)/python .ci/config_file.py > $@.tmp && mv $@.tmp $@

docs/labeler.png: $(READY) chromium
	$(BIN)/python .ci/picture.py

# a .venv that was moved or copied still points to where it was made
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt .ci/setup
	@.ci/setup
	@echo "$(CURDIR)" > $@
