# `make demo` and `make test` set everything up by themselves; neither needs root.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-picamera2 test-ptp test-systemd test-archive test-first-boot test-fleet test-fleet-playbooks test-fleet-faults archive bench bench-genlock bench-flash bench-audio bench-ingest bench-rtsp lint lint-ansible lint-systemd format pictures docs clean

help:            ## show the targets
	@grep -hE '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 20

setup: $(STAMP)  ## create .venv with everything the other targets need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) found. Set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "python3-venv is missing. Install it: sudo apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@if pkg-config --exists libsystemd 2>/dev/null; then \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt systemd-python || \
	  echo "systemd-python cannot be built (python3-dev, gcc): the tests that need it are skipped"; fi
	@touch $@

demo: $(STAMP)   ## record one session with simulated cameras and audit it (ARGS="--cameras 6 --seconds 20")
	$(BIN)/manager demo $(ARGS)

test: $(STAMP)   ## run the tests (ARGS="-k grid")
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-picamera2: $(STAMP) ## real picamera2 on libcamera's virtual cameras in a Debian sid root (root; TUTTI_SID_ROOT=/folder)
	TUTTI_TEST_PICAMERA2=1 $(BIN)/python -m pytest tests/system/test_picamera2.py -s $(ARGS)

test-ptp: $(STAMP) ## nodes with drifting clocks under real ptp4l, against the truth (root; 4 min)
	TUTTI_TEST_PTP=1 $(BIN)/python -m pytest tests/system/test_ptp.py -s $(ARGS)

test-systemd: $(STAMP) ## the units and their watchdogs under real systemd in containers (root; 6 min)
	TUTTI_TEST_SYSTEMD=1 $(BIN)/python -m pytest tests/system/test_watchdog.py tests/system/test_shipped_units.py -s $(ARGS)

test-archive: $(STAMP) ## a controller without network installs from the archive (root; 5 min; needs the network once)
	TUTTI_TEST_ARCHIVE=1 $(BIN)/python -m pytest tests/deploy -s $(ARGS)

test-first-boot: $(STAMP) ## a card's files, carried out by Debian trixie's cloud-init in a container (root; network once)
	TUTTI_TEST_FIRST_BOOT=1 $(BIN)/python -m pytest tests/deploy/test_first_boot_live.py -s $(ARGS)

archive: $(STAMP) ## what a site needs offline: build/site/ and one file (ARGS="--arch aarch64 --python 3.11 --suite bookworm")
	$(BIN)/python -m deploy.archive $(ARGS)

test-fleet: $(STAMP) ## bare machines to a passed audit by one playbook, in containers (root; 10 min)
	TUTTI_TEST_FLEET=1 $(BIN)/python -m pytest tests/fleet/test_fleet.py -s $(ARGS)

test-fleet-playbooks: $(STAMP) ## upgrade, new keys, removal of a node, logs, and their refusals (root; 30 min)
	TUTTI_TEST_FLEET=1 $(BIN)/python -m pytest tests/fleet/test_playbooks.py -s $(ARGS)

test-fleet-faults: $(STAMP) ## what breaks in a fleet, each fault with its audit (root; 25 min)
	TUTTI_TEST_FLEET=1 $(BIN)/python -m pytest tests/fleet/test_faults.py -s $(ARGS)

bench: $(STAMP)  ## measure: release error, hot path, streams, latency, audit
	$(BIN)/python -m bench $(ARGS)

bench-genlock: $(STAMP) ## grid error of the genlock on simulated sensors (5 min; ARGS="--minutes 2 --hours 0.5")
	$(BIN)/python -m bench.genlock $(ARGS)

bench-flash: $(STAMP) ## flash synchronisation on footage of known truth (8 min; ARGS="--only plain --seeds 0")
	$(BIN)/python -m bench.flash $(ARGS)

bench-audio: $(STAMP) ## audio synchronisation against the truth
	$(BIN)/python -m bench.audio $(ARGS)

bench-ingest: $(STAMP) $(VENV)/peers/.tried ## reading video files, against the readers people use (8 min)
	$(BIN)/python -m bench.ingest $(ARGS)

# The readers compared with, apart from the project: torchcodec 0.13 is the last that needs no CUDA.
$(VENV)/peers/.tried:
	$(PYTHON) -m venv $(VENV)/peers
	-$(VENV)/peers/bin/pip install --quiet --disable-pip-version-check numpy decord
	-$(VENV)/peers/bin/pip install --quiet --disable-pip-version-check 'torch==2.13.*' 'torchcodec==0.13.*'
	@touch $@

bench-rtsp: $(STAMP) ## live capture times against a real RTSP server (21 min; ARGS="--seconds 20 --minutes 0")
	$(BIN)/python -m bench.rtsp $(ARGS)

lint: $(STAMP)   ## format check, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-ansible: $(STAMP) ## playbooks: ansible-lint (production), yamllint, syntax
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[deploy]'
	cd ansible && PATH="$(abspath $(BIN)):$$PATH" sh -c 'yamllint --strict . && ansible-lint && \
	  ansible-playbook --syntax-check -i localhost, -e node=localhost *.yml'

lint-systemd: $(STAMP) ## verify the units and print how locked up they are; fails above the limit
	$(BIN)/python -m deploy.lint_units

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pictures: $(STAMP) ## draw the pictures of docs/multiview again, from real runs
	set -e; for script in docs/multiview/*.py; do $(BIN)/python $$script; done

docs: $(STAMP)   ## build the documentation into site/
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:           ## remove what the other targets made
	rm -rf $(VENV) site build *.egg-info
