#!/bin/sh
# Make .venv and install everything into it that the course and its tests need; `make install` calls this.
#   PYTHON=python3.12     another Python (3.10 to 3.13)
#   PIP_ARGS="..."        more arguments for pip; on Linux without a GPU, the small CPU build of PyTorch:
#                         PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
set -e
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || {
    echo "install: Python 3.10 to 3.13 is needed, and $PYTHON is $("$PYTHON" --version 2>&1): try PYTHON=python3.12 $0" >&2
    exit 1
}
"$PYTHON" -m venv .venv || {
    echo "install: $PYTHON could not make .venv (on Debian and Ubuntu: apt install python3-venv)" >&2
    exit 1
}
echo "Installing into .venv, which takes a few minutes the first time ..."
.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check $PIP_ARGS --editable '.[dev,games,train,play,export,serve,demo,video]'
touch .venv/.installed
echo "Installed. Next: 'make demo' trains and shows, 'make lab' opens the course; 'source .venv/bin/activate' brings the command lwm."
