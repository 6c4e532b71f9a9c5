# The project's front door: `make` alone lists what there is to do.

PROFILE = default
VENV = .venv
PYTHON = $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c '$(is_right)' 2>/dev/null && echo $$python && break; done)
UV := $(shell command -v uv)
WORKERS = 2

is_right = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
python = $(VENV)/bin/python

MAKEFLAGS += --no-builtin-rules
# TensorFlow logs that there is no GPU as an error; what really fails raises an exception.
export TF_CPP_MIN_LOG_LEVEL ?= 3
# JupyterLab saves as notebooks/jupyter_server_config.json says; its "python3" is the environment's.
export JUPYTER_CONFIG_PATH := $(CURDIR)/notebooks$(addprefix :,$(JUPYTER_CONFIG_PATH))
export JUPYTER_PATH := $(abspath $(VENV))/share/jupyter$(addprefix :,$(JUPYTER_PATH))
.DELETE_ON_ERROR:
.DEFAULT_GOAL = help
.PHONY: help env reproduce verify site test test-fast test-notebooks test-slow test-browser bench search lint lab explore data notebooks store reference bundle lock clean FORCE

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile
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
# To an environment that the caller names (VENV=$CONDA_PREFIX) at most aaelib is added.
environment = $(if $(filter .venv,$(VENV)),.venv/.installed,named-environment)

env: $(environment) ## Make .venv from requirements.lock, with uv if it is there [PYTHON=path, VENV=path]

ifdef UV
make_venv = uv venv --quiet --clear --python $(or $(PYTHON),3.11) .venv
install = uv pip install --quiet --python $(python)
else
make_venv = $(PYTHON) -m venv --clear .venv
install = $(python) -m pip install --quiet --disable-pip-version-check
endif
jupyter_config = $(VENV)/etc/jupyter/jupyter_server_config.json
install_aaelib = $(install) --no-deps --no-build-isolation -e . && mkdir -p $(dir $(jupyter_config)) \
	&& { test -e $(jupyter_config) || cp notebooks/jupyter_server_config.json $(jupyter_config); }

.venv/.locked: requirements.lock
	@test -n "$(PYTHON)$(UV)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none is on PATH:" \
	    "install one, or uv (https://docs.astral.sh/uv), which fetches one" >&2; exit 1; }
	@test -z "$(PYTHON)" || $(PYTHON) -c '$(is_right)' 2>/dev/null || { \
	    echo "Python 3.11, 3.12 or 3.13 is needed, but PYTHON is '$(PYTHON)': name another," \
	    "as in: make env PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -n "$(UV)" || $(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make environments: install its venv (on Debian: apt install" \
	    "python3-venv), or uv (https://docs.astral.sh/uv)" >&2; exit 1; }
	@echo "Installing the packages of requirements.lock into .venv ($(if $(UV),a minute,some minutes))"
	@$(make_venv)
	@$(install) --require-hashes -r requirements.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	@$(install_aaelib)
	@touch $@

named-environment: FORCE
	@test -x $(python) || { echo "VENV=$(VENV) has no bin/python" >&2; exit 1; }
	@$(python) -c 'import importlib.metadata as m; m.version("aaelib")' 2>/dev/null || { $(install_aaelib); }


# The study. Each notebook sees for itself whether what it is made from has changed; its header
# names in `reads` those whose results it reads, and others run beside it: one uses 0.7 of 2 cores.
run = results/$(PROFILE)
profiles = $(sort $(basename $(notdir $(wildcard notebooks/profiles/*.yaml))))
scripts := $(sort $(wildcard notebooks/[0-9]*.py))
executed = $(scripts:notebooks/%.py=$(run)/notebooks/%.ipynb)
reads = $(shell sed -n 's/^\#  *reads: //p' $(1))

# A notebook with a `profile` in its header runs in that one alone, and there only what it reads.
with_profile = $(shell grep -lE '^\#  *profile: $(1)$$' $(scripts))
own := $(call with_profile,$(PROFILE))
wanted = $(patsubst notebooks/%.py,$(run)/notebooks/%.ipynb,$(or $(own),$(filter-out $(call with_profile,.*),$(scripts))))

reproduce: $(environment) ## Run what is out of date of the study and write its site [PROFILE=default]
	@$(MAKE) --no-print-directory -j$(WORKERS) $(run)/index.html
	@echo "The site: $(run)/index.html"

$(run)/index.html: $(wanted) aaelib/study/site.py $(wildcard aaelib/study/templates/* docs/* docs/*/*) | $(environment)
	$(python) -m aaelib site --profile $(PROFILE)

site: $(environment) ## Write the site, with stored notebooks for those that have not run [PROFILE=default]
	$(python) -m aaelib site --profile $(PROFILE)

$(executed): $(run)/notebooks/%.ipynb: FORCE | $(environment)
	@$(python) -m aaelib notebook $* --profile $(PROFILE)

$(foreach script,$(scripts),$(eval $(script:notebooks/%.py=$(run)/notebooks/%.ipynb): \
	$(patsubst %,$(run)/notebooks/%.ipynb,$(call reads,$(script)))))


verify: $(environment) ## Compare a run's tables with tests/reference [PROFILE=default, EXACT=1: no tolerance]
	$(python) -m aaelib verify --profile $(PROFILE) $(if $(EXACT),--exact)


test: $(environment) ## Run the fast tests, and beside them every notebook in the smoke profile
	$(MAKE) -j$(WORKERS) test-fast test-notebooks

# TensorFlow and NumPy use a thread each: the cores are for the workers.
one_thread = TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1

test-fast: $(environment) ## Run the fast tests, a file at a time on each of WORKERS [WORKERS=2]
	$(one_thread) $(python) -m pytest tests -n $(WORKERS) --dist loadfile

# nbval reads what a cell displays after the cell has run: a kernel keeps 2000 messages till then,
# and on a slow machine progress bars that are drawn ten times a second send more.
few_messages = TQDM_MININTERVAL=10

test-notebooks: $(environment) ## Run every notebook in the smoke profile
	rm -rf results/smoke
	$(one_thread) $(few_messages) AAELIB_PROFILE=smoke $(python) -m pytest --nbval-lax --nbval-current-env \
	    --nbval-cell-timeout=600 $(scripts:.py=.ipynb)

test-slow: $(environment) ## Run the tests that kill processes, start several, or fuzz [WORKERS=2]
	$(python) -m pytest tests -m slow -n $(WORKERS) --dist loadfile

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
	$(python) -m aaelib pair
	git diff --exit-code --stat -- notebooks

lab: $(environment) ## Open the notebooks in JupyterLab, on this machine only [LAB_OPTIONS=--no-browser]
	$(python) -m jupyterlab --ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_OPTIONS)

explore: $(environment) ## Open the latent explorer of notebook 05 in a browser, on this machine only
	$(python) -m aaelib explore

data: $(environment) ## Download the public sockets [MODELNET=10 or 40: and that ModelNet]
	$(python) -m aaelib data $(if $(MODELNET),--modelnet $(MODELNET))

notebooks: $(environment) ## Give each .ipynb and its .py script the cells of the one that was edited
	$(python) -m aaelib pair

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
