# make demo   train both demonstrations and write the report        make lint    ruff and mypy
# make test   the tests, without the slow ones                      make bench   timings of the operators
# make test-slow   every test                                       make build   install into .venv, compile csrc/
# make docs   the site of the documentation, in build/docs          make sanitize   the operators' tests under ASan, UBSan
# make shim   the CUDA kernels compiled for the host, under ASan    make wheel  sdist and wheel, for upload, in dist/
# make clean  remove what was built                                 make check-wheel  installs it in clean environments
#
# Each target installs what it needs into .venv: pinned packages, and the package itself in editable form. That is
# repeated only when the setup files or csrc/ change. PYTHON chooses the interpreter, MESHCONV_CUDA=0|1 the kernels.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := .venv/installed
INPUTS := setup.py setup.cfg pyproject.toml constraints.txt $(shell find csrc -type f)

.PHONY: help demo test test-slow sanitize shim lint docs wheel check-wheel bench build clean

help:
	@sed -n 's/^# \?//p' Makefile

demo: $(STAMP)
	@$(BIN)/meshconv demo

# Tests run beside each other, so that each has one thread.
test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# A second library of the same sources, which checks every access of the CPU operators while their tests run.
CHECKS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CHECKED_TESTS := $(addsuffix .py,$(addprefix ../../tests/test_,gauge_conv gauge_conv_torch segment fourier_op fused bad_input geodesics rows))
SANITIZERS := $$(for l in asan ubsan stdc++; do $(CXX) -print-file-name=lib$$l.so; done | tr '\n' ' ')
sanitize: $(STAMP)
	@rm -rf build/sanitize && mkdir -p build/sanitize && cp -r meshconv build/sanitize && rm -f build/sanitize/meshconv/_C*.so
	@MESHCONV_CUDA=0 MESHCONV_REQUIRE_EXTENSION=1 CFLAGS="$(CHECKS)" CXXFLAGS="$(CHECKS)" LDFLAGS="$(CHECKS)" \
	  $(BIN)/python setup.py -q build_ext --build-lib build/sanitize > build/sanitize/log.txt 2>&1 || { cat build/sanitize/log.txt; exit 1; }
	@cd build/sanitize && for set in avx512 avx2 baseline; do echo "$$set"; \
	  LD_PRELOAD="$(SANITIZERS)" \
	  ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=2 MESHCONV_INSTRUCTIONS=$$set ../../$(BIN)/python -m pytest -q \
	  -p no:cacheprovider -c ../../setup.cfg --rootdir ../.. -m "not slow" $(CHECKED_TESTS); done

# The CUDA kernels with one fiber a thread, see tests/cuda_shim. What a tensor is allocated as is NaN.
shim: $(STAMP)
	@CXX=$(CXX) $(BIN)/python tests/cuda_shim/build.py build/shim
	@MESHCONV_SHIM=$$PWD/build/shim/kernels_on_fibers.so LD_PRELOAD="$(SANITIZERS)" OMP_NUM_THREADS=1 \
	  ASAN_OPTIONS=detect_leaks=0:max_malloc_fill_size=1073741824:malloc_fill_byte=255 \
	  $(BIN)/python -m pytest -q -p no:cacheprovider tests/test_cuda_shim.py

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/mypy

docs: $(STAMP)
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "documentation: build/docs/index.html"

# The wheel holds the operators, configurations and data; torch's libraries stay torch's.
wheel: $(STAMP)
	@rm -rf dist build/wheel && mkdir -p dist build/wheel
	@$(BIN)/python -m build -q --no-isolation --outdir build/wheel . > build/wheel.log 2>&1 || { tail -20 build/wheel.log; exit 1; }
	@mv build/wheel/*.tar.gz dist/
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' -w dist \
	  build/wheel/*-abi3-*.whl 2>> build/wheel.log || { tail -20 build/wheel.log; exit 1; }
	@ls -sh dist

# Of what is in dist/; each Python gets its own environment.
PYTHONS ?= python3.10 python3.11 python3.13
check-wheel: $(STAMP)
	@for python in $(PYTHONS); do $(BIN)/python tests/clean_environments.py dist --python $$python; done

bench: $(STAMP)
	@$(BIN)/python benchmarks/gauge_conv.py

build: $(STAMP)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis meshconv/_C*.so meshconv/_build_note.txt
	rm -f $(STAMP)
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "environment: .venv from $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(f"meshconv needs Python 3.10 or newer, this is {sys.version.split()[0]}; choose one with PYTHON=..." if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv .venv

$(STAMP): $(BIN)/python $(INPUTS)
	@echo "packages: versions of constraints.txt"
	@start=$$SECONDS; $(PIP) install -qq -c constraints.txt setuptools wheel torch; \
	  echo "extension: compiling csrc/ (torch took $$((SECONDS - start)) s)"; start=$$SECONDS; \
	  $(PIP) install -qq -c constraints.txt --no-build-isolation -e ".[all,test,dev]"; \
	  if [ -f meshconv/_build_note.txt ]; then echo "warning: $$(cat meshconv/_build_note.txt)"; fi; \
	  echo "installed (the rest took $$((SECONDS - start)) s)"
	@touch $@
