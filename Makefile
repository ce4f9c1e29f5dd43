# The doors of the project; `make help` lists them.
PYTHON ?= python3
UV_VERSION := 0.13.9
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
UV := .tools/bin/uv
# Tests wait more than they compute: three processes keep two cores busy.
TEST_PROCESSES := 3
MEMBERS := $(wildcard schemas/pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml)
RUN := $(UV) run --frozen --all-groups --no-progress

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-integration test-tensorflow test-onnxruntime-gpu lint format types schemas topology chart images images-gpu chaos bench-accuracy \
	bench-overhead bench-memory bench-image-store bench-ocr bench-sizes bench-serving bench-bus bench-scaling bench-swap bench-replay bench-rebuild clean

help: ## List these doors
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-18s %s\n", $$1, $$2}'

$(UV):
	@echo "Setting up uv $(UV_VERSION) in .tools"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Billow needs Python 3.11 or newer; set PYTHON=...")'
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.light: $(UV) uv.lock pyproject.toml $(MEMBERS)
	@echo "Installing the locked dependencies"
	@$(UV) sync --frozen --quiet --inexact --python $(PYTHON)
	@touch $@

.venv/.full: $(UV) uv.lock pyproject.toml $(MEMBERS)
	@$(UV) sync --frozen --all-groups --quiet --python $(PYTHON)
	@touch $@ .venv/.light

setup: .venv/.full ## Install everything for development into .venv

demo: .venv/.light ## Two sample receipts and an invoice through the whole system, here, now
	@.venv/bin/billow extract --format table samples/receipt-cafe.jpg samples/receipt-market.jpg samples/invoice.pdf

up: .venv/.light ## Keep the whole stack running on this machine until Ctrl-C
	@.venv/bin/billow up

test: .venv/.full ## Run the unit, contract and component tests
	@.venv/bin/billow models pull >/dev/null
	@.venv/bin/pytest -q -n $(TEST_PROCESSES) --dist loadfile

test-integration: .venv/.full ## Test several services at once, on real servers in containers
	@.venv/bin/billow models pull >/dev/null
	@.venv/bin/python -m integration_tests.images --ours
	@.venv/bin/pytest -q integration_tests --durations=0 --durations-min=1

test-tensorflow: $(UV) ## Test the TensorFlow runtime in an environment of its own (1.8 GB)
	@$(UV) run --isolated --frozen --no-progress --package billow-engines --extra tensorflow --with pytest~=9.2 \
		--with pytest-asyncio~=1.5 --with pytest-timeout~=2.4 pytest -q libs/engines/tests_tensorflow

test-onnxruntime-gpu: $(UV) ## Test the engines with onnxruntime-gpu, which falls back to the CPU, in its own environment (0.8 GB)
	@EXPECTED_ONNXRUNTIME=onnxruntime-gpu $(UV) run --isolated --frozen --no-progress --package billow-engines \
		--extra onnxruntime-gpu --extra openvino --extra build --with-editable services/worker --with pytest~=9.2 \
		--with pytest-asyncio~=1.5 --with pytest-timeout~=2.4 pytest -q libs/engines/tests services/worker/tests/test_composition.py

lint: .venv/.full ## Check style, formatting and who may import whom
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports

format: .venv/.full ## Format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

types: .venv/.full ## Check the types (pyright, strict)
	@.venv/bin/pyright

topology: .venv/.full ## Write the event catalogue and the users of NATS from the declared topology
	@.venv/bin/billow topology export catalogue --output docs/events.md
	@.venv/bin/billow topology export permissions --domain hub --site desk --output deploy/nats/users.conf
	@.venv/bin/billow topology export consumers --output helm/billow/files/consumers.json
	@.venv/bin/billow topology export permissions --output helm/billow/files/users.conf

chart: .venv/.full ## Lint, render and check the Helm chart
	@.venv/bin/python -m helm.tests.binary >/dev/null
	@.venv/bin/pytest -q -n $(TEST_PROCESSES) --dist loadfile helm/tests

images: .venv/.full ## Build our images for CPUs (ARGS="--tag 0.1.0"); starts Docker, and makes the base image where no registry answers
	@.venv/bin/python -m integration_tests.images --ours $(ARGS)

images-gpu: .venv/.full ## Build the two worker images for GPUs, each of several GB
	@.venv/bin/python -m integration_tests.images --gpu $(ARGS)

chaos: .venv/.full ## 1,000 documents while something breaks every five seconds (ARGS="--seed 7 --seconds 600")
	@.venv/bin/python -m integration_tests.images
	@.venv/bin/python -m integration_tests.chaos $(ARGS)

schemas: .venv/.full ## Export the JSON Schemas of events and records
	@.venv/bin/python -m billow.schemas.export schemas/json

bench-accuracy: .venv/.full ## Accuracy beside RapidOCR on a labelled folder: make bench-accuracy DATA=folder
	@UV=$(abspath $(UV)) .venv/bin/python -m benchmarks.accuracy --data "$(DATA)" $(ARGS)

bench-overhead: .venv/.full ## Share of a document's time that is not model time: make bench-overhead DATA=folder
	@.venv/bin/python -m benchmarks.overhead --data "$(DATA)" $(ARGS)

bench-memory: .venv/.full ## Memory of each process, idle and working: make bench-memory DATA=folder
	@.venv/bin/python -m benchmarks.memory --data "$(DATA)" $(ARGS)

bench-image-store: .venv/.full ## Image store beside the stock object store
	@.venv/bin/python -m benchmarks.image_store $(ARGS)

bench-ocr: .venv/.full ## The whole path beside RapidOCR with OpenVINO and onnxruntime: make bench-ocr DATA=folder
	@UV=$(abspath $(UV)) .venv/bin/python -m benchmarks.ocr --data "$(DATA)" $(ARGS)

bench-sizes: .venv/.full ## Five picture sizes, 25 and 250 at a time: make bench-sizes DATA=folder
	@UV=$(abspath $(UV)) .venv/bin/python -m benchmarks.sizes --data "$(DATA)" $(ARGS)

bench-serving: .venv/.full ## One recogniser, 64 callers, beside LitServe, BentoML and Ray Serve
	@UV=$(abspath $(UV)) .venv/bin/python -m benchmarks.serving $(ARGS)

bench-bus: .venv/.full ## Our consumer loop beside bare nats-py and FastStream
	@UV=$(abspath $(UV)) .venv/bin/python -m benchmarks.bus_throughput $(ARGS)

bench-scaling: .venv/.full ## 1 to 16 workers of a model that sleeps
	@.venv/bin/python -m benchmarks.scaling $(ARGS)

bench-swap: .venv/.full ## A model is swapped while 500 documents are under way
	@.venv/bin/python -m benchmarks.swap $(ARGS)

bench-rebuild: .venv/.full ## The database from the stream, on SQLite and PostgreSQL: documents/s
	@.venv/bin/python -m benchmarks.rebuild $(ARGS)

bench-replay: .venv/.full ## 10,000 documents replayed, and single documents beside a replay
	@.venv/bin/python -m benchmarks.replay $(ARGS)

clean: ## Remove what was installed here
	rm -rf .venv .tools .pytest_cache .ruff_cache
