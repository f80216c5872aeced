# Everything a person or a CI types here. `make` alone lists it. Each target starts from nothing: tools/setup_env.py makes
# the environment, installs what the target needs, and does nothing in a moment when that is already there.

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that runs and is new enough. A name alone proves nothing: a version manager's shim may be there and fail.
FIND_PYTHON = for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; done; \
	if [ -z "$$python" ]; then echo "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
# vLLM tests share one worker and come first (tests/conftest.py): two engines at once would starve each other.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

# One target bench-NAME each.
BENCHMARKS := alignment arithmetic classic compare compare-page judge judge-bias label-draws labels ppo \
	ppo-ablation prefix principles reward-hh rl-optimum rollouts run statistics store tournaments train watch

.DEFAULT_GOAL := help
.PHONY: help setup setup-run quickstart test test-full test-fast check fmt bench $(BENCHMARKS:%=bench-%) tiny-models docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## make the environment with everything for running, training, testing
	@$(FIND_PYTHON); $$python tools/setup_env.py --venv $(VENV) dev

setup-run:
	@$(FIND_PYTHON); $$python tools/setup_env.py --venv $(VENV) run

quickstart: setup-run ## from nothing to preference pairs, a reward model and a DPO policy, with the bundled tiny models
	@$(BIN)/rlaif generate --config quickstart.yaml --examples 3
	@$(BIN)/rlaif train reward --config quickstart-reward.yaml --anew
	@$(BIN)/rlaif train dpo --config quickstart-dpo.yaml --anew
	@$(BIN)/rlaif tiny shares outputs/models/quickstart-dpo
	@echo; echo "The command lives in the environment just made: source $(VENV)/bin/activate"

test: setup ## all tests that need no GPU, with real vLLM
	$(PYTEST) -m "not gpu"

test-full: setup ## the same, with every kill, edit and seed as often as docs/log.md reports (hours)
	RLAIF_FULL=1 $(PYTEST) -m "not gpu"

test-fast: setup ## tests of a moment: no vLLM, nothing slow
	$(PYTEST) -m "not vllm and not slow and not gpu"

check: setup ## format, lint, types, architecture, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not vllm and not slow and not gpu"

fmt: setup ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BENCHMARKS:%=bench-%) ## every benchmark, one after the other

bench-arithmetic: setup ## GRPO teaches a tiny model to add, told only right or wrong (three seeds, ten minutes each)
	$(BIN)/python -m benchmarks.arithmetic outputs/arithmetic --figure outputs/arithmetic/curve.svg

bench-classic: setup ## judge, pairs, reward model, PPO: what rises, and what a run without KL does (a quarter of an hour; QUICK=1: minutes)
	$(BIN)/python -m benchmarks.classic outputs/classic $(if $(QUICK),--quick)

bench-watch: setup ## how often the watch over a training is wrong, over simulated runs
	$(BIN)/python -m benchmarks.watch_rates

bench-judge: setup ## labels per second beside distilabel and alpaca_eval, and what we add to bare vLLM
	$(BIN)/python -m benchmarks.judge

bench-prefix: setup ## prompt tokens computed over those of the requests' prefix tree
	$(BIN)/python -m benchmarks.prefix_tokens

bench-run: setup ## what plan and generate cost, models aside, at 100 thousand, 1 million and 10 million judgments
	$(BIN)/python -m benchmarks.run_scale

bench-statistics: setup ## everything a comparison computes, on 1,000 and 100,000 labelled pairs
	$(BIN)/python -m benchmarks.label_statistics

bench-store: setup ## what the store costs at 100 thousand, 1 million and 10 million judgments
	$(BIN)/python -m benchmarks.store_scale

bench-compare: setup ## `rlaif compare` from label files to the report, at 1,000 and 100,000 pairs
	$(BIN)/python -m benchmarks.compare

bench-labels: setup ## reading, counting and aligning a million labelled pairs
	$(BIN)/python -m benchmarks.labels

bench-compare-page: setup ## milliseconds until a browser has opened the page of `rlaif compare`, and filtered it
	$(BIN)/python -m benchmarks.compare_page

bench-label-draws: setup ## whether figures of drawn pairs are those of all, and whether a labelling plan is enough (simulated)
	$(BIN)/python -m benchmarks.label_draws

bench-tournaments: setup ## how near fewer comparisons of n answers come to all of them, on simulated judges
	$(BIN)/python -m benchmarks.tournaments

bench-train: setup ## our trainers beside TRL's: time, memory, useful work (two hours or more; QUICK=1: minutes; KEEP=file: can be stopped and continued)
	$(BIN)/python -m benchmarks.train $(if $(QUICK),--quick) $(if $(KEEP),--keep $(KEEP))

bench-rollouts: setup ## tokens per second of sampled answers: our loop, vLLM, transformers
	$(BIN)/python -m benchmarks.rollouts

bench-ppo: setup ## our PPO and GRPO beside TRL's: episodes per second, memory, where the time goes
	$(BIN)/python -m benchmarks.ppo

bench-ppo-ablation: setup ## every detail of PPO changed in turn, where the optimum is known (an hour of one core)
	$(BIN)/python -m benchmarks.ppo_ablation

bench-rl-optimum: setup ## PPO, RLOO and GRPO against the exact optimum: three betas, twenty seeds (two hours of one core)
	$(BIN)/python -m benchmarks.rl_optimum --methods ppo rloo --max-new-tokens 2 --share 0.4
	$(BIN)/python -m benchmarks.rl_optimum --methods "grpo as published" --group 256

bench-judge-bias: setup ## how often the judge card's intervals hold planted biases, over 500 simulated judges
	$(BIN)/python -m benchmarks.judge_bias

bench-alignment: setup ## what training on the quickstart's dataset does, and on it with each principle turned (half an hour)
	$(BIN)/python -m benchmarks.alignment outputs/alignment

HH ?= ../shared/data/hh-harmless-dev.jsonl.gz

bench-principles: setup ## how often known weights and a planted harmful principle are found, on simulated people
	$(BIN)/python -m benchmarks.principles

bench-reward-hh: setup ## a small reward model on people's labels, 5-fold, beside TRL's and lengths alone; HH=FILE
	$(BIN)/python -m benchmarks.reward_hh $(HH)

tiny-models: setup ## train the bundled tiny models anew (hours on two cores)
	$(BIN)/python -m rlaif.train.tiny all

docs: setup ## check that what the documents tell people to type exists
	$(BIN)/python -m pytest tests/unit/test_docs.py

clean: ## remove the environment and everything built; outputs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
