# Everything a person or a CI job does with this repository. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

HERE := sagemaker-vision
REGISTRY ?= $(HERE)
TAG ?= dev
PLATFORM ?= linux/amd64
BASE_IMAGE ?= python:3.11-slim-bookworm
DATA ?=
EPOCHS ?=
PRETRAINED ?=
BASE_DIR ?=
PORT ?= 8080
LOCKFLAGS ?=
FUZZ_SEED ?= 13
VARIABLES := REGISTRY TAG PLATFORM BASE_IMAGE DATA EPOCHS PRETRAINED BASE_DIR PORT SOURCE LOCKFLAGS FUZZ_SEED

# An image's name is everything's name.
IMAGES := image-classification object-detection semantic-segmentation image-classification-tensorflow inference
TRAINING := $(filter-out inference,$(IMAGES))
reference = $(REGISTRY)/$1:$(TAG)

# Environments, one directory each. The stamp in it carries the hash of its lock file, so an unchanged lock costs
# nothing and a changed one makes the environment anew.
ENV_image-classification := mxnet
ENV_object-detection := mxnet
ENV_semantic-segmentation := mxnet
ENV_image-classification-tensorflow := tensorflow
LOCK_uv := containers/uv.txt
LOCK_mxnet := containers/mxnet/requirements.txt
LOCK_tensorflow := containers/tensorflow/requirements.txt
LOCK_serve := containers/inference/requirements.txt
LOCK_dev := local/requirements/dev.txt
LOCK_sdk2 := local/requirements/sdk2.txt
LOCK_tests := local/requirements/tests.txt
stamp = .venvs/$1/.lock-$(firstword $(shell sha256sum $(LOCK_$1)))
UV_STAMP := $(call stamp,uv)
MXNET := $(call stamp,mxnet)
TENSORFLOW := $(call stamp,tensorflow)
SERVE := $(call stamp,serve)
DEV := $(call stamp,dev)
SDK2 := $(call stamp,sdk2)
TESTS := $(call stamp,tests)
UV := .venvs/uv/bin/uv
PY = .venvs/$1/bin/python

export PYTHONPATH := $(CURDIR)
export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT := 120
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# ONNX Runtime would report every session to its maker.
export ORT_DISABLE_TELEMETRY := 1

# Goals that cannot be met stop here, in one line and before anything is made.
VERBS := demo train local build push
named = $(foreach verb,$(VERBS),$(addprefix $(verb)/,$1))
$(foreach goal,$(filter demo/inference train/inference local/inference,$(MAKECMDGOALS)),\
  $(error $(goal): inference only serves; name an image that trains: $(TRAINING)))
$(foreach goal,$(filter-out $(call named,$(IMAGES)),$(filter $(addsuffix /%,$(VERBS)),$(MAKECMDGOALS))),\
  $(error $(goal): there is no image $(notdir $(goal)); there are $(IMAGES)))

# A folder may have any name. `quoted`: a text as one word for a shell; `folder`: the absolute path, or nothing where
# there is none. The functions of make for paths would split a name at its spaces.
quoted = '$(subst ','\'',$1)'
folder = $(shell CDPATH= cd -- $(call quoted,$1) 2>/dev/null && pwd)
with_data = $(if $(DATA),--data $(call quoted,$(DATA)))

ifneq ($(filter train/% serve,$(MAKECMDGOALS)),)
ifeq ($(BASE_DIR),)
$(error BASE_DIR is not set; run: make $(MAKECMDGOALS) BASE_DIR=DIR, a folder shaped like /opt/ml)
endif
ifeq ($(call folder,$(BASE_DIR)),)
$(error BASE_DIR=$(BASE_DIR) is not a folder: give one shaped like /opt/ml; docs/data.md, "A run of your own")
endif
endif

# Docker takes a name without a host for one on Docker Hub.
ifneq ($(filter push push/%,$(MAKECMDGOALS)),)
ifeq ($(filter-out $(HERE),$(REGISTRY)),)
$(error REGISTRY is not set; run: make $(MAKECMDGOALS) REGISTRY=ACCOUNT.dkr.ecr.REGION.amazonaws.com)
endif
ifneq ($(findstring ACCOUNT.,$(REGISTRY))$(findstring .REGION.,$(REGISTRY)),)
$(error REGISTRY=$(REGISTRY) is a pattern: write your account of 12 digits for ACCOUNT and its region for REGION, as in \
  123456789012.dkr.ecr.us-east-1.amazonaws.com)
endif
endif

ifneq ($(and $(PRETRAINED),$(filter build build/% local/% test test/% images-for-tests,$(MAKECMDGOALS))),)
ifeq ($(call folder,$(PRETRAINED)),)
$(error PRETRAINED=$(PRETRAINED) does not exist: name a folder with weight files; docs/pretrained.md)
endif
ifeq ($(shell find -L $(call quoted,$(PRETRAINED)) -mindepth 1 -maxdepth 1 \
  -regex '.*[.]\(safetensors\|params\|h5\|keras\)'),)
$(error PRETRAINED=$(PRETRAINED) holds no .safetensors, .params, .h5 or .keras file: put one there, or leave \
  PRETRAINED= out; docs/pretrained.md)
endif
endif

ifneq ($(and $(DATA),$(filter demo demo/% local/% bench,$(MAKECMDGOALS))),)
LACKS := $(shell for part in . images annotations/trainval.txt annotations/test.txt; do \
  [[ -e $(call quoted,$(DATA))/$$part ]] || { echo $$part; break; }; done)
ifneq ($(LACKS),)
$(error DATA=$(DATA) $(if $(filter .,$(LACKS)),does not exist,has no $(LACKS)): give the folder that holds images/ and \
  annotations/ of a data set in the layout of Oxford-IIIT Pet)
endif
endif

ifneq ($(and $(EPOCHS),$(filter demo demo/% local/%,$(MAKECMDGOALS))),)
ifeq ($(shell [[ '$(EPOCHS)' =~ ^0*[1-9][0-9]*$$ ]] && echo good),)
$(error EPOCHS is '$(EPOCHS)': give a whole number of 1 or more)
endif
endif

ifneq ($(filter serve,$(MAKECMDGOALS)),)
ifeq ($(shell [[ '$(PORT)' =~ ^[1-9][0-9]{0,4}$$ ]] && (( $(PORT) < 65536 )) && echo good),)
$(error PORT is '$(PORT)': give a whole number from 1 to 65535)
endif
endif

# A name that is spelt wrong would be ignored without a word.
ifeq ($(MAKELEVEL),0)
given = $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
upper = $(shell tr a-z A-Z <<< '$1')
meant = $(firstword $(filter $(call upper,$1)%,$(VARIABLES)))
$(foreach name,$(filter-out $(VARIABLES),$(given)),$(warning warning: $(name) is not a variable of `make help` and \
  changes nothing$(if $(call meant,$(name)),; did you mean $(call meant,$(name))?)))
endif

.PHONY: FORCE
FORCE:

.PHONY: help
help: ## this list
	@echo "Usage: make TARGET [VARIABLE=VALUE ...]"; echo
	@sed -nE 's/^([a-z][a-z0-9%/-]*):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | sed 's/%/NAME/' | \
	  while IFS=$$'\t' read -r target text; do printf '  %-19s %s\n' "$$target" "$$text"; done
	@echo; echo "NAME is an image: $(IMAGES)."
	@echo "Variables: REGISTRY=$(REGISTRY) TAG=$(TAG) PLATFORM=$(PLATFORM) BASE_IMAGE=$(BASE_IMAGE)"
	@echo "  and, for some targets: $(filter-out REGISTRY TAG PLATFORM BASE_IMAGE,$(VARIABLES))"

.PHONY: demo
demo: demo/image-classification ## train on drawn pets, serve, predict over HTTP: no Docker, no AWS, no download of data (5 min)

# What trains needs its stack's environment.
$(foreach name,$(TRAINING),$(eval demo/$(name) train/$(name): $(call stamp,$(ENV_$(name)))))

demo/%: FORCE $(SERVE) $(DEV) ## the demo of one image; DATA=DIR takes a real data set, EPOCHS=N
	@$(call PY,dev) -m local demo $* $(with_data) $(if $(EPOCHS),--epochs $(EPOCHS))

# Two at a time: most tests wait, for a framework to be imported or for an SDK's own pauses. The longest come first.
# Threads of one that wait for each other must not spin while the other could compute.
PYTEST = OMP_WAIT_POLICY=PASSIVE $(call PY,dev) -m tests -n 2 --no-loadscope-reorder

.PHONY: test
test: $(MXNET) $(TENSORFLOW) $(SERVE) $(DEV) $(TESTS) $(SDK2) images-for-tests ## every test (31 min; container tests need Docker)
	@$(PYTEST) $(addprefix tests/,local_mode images framework unit)

.PHONY: test/unit
test/unit: $(DEV) $(TESTS) ## no framework, no Docker (1 min)
	@$(PYTEST) tests/unit

.PHONY: test/framework
test/framework: $(MXNET) $(TENSORFLOW) $(SERVE) $(DEV) $(TESTS) ## with MXNet, TensorFlow and ONNX Runtime, no Docker (9 min)
	@$(PYTEST) tests/framework

.PHONY: test/images
test/images: $(DEV) $(TESTS) images-for-tests ## real containers (8 min, images built)
	@$(PYTEST) tests/images

.PHONY: test/local-mode
test/local-mode: $(DEV) $(TESTS) $(SDK2) images-for-tests ## SageMaker local mode with SDK v2 and v3 (12 min, images built)
	@$(PYTEST) tests/local_mode

.PHONY: soak/serving
soak/serving: $(MXNET) $(SERVE) $(DEV) ## 20,000 seeded hostile requests to servers of every task (2 min); FUZZ_SEED=N
	@FUZZ_REQUESTS=5000 FUZZ_SEED=$(FUZZ_SEED) $(PYTEST) tests/framework/test_serving_fuzz.py

.PHONY: images-for-tests
images-for-tests:
	@if docker info >/dev/null 2>&1; then $(MAKE) build; \
	else echo "No Docker engine answers: container tests will be skipped."; fi

# DL3008: Debian drops old versions from its mirrors, so a pin would break the build. DL3003: a `cd` that ends with its
# RUN leaves the image's working directory alone.
HADOLINT := --ignore DL3008 --ignore DL3003

.PHONY: lint
lint: $(DEV) ## style, types and common mistakes; changes nothing (seconds)
	@$(call PY,dev) -m ruff check .
	@$(call PY,dev) -m ruff format --check .
	@$(call PY,dev) -m mypy
	@.venvs/dev/bin/shellcheck .ci/run .ci/machine containers/bin/*
	@.venvs/dev/bin/hadolint $(HADOLINT) $(sort $(foreach name,$(IMAGES),$(DOCKERFILE_$(name))))

.PHONY: fmt
fmt: $(DEV) ## what lint asks for, done (seconds)
	@$(call PY,dev) -m ruff check --fix .
	@$(call PY,dev) -m ruff format .

.PHONY: build
build: $(addprefix build/,$(IMAGES)) ## every image (3 min; seconds after a change of our code)

# Labels say which commit an image holds. The commit's date, not the clock's: the same tree gives the same image.
REVISION = $(shell git rev-parse HEAD 2>/dev/null)$(if $(shell git status --porcelain 2>/dev/null),-dirty)
CREATED = $(shell git show -s --format=%cI HEAD 2>/dev/null)
SOURCE ?= $(filter https://%,$(shell git remote get-url origin 2>/dev/null))
VERSION = $(shell sed -nE 's/^__version__ = "(.*)"/\1/p' serve/__init__.py)
DOCKERFILE_image-classification := containers/mxnet/Dockerfile
DOCKERFILE_object-detection := containers/mxnet/Dockerfile
DOCKERFILE_semantic-segmentation := containers/mxnet/Dockerfile
DOCKERFILE_image-classification-tensorflow := containers/tensorflow/Dockerfile
DOCKERFILE_inference := containers/inference/Dockerfile

# Docker media types and no attestations: SageMaker refuses OCI manifests and image indexes.
build/%: FORCE ## one image; PRETRAINED=DIR bakes weights into /opt/pretrained
	@echo "==> building $(call reference,$*) (2 min without a cache, seconds with)"; \
	build() { docker buildx build . --file $(DOCKERFILE_$*) --target $* --platform $(PLATFORM) \
	  --provenance=false --sbom=false --output type=image,name=$(call reference,$*),oci-mediatypes=false \
	  --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg INFERENCE_IMAGE=$(call reference,inference) \
	  --build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) --build-arg VERSION=$(VERSION) \
	  --build-arg SOURCE=$(SOURCE) $(if $(PRETRAINED),--build-context pretrained=$(call quoted,$(PRETRAINED))) "$$@"; }; \
	if [[ -t 2 ]]; then build; else \
	  log=$$(mktemp); trap 'rm -f "$$log"' EXIT; build --progress=plain >"$$log" 2>&1 || { cat "$$log" >&2; exit 1; }; fi; \
	echo "==> $(call reference,$*) is built in $$SECONDS s$$($(call size,$(call reference,$*)))"

# A builder of its own keeps its images to itself: then there is no size to tell.
size = docker image inspect --format '{{.Size}}' $1 2>/dev/null | awk '$$1 > 0 { printf ", %.0f MB", $$1 / 1e6 }'

# Serving's environment is made once, in inference, and copied from there.
$(addprefix build/,$(TRAINING)): build/inference

# `make -j build push`: what is not built yet cannot be pushed.
push: | $(filter build build/%,$(MAKECMDGOALS))

.PHONY: push
push: $(DEV) ## every image, to REGISTRY; in ECR it logs in and makes repositories; prints the URIs to paste
	@$(call PY,dev) -m local push $(IMAGES) --registry '$(REGISTRY)' --tag '$(TAG)'

push/%: FORCE $(DEV) | $(filter build build/%,$(MAKECMDGOALS)) ## one image, to REGISTRY=HOST/PATH
	@$(call PY,dev) -m local push $* --registry '$(REGISTRY)' --tag '$(TAG)'

.PHONY: sbom
sbom: $(DEV) | $(filter build,$(MAKECMDGOALS)) ## what is in the built images, Python and Debian packages: sbom/NAME.cdx.json
	@REGISTRY='$(REGISTRY)' TAG='$(TAG)' $(call PY,dev) -m local sbom $(IMAGES)

.PHONY: data
data: $(DEV) ## download the Oxford-IIIT Pet data set (800 MB)
	@$(call PY,dev) -m local data

train/%: FORCE $(SERVE) ## the image's train program without Docker, on BASE_DIR=DIR shaped like /opt/ml
	@VISION_ALGORITHM=$* SAGEMAKER_BASE_DIR=$(call quoted,$(call folder,$(BASE_DIR))) $(call PY,$(ENV_$*)) -m train

.PHONY: serve
serve: $(SERVE) ## the image's serve program without Docker, on BASE_DIR=DIR, at PORT=N (8080)
	@SAGEMAKER_BASE_DIR=$(call quoted,$(call folder,$(BASE_DIR))) SAGEMAKER_BIND_TO_PORT='$(PORT)' exec $(call PY,serve) -m serve

local/%: FORCE $(DEV) build/% build/inference ## train, deploy and predict in SageMaker local mode; DATA=DIR, EPOCHS=N, PORT=N
	@$(call PY,dev) -m local local-mode $* --image $(call reference,$*) --port $(PORT) $(with_data) $(if $(EPOCHS),--epochs $(EPOCHS))

.PHONY: bench
bench: $(MXNET) $(TENSORFLOW) $(SERVE) $(DEV) ## side-by-side measurements, by hand on a quiet machine
	@$(call PY,dev) -m benchmarks $(with_data)

.PHONY: envs
envs: $(MXNET) $(TENSORFLOW) $(SERVE) $(DEV) $(SDK2) $(TESTS) ## every environment under .venvs (2 min, seconds when uv has the packages)

.PHONY: machine
machine:
	@.ci/machine >/dev/null

# uv makes the others. It comes from its own lock file through pip, so no uv has to be on the machine.
$(UV_STAMP): | machine
	@echo "==> $(@D) (15 s)"
	@rm -rf $(@D); "$$(.ci/machine)" -m venv $(@D); \
	$(@D)/bin/python -m pip install --quiet --require-hashes -r $(LOCK_uv); \
	touch $@; echo "==> $(@D) is ready in $$SECONDS s"

# Wheels only, but for sagemaker-training and its inotify-simple: source distributions, built with the one setuptools
# that is locked.
TOOLKIT := --no-binary sagemaker-training,inotify-simple --build-constraints containers/build-constraints.txt
SYNC_mxnet := $(TOOLKIT)
SYNC_tensorflow := $(TOOLKIT)
TIME_mxnet := 1 min
TIME_tensorflow := 1 min
TIME_serve := 15 s
TIME_dev := 1 min
TIME_sdk2 := 1 min
$(MXNET) $(TENSORFLOW) $(SERVE) $(DEV) $(SDK2): | machine $(UV_STAMP)
	@echo "==> $(@D) ($(TIME_$(notdir $(@D))) when every package is downloaded, seconds from uv's cache)"
	@$(UV) venv --quiet --clear --python "$$(.ci/machine)" $(@D); \
	$(UV) pip sync --quiet --require-hashes --only-binary :all: $(SYNC_$(notdir $(@D))) \
	  --python $(@D)/bin/python $(LOCK_$(notdir $(@D))); \
	touch $@; echo "==> $(@D) is ready in $$SECONDS s"

# Packages only: tests/__main__.py puts them behind those of the environment that it runs in.
$(TESTS): | machine $(UV_STAMP)
	@echo "==> $(@D) (15 s)"
	@rm -rf $(@D); $(UV) pip install --quiet --require-hashes --only-binary :all: --no-deps \
	  --python "$$(.ci/machine)" --target $(@D) -r $(LOCK_tests); \
	touch $@; echo "==> $(@D) is ready in $$SECONDS s"

# Lock files name no index, so every one of them works with a mirror.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet --python-version 3.11 \
  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url $(LOCKFLAGS)
.PHONY: lock
lock: $(UV_STAMP) ## lock files from the .in files; LOCKFLAGS=--upgrade moves to the newest versions (seconds)
	$(COMPILE) containers/uv.in -o $(LOCK_uv)
	$(COMPILE) containers/build-constraints.in -o containers/build-constraints.txt
	$(COMPILE) containers/mxnet/requirements.in -o $(LOCK_mxnet) --overrides containers/mxnet/overrides.txt
	$(COMPILE) containers/tensorflow/requirements.in -o $(LOCK_tensorflow) \
	  --overrides containers/tensorflow/overrides.txt
	$(COMPILE) containers/inference/requirements.in -o $(LOCK_serve)
	$(COMPILE) local/requirements/dev.in -o $(LOCK_dev)
	$(COMPILE) local/requirements/sdk2.in -o $(LOCK_sdk2)
	$(COMPILE) local/requirements/tests.in -o $(LOCK_tests) \
	  $(foreach name,mxnet tensorflow serve dev,--constraints $(LOCK_$(name)))

.PHONY: clean
clean: ## remove environments, sbom/ and caches; not images, and not what was trained
	@rm -rf .venvs sbom .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean/models
clean/models: ## remove .demo/ and .local/: what demos and local mode have trained, and their data
	@rm -rf .demo .local
