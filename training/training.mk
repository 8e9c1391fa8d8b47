# Targets of the model: `make model`, `model-eval`, `convert`, `test-training`.
DATA ?= ../shared/data
SECOND ?= ../shared/weights/e5-small-enpt
TRAINING_VENV ?= .venv-training
TRAINING_PYTHON = $(TRAINING_VENV)/bin/python
TRAINING_STAMP = $(TRAINING_VENV)/.installed

$(TRAINING_STAMP): training/requirements.txt
	python3 -m venv $(TRAINING_VENV)
	$(TRAINING_PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: model model-eval convert test-training fetch-data
model: $(TRAINING_STAMP) ## Rebuild model/ and the golden scores from data (90 minutes on two cores; resumes)
	$(TRAINING_PYTHON) training/make.py --data $(DATA) --second $(SECOND)

model-eval: $(TRAINING_STAMP) ## Print the model card's figures from the shipped files; MODEL=model/small of the other
	$(TRAINING_PYTHON) training/evaluate.py --data $(DATA) $(if $(MODEL),--model $(MODEL) --against model)

convert: $(TRAINING_STAMP) ## Convert a Hugging Face classifier: make convert MODEL=DIR TO=DIR [LABELS=...]
	@test -n "$(MODEL)" || { echo "usage: make convert MODEL=DIR TO=DIR [LABELS=negative,...] [NORMALISATION=tweet-eval]" >&2; exit 2; }
	$(TRAINING_PYTHON) training/convert.py $(MODEL) --to $(or $(TO),$(MODEL)-embedded) $(if $(LABELS),--labels $(LABELS)) $(if $(NORMALISATION),--normalisation $(NORMALISATION))

fetch-data: $(TRAINING_STAMP) ## Fetch the public training data into $(DATA)
	$(TRAINING_PYTHON) training/fetch.py --to $(DATA)

test-training: $(TRAINING_STAMP) ## Test the training code and run the whole pipeline tiny
	$(TRAINING_PYTHON) -m unittest discover --start-directory training/tests --top-level-directory training
