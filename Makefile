# make demo    install, then train on the built-in game and show what came of it
# make test    install, then run every notebook and every test
# make lab     the course in JupyterLab
# make docs    the site, in _docs/
# Another Python: make demo PYTHON=python3.12    More for pip: make demo PIP_ARGS="--extra-index-url URL"
# A better game takes longer, as lwm quickstart does: make demo ARGS="--minutes 8"
PYTHON ?= python3
PIP_ARGS ?=
ARGS ?= --minutes 3
BIN := $(CURDIR)/.venv/bin
export PYTHON PIP_ARGS
export PATH := $(BIN):$(PATH)

.PHONY: help install demo test docs lab notebooks readme clean
help:
	@sed -n '/^#/!q; s/^# //p' Makefile

install: .venv/.installed

.venv/.installed: settings.ini setup.py
	./install.sh

demo: install
	lwm quickstart $(ARGS)

# one process per core runs the notebooks and most tests, so that each keeps to one thread; a browser gets the machine to itself
BROWSER := $(patsubst %,tests/test_%.py,demo play_page serve widgets)
test: install
	OMP_NUM_THREADS=1 nbdev_test --timing
	OMP_NUM_THREADS=1 python -m pytest -q -n logical --dist loadfile tests $(BROWSER:%=--ignore=%)
	python -m pytest -q $(BROWSER)

docs: install
	python tools/docs.py

lab: install
	cd nbs && jupyter lab index.ipynb

# NB="04_game 05_data" for some of them; SLOW=1 runs the cells marked #| slow too
notebooks: install
	nbdev_export
	python tools/notebooks.py $(NB)
	python tools/readme.py

readme: install
	python tools/readme.py

clean:
	rm -rf _docs _proc build dist *.egg-info .pytest_cache
	find lightweight_world_model nbs tests tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
