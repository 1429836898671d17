# make demo    three hospitals and a server on this machine, from nothing to a trained adapter
# make test    every test
# make unit    the tests that need no processes, in seconds
# make check   ruff, mypy, import-linter
# make bench   the benchmarks, one after another; takes hours
# make peers   the virtual environments of what benchmarks compare with, in .peers
# make mutants the policy code changed in some two thousand ways, and which of them no test notices
#
# Each target sets itself up: a virtual environment in .venv, the install, and bubblewrap, PostgreSQL and runc where
# they may be installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := .peers

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Thousands of small durable writes: a memory disk spares the unit tests most of their time.
MEMORY_DISK := $(firstword $(wildcard /dev/shm) /tmp)

.PHONY: help install bubblewrap postgresql strace runc demo test unit check format bench peers mutants clean

help:
	@sed -n 's/^# //p' Makefile | head -7

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "cloister needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV); two or three minutes the first time, in which pip says nothing …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

install: $(INSTALLED)

bubblewrap:
	@sh scripts/bubblewrap.sh

postgresql:
	@sh scripts/postgresql.sh

strace:
	@sh scripts/strace.sh

runc:
	@sh scripts/runc.sh

demo: $(INSTALLED) bubblewrap
	@$(BIN)/cloister demo run

test: $(INSTALLED) bubblewrap postgresql strace runc
	@HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 -m 'not flare and not gpu'
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m 'flare and not gpu'

unit: $(INSTALLED) bubblewrap postgresql runc
	@PYTEST_DEBUG_TEMPROOT=$(MEMORY_DISK) $(BIN)/python -m pytest -n 2 -m 'not flare and not slow and not gpu'

check: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Every command of docs/benchmarks.md in its order; a test sees to that.
bench: $(INSTALLED) bubblewrap postgresql peers
	$(BIN)/python benchmarks/round_overhead.py --repeat 5
	$(BIN)/python benchmarks/transfer.py --repeat 5
	$(BIN)/python benchmarks/large_job.py
	$(BIN)/python benchmarks/admission.py
	$(BIN)/python benchmarks/decide.py
	$(BIN)/python benchmarks/roster.py --repeat 5
	$(BIN)/python benchmarks/value_forms.py --repeat 7
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/audit_append.py
	$(BIN)/python benchmarks/deidentification.py
	$(BIN)/python benchmarks/aggregate.py
	$(BIN)/python benchmarks/many_updates.py
	$(BIN)/python benchmarks/upload_bytes.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/exactness.py --steps 6
	$(BIN)/python benchmarks/medical_abstracts.py
	$(BIN)/python benchmarks/medical_abstracts.py --in-process --seeds 3 --rounds 10 --steps 20 --batch 8 --tokens 64 --ways federated pooled
	$(BIN)/python benchmarks/hippocampus.py --ways federated pooled
	$(BIN)/python benchmarks/pneumonia.py --ways federated pooled pooled-wide
	$(BIN)/python benchmarks/medquad.py
	$(BIN)/python benchmarks/heart_disease.py
	$(BIN)/python benchmarks/tcga_brca.py
	$(BIN)/python benchmarks/credit_default.py
	$(BIN)/python benchmarks/synthea_tables.py
	$(BIN)/python benchmarks/view_throughput.py
	$(BIN)/python benchmarks/bad_sites.py
	$(BIN)/python benchmarks/skewed_text.py --jobs 2 --seeds 1 --only abstracts banking --methods pooled "rolora, int4, calibrated" "ffa-lora, int4"

peers: $(patsubst benchmarks/peers/requirements/%.txt,$(PEERS)/%/.installed,$(wildcard benchmarks/peers/requirements/*.txt))

$(PEERS)/%/.installed: benchmarks/peers/requirements/%.txt
	@echo "installing $* into $(PEERS)/$* …"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

mutants: $(INSTALLED)
	@$(BIN)/python scripts/mutants.py

# Keys and results lie in .cloister: whoever wants those gone removes that folder themselves.
clean:
	rm -rf $(VENV) $(PEERS) demo dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
