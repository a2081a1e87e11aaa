# The commands for developers and CI. `make` without a target lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.PHONY: FORCE help demo test images-for-tests lint fmt build push sbom data serve bench envs lock clean

REGISTRY ?= sagemaker-vision
TAG ?= dev
VARIANT ?= cpu
PLATFORM ?= linux/amd64
BASE_IMAGE ?= python:3.11-slim-bookworm
SOURCE ?= $(filter https://%,$(shell git remote get-url origin 2>/dev/null))
VARIABLES := REGISTRY TAG VARIANT PLATFORM BASE_IMAGE DATA LAYOUT EPOCHS QUANTIZE PRETRAINED BASE_DIR PORT INSTANCES SOURCE \
  LOCKFLAGS FUZZ_SEED SOAK_SEED ARGS

# Each line NAME STACK ENVIRONMENT in the list of images adds NAME to IMAGES, and sets ENV_NAME and LOCK_ENVIRONMENT.
IMAGES :=
$(foreach set,$(shell awk '/^[a-z]/ { print "IMAGES+=" $$1, "ENV_" $$1 ":=" $$3, \
  "LOCK_" $$3 ":=containers/" $$2 "/requirements.txt" }' containers/images.txt),$(eval $(set)))
TRAINING := $(filter-out inference,$(IMAGES))

# Each environment is a folder. Its stamp has the hash of its lock file in the name, so the environment is only recreated
# when the lock file changes. `envs` returns the stamps of environments, and PY the Python of one.
ENVIRONMENTS := $(sort $(foreach name,$(IMAGES),$(ENV_$(name)))) dev sdk2
$(foreach name,uv build-constraints,$(eval LOCK_$(name) := containers/$(name).txt))
$(foreach name,dev sdk2 tests,$(eval LOCK_$(name) := local/requirements/$(name).txt))
FRAMEWORKS := $(sort $(foreach name,$(TRAINING),$(ENV_$(name))))
$(foreach name,$(FRAMEWORKS),$(eval LOCK_$(name)-gpu := $(dir $(LOCK_$(name)))gpu/requirements.txt))
stamp = .venvs/$1/.lock-$(firstword $(shell sha256sum $(LOCK_$1)))
$(foreach name,uv tests $(ENVIRONMENTS),$(eval STAMP_$(name) := $(call stamp,$(name))))
envs = $(foreach name,$1,$(STAMP_$(name)))
PY = .venvs/$1/bin/python
UV := UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=120 .venvs/uv/bin/uv
export PYTHONPATH := $(CURDIR)
# Disable ONNX Runtime's telemetry.
export ORT_DISABLE_TELEMETRY := 1

# Folder names may contain any characters, but make's own functions would split them at spaces. `quoted` quotes a text
# for the shell. `folder` returns the absolute path of a folder, or nothing if it does not exist. `option` returns
# --NAME TEXT, or nothing if the text is empty.
quoted = '$(subst ','\'',$1)'
folder = $(shell CDPATH= cd -- $(call quoted,$1) 2>/dev/null && pwd)
option = $(if $2,--$1 $(call quoted,$2))

# Before doing anything, reject goals that cannot succeed, with a one-line error. The programs check their own input.
goals = $(filter $1,$(MAKECMDGOALS))
named = $(foreach verb,demo train local build push,$(addprefix $(verb)/,$1))
$(foreach goal,$(call goals,demo/inference train/inference local/inference),\
  $(error $(goal): inference only serves; use an image that trains: $(TRAINING)))
$(foreach goal,$(filter-out $(call named,$(IMAGES)),$(call goals,$(call named,%))),\
  $(error $(goal): no image is named $(notdir $(goal)); use one of: $(IMAGES)))
ifneq ($(call goals,train/% serve),)
$(if $(BASE_DIR),,\
  $(error BASE_DIR is not set; run: make $(MAKECMDGOALS) BASE_DIR=DIR, a folder shaped like /opt/ml))
$(if $(call folder,$(BASE_DIR)),,\
  $(error BASE_DIR=$(BASE_DIR) is not a folder; use one shaped like /opt/ml (docs/data.md, "A run of your own")))
endif
# Docker would push an image without a host in its name to Docker Hub.
ifneq ($(call goals,push push/%),)
$(if $(filter-out sagemaker-vision,$(REGISTRY)),,\
  $(error REGISTRY is not set; run: make $(MAKECMDGOALS) REGISTRY=ACCOUNT.dkr.ecr.REGION.amazonaws.com))
$(if $(findstring ACCOUNT.,$(REGISTRY))$(findstring .REGION.,$(REGISTRY)),\
  $(error REGISTRY=$(REGISTRY) is a placeholder: replace ACCOUNT with your 12-digit account number and REGION with its \
    region, as in 123456789012.dkr.ecr.us-east-1.amazonaws.com))
endif
$(if $(filter cpu gpu,$(VARIANT)),,$(error VARIANT is $(VARIANT); it must be cpu, or gpu for the images that train with CUDA))
# Warn about misspelled variables, which make would silently ignore.
ifeq ($(MAKELEVEL),0)
meant = $(firstword $(filter $(shell tr a-z A-Z <<< '$1')%,$(VARIABLES)))
$(foreach name,$(filter-out $(VARIABLES),$(.VARIABLES)),$(if $(filter command,$(firstword $(origin $(name)))),\
  $(warning warning: $(name) is not a variable in `make help` and has no effect$(if $(call meant,$(name)),; \
    did you mean $(call meant,$(name))?))))
endif

help: ## list the targets
	@echo "Usage: make TARGET [VARIABLE=VALUE ...]"; echo
	@awk -F ':.*## ' '/^[a-z][a-z0-9%/-]*:.*## / { sub("%", "NAME", $$1); printf "  %-19s %s\n", $$1, $$2 }' Makefile
	@echo; echo "NAME is an image: $(IMAGES)."
	@echo "Variables: REGISTRY=$(REGISTRY) TAG=$(TAG) VARIANT=$(VARIANT) PLATFORM=$(PLATFORM) BASE_IMAGE=$(BASE_IMAGE)"
	@echo "  and, for some targets: $(filter-out REGISTRY TAG VARIANT PLATFORM BASE_IMAGE,$(VARIABLES))"

WORKFLOW = $(call option,data,$(DATA)) $(call option,layout,$(LAYOUT)) $(call option,epochs,$(EPOCHS)) \
  $(call option,quantize,$(QUANTIZE))
demo: demo/image-classification ## train on drawn pets, serve, predict: no Docker, no AWS, no data download (5 min)
demo/%: FORCE $(call envs,serve dev) ## the demo of one image; DATA=DIR uses your photos, EPOCHS=N, QUANTIZE=int8
	@$(call PY,dev) -m local demo $* $(WORKFLOW)
# Targets that train also need the environment of the stack.
$(foreach name,$(TRAINING),$(eval demo/$(name) train/$(name): $(STAMP_$(ENV_$(name)))))

# Tests run in the environment with the name of their folder, or in dev. Two tests run at a time, because most wait for
# an import or a process. The longest ones start first. Waiting threads must not spin, because other tests need the
# cores.
PYTEST = OMP_WAIT_POLICY=PASSIVE $(call PY,$1) -m tests -n 2 --dist loadfile --no-loadscope-reorder
# Runs several targets with a single report. Lanes run in parallel: local mode, which mostly waits, and everything else.
REPORT = $(call PY,dev) -m tests -p tests.everything $(if $(ARGS),--pass=$(call quoted,$(ARGS)))
test: $(call envs,$(ENVIRONMENTS) tests) ## all tests (38 min; container tests need Docker); ARGS=options of pytest
	@$(REPORT) --lane test/local-mode,test/sdk2 \
	  --lane test/unit,test/serve,test/images,test/mxnet,test/tensorflow,test/demo
test/quick: $(call envs,mxnet serve dev tests) ## test/unit and test/serve (2 min); run it before each commit
	@$(REPORT) --lane test/unit,test/serve
test/unit: ## no framework, no Docker (1 min)
test/mxnet: $(call envs,mxnet serve) ## with MXNet, no Docker
test/tensorflow: $(call envs,tensorflow serve) ## with TensorFlow, no Docker
test/serve: $(call envs,serve) ## with ONNX Runtime, no Docker
test/demo: $(call envs,mxnet tensorflow serve) ## the demo of every image, no Docker
test/images: images-for-tests ## with real containers
test/local-mode: images-for-tests ## SageMaker local mode with SDK v3
test/sdk2: $(call envs,sdk2) images-for-tests ## SageMaker's SDK v2: local mode, and simulated cloud calls without Docker
test/%: FORCE $(call envs,dev tests)
	@$(call PYTEST,$(or $(filter $*,$(ENVIRONMENTS)),dev)) tests/$(subst -,_,$*) $(ARGS)
# Run these one at a time, because SDK v2 and v3 create a Docker network with the same name.
test/local-mode test/sdk2: PYTEST += -n 1

soak/serving: FORCE $(call envs,serve tests) ## send 20,000 hostile requests to servers (2 min); FUZZ_SEED=N
	@FUZZ_REQUESTS=5000 $(call PYTEST,serve) tests/serve/test_fuzz.py
soak/training: FORCE $(call envs,mxnet tensorflow serve tests) ## kill jobs repeatedly until they finish (15 min); SOAK_SEED=N
	@SOAK_RUNS=2 timeout 18m env $(call PYTEST,mxnet) tests/mxnet/test_interrupted.py
	@SOAK_RUNS=2 timeout 12m env $(call PYTEST,tensorflow) -k started_again tests/tensorflow/test_interrupted.py
# Products are files that one environment creates for the tests of another. So far, all are created with MXNet.
PRODUCTS := $(patsubst tests/products/%.py,.tests/products/%/.made,$(wildcard tests/products/[a-z]*.py))
CODE := $(wildcard $(foreach folder,train serve,$(folder)/*.py $(folder)/*/*.py) tests/products/*.py)
$(CODE): ; # so that the rule for train/% does not match them
.tests/products/%/.made: $(CODE) $(call envs,mxnet tests)
	@$(call PY,mxnet) -m tests.products $*
test test/quick test/serve soak/serving test/sdk2 test/images: $(PRODUCTS)

images-for-tests:
	@if docker info >/dev/null 2>&1; then $(MAKE) build; \
	else echo "There is no running Docker engine: container tests will be skipped."; fi

# Ignore DL3008 (pin versions), because Debian removes old versions from its mirrors, and DL3003 (use WORKDIR), because a
# `cd` within a RUN does not change the image's working directory.
lint: $(call envs,dev mxnet tensorflow) ## check style, types and common mistakes (1 min the first time)
	@$(call PY,dev) -m ruff check .
	@$(call PY,dev) -m ruff format --check .
	@$(call PY,dev) -m mypy serve local
	@# Check with the types of each framework. NumPy's types in MXNet's environment also require the dtypes of arrays.
	@$(call PY,dev) -m mypy --python-executable $(call PY,mxnet) --cache-dir .mypy_cache/mxnet --follow-imports silent train
	@$(call PY,dev) -m mypy --python-executable $(call PY,tensorflow) --cache-dir .mypy_cache/tensorflow \
	  --follow-imports silent train/keras \
	  $(foreach name,$(TRAINING),$(if $(filter tensorflow,$(ENV_$(name))),train/$(subst -,_,$(name))))
	@.venvs/dev/bin/shellcheck .ci/run .ci/machine containers/bin/*
	@.venvs/dev/bin/hadolint --ignore DL3008 --ignore DL3003 containers/*/Dockerfile
fmt: $(call envs,dev) ## fix style and formatting (seconds)
	@$(call PY,dev) -m ruff check --fix .
	@$(call PY,dev) -m ruff format .

build: $(addprefix build/,$(IMAGES)) ## build all images (3 min; seconds if only our code has changed)
build/%: FORCE ## build one image; PRETRAINED=DIR copies weights to /opt/pretrained
	@python3 -m local build $* --registry '$(REGISTRY)' --tag '$(TAG)' --variant '$(VARIANT)' --platform '$(PLATFORM)' \
	  --base-image '$(BASE_IMAGE)' --source '$(SOURCE)' $(call option,pretrained,$(PRETRAINED))
# The serving environment is built in inference and copied from there.
$(addprefix build/,$(TRAINING)): build/inference

push: $(call envs,dev) ## push all images to REGISTRY and print the URIs; for ECR, log in and create repositories
	@$(call PY,dev) -m local push $(IMAGES) --registry '$(REGISTRY)' --tag '$(TAG)' --variant '$(VARIANT)'
push/%: FORCE $(call envs,dev) | $(call goals,build build/%) ## push one image to REGISTRY=HOST/PATH
	@$(call PY,dev) -m local push $* --registry '$(REGISTRY)' --tag '$(TAG)' --variant '$(VARIANT)'
sbom: $(call envs,dev) ## list the Python and Debian packages in the built images: sbom/NAME.cdx.json
	@REGISTRY='$(REGISTRY)' TAG='$(TAG)' VARIANT='$(VARIANT)' $(call PY,dev) -m local sbom $(IMAGES)
# With `make -j build push`, build before pushing.
push sbom: | $(call goals,build build/%)

BASE = SAGEMAKER_BASE_DIR=$(call quoted,$(call folder,$(BASE_DIR)))
train/%: FORCE $(call envs,serve) ## run an image's train program without Docker, on BASE_DIR=DIR shaped like /opt/ml
	@VISION_ALGORITHM=$* $(BASE) $(call PY,$(ENV_$*)) -m train
serve: $(call envs,serve) ## run the serve program without Docker, on BASE_DIR=DIR, at PORT=N (8080)
	@$(BASE) SAGEMAKER_BIND_TO_PORT=$(call quoted,$(PORT)) exec $(call PY,serve) -m serve

LOCAL_MODE = $(call PY,dev) -m local local-mode $* --image '$(REGISTRY)/$*:$(TAG)$(if $(filter gpu,$(VARIANT)),-gpu)' \
  $(call option,port,$(PORT)) $(call option,instances,$(INSTANCES)) $(WORKFLOW)
local/%: FORCE $(call envs,dev) ## train, deploy and predict in SageMaker local mode; DATA=DIR, EPOCHS=N, PORT=N, INSTANCES=N
	@$(LOCAL_MODE) --check
	@$(MAKE) build/$*
	@$(LOCAL_MODE)

data: $(call envs,dev) ## download the Oxford-IIIT Pet data set (800 MB)
	@$(call PY,dev) -m local data
bench: $(call envs,mxnet tensorflow serve dev) ## run the benchmarks, on an idle machine (40 min)
	@$(call PY,dev) -m benchmarks $(call option,data,$(DATA))

envs: $(call envs,$(ENVIRONMENTS) tests) ## create all environments in .venvs (2 min; seconds from uv's cache)
begin = python=$$(.ci/machine); echo "==> $(@D) ($1)"; rm -rf $(@D)
end = touch $@; echo "==> $(@D) is ready in $$SECONDS s"
# uv creates the other environments. pip installs it from its own lock file, so uv need not be installed on the machine.
$(STAMP_uv):
	@$(call begin,15 s); "$$python" -m venv $(@D); \
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK_uv); $(end)
# Only wheels are installed, except for two source distributions, which are built with a locked version of setuptools.
$(call envs,$(ENVIRONMENTS)): | $(STAMP_uv)
	@$(call begin,up to 1 min; seconds from uv's cache); $(UV) venv --quiet --python "$$python" $(@D); \
	$(UV) pip sync --quiet --require-hashes --only-binary :all: --no-binary sagemaker-training,inotify-simple \
	  --build-constraints $(LOCK_build-constraints) --python $(@D)/bin/python $(LOCK_$(notdir $(@D))); $(end)
# This is only a folder of packages, which tests/__main__.py adds to sys.path after the environment's own packages.
$(STAMP_tests): | $(STAMP_uv)
	@$(call begin,15 s); $(UV) pip install --quiet --require-hashes --only-binary :all: --no-deps \
	  --python "$$python" --target $(@D) -r $(LOCK_tests); $(end)

# Lock files do not name an index, so they work with any mirror. Overrides are in a file next to the .in file.
lock: $(addprefix lock/,uv build-constraints $(ENVIRONMENTS) tests $(FRAMEWORKS:=-gpu)) ## write lock files; LOCKFLAGS=--upgrade
lock/tests: $(addprefix lock/,$(ENVIRONMENTS))
CONSTRAINTS_tests := $(foreach name,mxnet tensorflow serve dev,--constraints $(LOCK_$(name)))
# The GPU images have CUDA in addition to the packages of the CPU images, in the same versions.
$(foreach name,$(FRAMEWORKS),$(eval lock/$(name)-gpu: lock/$(name)) \
  $(eval CONSTRAINTS_$(name)-gpu := --constraints $(LOCK_$(name))))
lock/%: FORCE $(STAMP_uv)
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url $(LOCKFLAGS) $(LOCK_$*:.txt=.in) \
	  -o $(LOCK_$*) $(addprefix --overrides ,$(wildcard $(dir $(LOCK_$*))overrides.txt)) $(CONSTRAINTS_$*)

clean: ## remove environments, sbom/ and caches, but not images or trained models
	@rm -rf .venvs .tests sbom .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
clean/models: FORCE ## remove .demo/ and .local/: models trained by demos and local mode, and their data
	@rm -rf .demo .local
