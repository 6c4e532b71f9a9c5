# The project's front door: `make` alone lists what there is to do.

PROFILE = default
VENV = .venv
PYTHON = $(shell for python in python3.11 python3 python; do \
	$$python -c '$(is_3_11)' 2>/dev/null && echo $$python && break; done)

is_3_11 = import sys; sys.exit(sys.version_info[:2] != (3, 11))
python = $(VENV)/bin/python
jupytext = $(python) -m jupytext --quiet

MAKEFLAGS += --no-builtin-rules
# TensorFlow logs that there is no GPU as an error; what really fails raises an exception.
export TF_CPP_MIN_LOG_LEVEL ?= 3
.DELETE_ON_ERROR:
.DEFAULT_GOAL = help
.PHONY: help env reproduce verify site test test-fast test-slow test-browser bench search lint lab explore data notebooks store reference bundle lock clean FORCE

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo "PROFILE is one of: $(profiles)"


# Where shapes come from. JupyterLab and the tests run notebooks in their own folder, not here:
# paths are made absolute.
absolute = $(if $(filter /% ~%,$(firstword $(1))),$(1),$(CURDIR)/$(1))
ifneq ($(AAELIB_DATA),)
override AAELIB_DATA := $(call absolute,$(AAELIB_DATA))
export AAELIB_DATA
endif
ifneq ($(AAELIB_SHAPES),)
override AAELIB_SHAPES := $(call absolute,$(AAELIB_SHAPES))
export AAELIB_SHAPES
endif


# The environment. Each stamp is written last, so that a killed install is done again from scratch.
# An environment that the caller names (VENV=$CONDA_PREFIX) is used as it is.
ifeq ($(VENV),.venv)
environment = .venv/.installed
endif

env: $(environment) ## Make .venv from requirements.lock (VENV=path: use that environment instead)

.venv/.locked: requirements.lock
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(is_3_11)' 2>/dev/null || { echo "Python 3.11 is needed" \
	    "and '$(or $(PYTHON),python3.11)' is not it: install it, or name it," \
	    "as in: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing the packages of requirements.lock into .venv (some minutes)"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check \
	    --require-hashes -r requirements.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check \
	    --no-deps --no-build-isolation -e .
	@touch $@


# The study. An executed notebook depends on its source, on the code, on its profile, on the
# notebooks before it and on where the shapes come from; so only what is out of date runs again.
run = results/$(PROFILE)
profile = notebooks/profiles/$(PROFILE).yaml
profiles = $(sort $(basename $(notdir $(wildcard notebooks/profiles/*.yaml))))
sources = $(sort $(wildcard notebooks/[0-9]*.py))
executed = $(sources:notebooks/%.py=$(run)/notebooks/%.ipynb)
uses = $(wildcard aaelib/apps/*.py)
inputs = $(filter-out aaelib/study/site.py aaelib/study/verification.py,$(wildcard $(addprefix \
	aaelib/,shapes/*.py metrics/*.py models/*.py study/*.py))) $(wildcard data/sockets/*.npz)

reproduce: $(run)/index.html ## Run what is missing of the study and write its site [PROFILE=default]
	@echo "The site: $(run)/index.html"

$(run)/index.html: $(executed) aaelib/study/site.py $(wildcard aaelib/study/templates/* docs/* docs/*/*) | $(environment)
	$(python) -m aaelib site --profile $(PROFILE)

site: $(environment) ## Write the site, with stored notebooks for those that have not run [PROFILE=default]
	$(python) -m aaelib site --profile $(PROFILE)

# Shapes of one's own are in the last notebook alone.
$(filter $(run)/notebooks/07%,$(executed)): $(run)/.own_shapes

$(executed): $(run)/notebooks/%.ipynb: notebooks/%.py $(inputs) $(profile) $(run)/.source | $(environment)
	$(python) -m aaelib notebook $* --profile $(PROFILE)

$(foreach rule,$(join $(addsuffix :,$(wordlist 2,$(words $(executed)),$(executed))),\
	$(filter-out $(lastword $(executed)),$(executed))),$(eval $(rule)))

# What models are used for is in the last notebooks alone.
$(filter $(run)/notebooks/05% $(run)/notebooks/06% $(run)/notebooks/07%,$(executed)): $(uses)

$(profile):
	@echo "There is no profile '$(PROFILE)': choose one of $(profiles)" >&2; exit 1

# Rewritten only when it would say something else, so that other shapes, and nothing less, redo the study.
$(run)/.source: FORCE | $(profile)
	@test -z "$$AAELIB_DATA" || test -d "$$AAELIB_DATA" || { echo "AAELIB_DATA names no folder:" \
	    "$$AAELIB_DATA" >&2; exit 1; }
	@mkdir -p $(@D)
	@for folder in $${AAELIB_DATA:+"$$AAELIB_DATA"/*/} data/*/; do case $$folder in \
	    */SocketSSM/|*/ModelNet*/) \
	        (cd "$$folder" && echo "$$(pwd -P) $$(find . -type f -name '[!.]*' | wc -l)");; \
	esac; done > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(run)/.own_shapes: FORCE | $(profile)
	@test -z "$$AAELIB_SHAPES" || test -d "$$AAELIB_SHAPES" || { echo "AAELIB_SHAPES names no folder:" \
	    "$$AAELIB_SHAPES" >&2; exit 1; }
	@mkdir -p $(@D)
	@test -z "$$AAELIB_SHAPES" || (cd "$$AAELIB_SHAPES" && \
	    echo "$$(pwd -P) $$(find . -type f -name '[!.]*' | wc -l)") > $@.new; touch $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi


verify: $(environment) ## Compare a run's tables with tests/reference [PROFILE=default, EXACT=1: no tolerance]
	$(python) -m aaelib verify --profile $(PROFILE) $(if $(EXACT),--exact)


test: test-fast ## Run the fast tests, then every notebook in the smoke profile
	rm -rf results/smoke
	AAELIB_PROFILE=smoke $(python) -m pytest -p no:randomly --nbval-lax --nbval-current-env \
	    --nbval-cell-timeout=600 $(sources:.py=.ipynb)

test-fast: $(environment) ## Run the fast tests
	$(python) -m pytest tests

test-slow: $(environment) ## Run the tests that kill processes, start several, or fuzz
	$(python) -m pytest tests -m slow

test-browser: $(environment) ## Drive the explorer's page in Chromium
	$(python) -m pytest tests -m browser

bench: $(environment) ## Measure speed and memory against the original scheme and peers, into results/bench
	$(python) -m benchmarks run
	$(python) -m benchmarks page

search: $(environment) ## Vary the default recipe, one thing at a time, into results/search [PROFILE=default]
	$(python) -m benchmarks search --profile $(PROFILE)

lint: $(environment) ## Check style, imports between layers, and that notebooks and scripts agree
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(VENV)/bin/lint-imports
	$(python) -m pytest tests/test_front_door.py -k paired

lab: $(environment) ## Open the notebooks in JupyterLab, on this machine only
	$(python) -m jupyterlab --ip=127.0.0.1

explore: $(environment) ## Open the latent explorer of notebook 05 in a browser, on this machine only
	$(python) -m aaelib explore

data: $(environment) ## Download the public sockets [MODELNET=10 or 40: and that ModelNet]
	$(python) -m aaelib data $(if $(MODELNET),--modelnet $(MODELNET))

notebooks: $(environment) ## Write the .ipynb notebooks from their .py scripts, keeping stored outputs
	$(jupytext) --to ipynb --update $(sources)

store: $(environment) ## Store the outputs of an executed study in the notebooks [PROFILE=default]
	$(python) -m aaelib store --profile $(PROFILE)
	@if test -e results/bench/main.md; then $(python) -m benchmarks store; fi

reference: $(environment) ## Store only the tables of a study, for make verify [PROFILE=default]
	$(python) -m aaelib reference --profile $(PROFILE)

bundle: $(environment) ## Fit the bundled default data/sockets/ to the public sockets
	$(python) -m aaelib bundle

lock: ## Pin in requirements.lock what pyproject.toml asks for (needs uv)
	@command -v uv >/dev/null || { echo "uv is needed: see https://docs.astral.sh/uv" >&2; exit 1; }
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra dev \
	    --no-annotate -o requirements.lock pyproject.toml

clean: ## Remove results/ (downloads and .venv stay)
	rm -rf results
