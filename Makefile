# make demo    chat with the shipped model and measure this machine; needs python3 >= 3.10 and a C compiler
# make test    every test of the C and the Python code, in an environment with everything
# make lint    ruff and mypy
# make sanitize  the C tests and the runtime's, built with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer
# make wheels  x86_64 and aarch64 wheels in dist/, cross-built with zig
# make docs    docs/cli.md, written from --help
# make kernels-report  docs/kernels.md: cycles predicted for ARM, rates measured here; needs llvm-mca 17 or newer (apt install llvm-19)
# make clean   removes builds and environments

PYTHON ?= python3
# Any torch >= 2.6 will do; a fixed one makes test runs comparable.
TORCH ?= torch==2.13.0
PROMPT ?= Tell me a short story about a fox.
BUILD := build/host
VENV := .venv
DEV := .venv-dev
BIN := $(CURDIR)/$(DEV)/bin

PYTHON_OK := import sys; sys.exit(0 if sys.version_info >= (3, 10) else 'qig-edge needs Python 3.10 or newer, this is ' + sys.version.split()[0])
DIST := dist
# cmake, ctest and ninja come with the environment.
IN_DEV := PATH="$(BIN):$$PATH"
NINJA := -G Ninja -DCMAKE_BUILD_TYPE=Release
ZIG_CMAKE = $(NINJA) -DQIG_TESTS=OFF -DQIG_PYTHON=$(BIN)/python -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/kernels/cmake/zig.cmake
INSTALLED_FROM := pyproject.toml LICENSE README.md $(shell find qig_edge kernels -type f -not -path '*/__pycache__/*' 2>/dev/null)

# The optimizers extra without torchvision, which backpack names for its examples: a build of it for GPUs breaks a torch without.
OPTIMIZERS := pytorch-optimizer curvlinops-for-pytorch backpack-for-pytorch einconv linear_operator unfoldNd

.PHONY: demo test lint native sanitize wheels docs kernels-report clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(VENV)/bin/qig-edge chat -p "$(PROMPT)" --stats
	$(VENV)/bin/qig-edge bench --device laptop

$(VENV)/installed: $(INSTALLED_FROM)
	$(PYTHON) -c "$(PYTHON_OK)"
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check .
	touch $@

test: $(DEV)/installed native
	$(IN_DEV) ctest --test-dir $(BUILD) --output-on-failure --no-tests=error
	$(BIN)/python -m pytest

lint: $(DEV)/installed
	$(BIN)/ruff check .
	$(BIN)/mypy

# The C library and program of this machine, where the tests and the package's source tree look for them.
native: $(DEV)/installed
	$(IN_DEV) cmake -S kernels -B $(BUILD) $(NINJA)
	$(IN_DEV) cmake --build $(BUILD)

# Python itself is not built with a sanitizer: its runtime is loaded first, and what Python never frees is no leak of ours.
SANITIZING = -G Ninja -DCMAKE_C_COMPILER=$(CC) -DCMAKE_BUILD_TYPE=RelWithDebInfo
SANITIZED = $(IN_DEV) QIG_EDGE_BUILD=$(CURDIR)/build/$(1) LD_PRELOAD=$$($(CC) -print-file-name=lib$(1).so)
sanitize: $(DEV)/installed
	$(IN_DEV) cmake -S kernels -B build/asan $(SANITIZING) -DQIG_SANITIZE=address,undefined,float-cast-overflow
	$(IN_DEV) cmake --build build/asan
	$(IN_DEV) ctest --test-dir build/asan --output-on-failure --no-tests=error
	$(call SANITIZED,asan) ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest -q -m "not slow" tests/kernels tests/runtime
	$(IN_DEV) cmake -S kernels -B build/tsan $(SANITIZING) -DQIG_SANITIZE=thread
	$(IN_DEV) cmake --build build/tsan
	$(IN_DEV) ctest --test-dir build/tsan -R 'test_engine|test_threads' --output-on-failure --no-tests=error
	$(call SANITIZED,tsan) $(BIN)/python -m pytest -q -m "not slow" tests/kernels/test_engine.py tests/kernels/test_depth.py

# Editable and without CMake: the tests run against this tree and the library that `native` builds.
$(DEV)/installed: pyproject.toml
	$(PYTHON) -c "$(PYTHON_OK)"
	test -x $(DEV)/bin/pip || $(PYTHON) -m venv $(DEV)
	$(BIN)/pip install --disable-pip-version-check --quiet --upgrade pip
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet -C wheel.cmake=false -e '.[train,cross,onnx,eval,dev]'
	$(BIN)/pip install --quiet einops jaxtyping mpmath opt-einsum scipy tqdm "$(TORCH)"
	$(BIN)/pip install --quiet --no-deps $(OPTIMIZERS)
	touch $@

wheels: wheel-x86_64 wheel-aarch64

# The library for glibc 2.28 and newer, the program static on musl: one wheel a machine type, for every Python 3, compiled without a
# system toolchain.
wheel-%: $(DEV)/installed
	$(IN_DEV) cmake -S kernels -B build/$*-gnu $(ZIG_CMAKE) -DQIG_ZIG_TARGET=$*-linux-gnu.2.28
	$(IN_DEV) cmake --build build/$*-gnu
	$(IN_DEV) cmake -S kernels -B build/$*-musl $(ZIG_CMAKE) -DQIG_ZIG_TARGET=$*-linux-musl -DQIG_STATIC=ON
	$(IN_DEV) cmake --build build/$*-musl
	rm -rf build/$*-stage
	mkdir -p build/$*-stage/lib build/$*-stage/bin
	cp build/$*-gnu/libqig.so build/$*-stage/lib/
	cp build/$*-musl/qig build/$*-stage/bin/
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(DIST) . \
	    -C wheel.cmake=false -C wheel.platlib=true -C wheel.tags=py3-none-manylinux_2_28_$* \
	    -C wheel.force-include.build/$*-stage=qig_edge
	ls -l $(DIST)/*_$*.whl

docs: $(DEV)/installed
	$(BIN)/python -m qig_edge.cli.reference docs/cli.md

kernels-report: native
	$(IN_DEV) cmake --build $(BUILD) --target qig-kernels-bench
	$(BIN)/python kernels/tools/report.py $(BUILD)/qig-kernels-bench docs/kernels.md

clean:
	rm -rf build dist $(VENV) $(DEV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +
