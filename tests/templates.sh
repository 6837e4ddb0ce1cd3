#!/usr/bin/env bash
# Tests of what is deployed: manifests, addons, patches and CloudFormation templates, without AWS.
# `./copilotw.sh test` runs them, and so may you.
#
# Needs python3 with venv; and Go, with which Copilot's own code is asked as well. Without Go that
# part is left out, and said; with CI set it is an error.
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly root
readonly venv=$root/.venv wanted=$root/tests/templates/requirements.txt
readonly stamp=$venv/.templates

if ! cmp -s "$wanted" "$stamp"; then
    printf 'Installing what tests/templates/requirements.txt names into .venv.\n' >&2
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$stamp"
fi

cd "$root/tests/templates"
exec "$venv/bin/python" -B -m unittest --quiet "$@"
