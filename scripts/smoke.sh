#!/usr/bin/env bash
# What an installed resexp must do, tried from an empty folder: scripts/smoke.sh BIN, the folder its commands are in.
set -euo pipefail
bin=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
unset PYTHONPATH

step() { # step NAME COMMAND...: run it, show what it said if it fails
    local name=$1
    shift
    if ! "$@" > said 2>&1; then
        echo "smoke test failed: $name" >&2
        cat said >&2
        exit 1
    fi
    echo "  ok  $name"
}
says() { # says PATTERN COMMAND...: whether its stdout has the pattern
    local pattern=$1
    shift
    "$@" > out && grep -q -- "$pattern" out
}
or_an_extra() { # or_an_extra COMMAND...: whether it succeeds, or ends with the exit code for a missing extra
    "$@" || [ $? -eq 4 ]
}

step "not the checkout" "$bin/python" -c "
import pathlib, sys, resexp, resexp_cli
for package in (resexp, resexp_cli):
    place = pathlib.Path(package.__file__).resolve()
    assert place.is_relative_to(pathlib.Path(sys.prefix).resolve()) and not place.is_relative_to('$here/resexp'), place"
step "version" says "^resexp, version [0-9]" "$bin/resexp" --version
step "python -m" says "^resexp, version [0-9]" "$bin/python" -m resexp_cli --version
step "list" says "^variance " "$bin/resexp" list
step "show" says "^Source: " "$bin/resexp" show variance
step "run, checked" "$bin/resexp" variance --depth 5 --width 64 --batch 8 --draws 128 --check -q
step "trained nets, on the data inside" says "images" "$bin/python" -c "
from resexp.training.data.digits import load
print('images', load())"
step "a net by name" says "25557032" "$bin/resexp" parameters resnet:50 --format csv
step "init" "$bin/resexp" init
step "batch" "$bin/resexp" run experiments.yaml --only residual -j 1
step "status" says "residual,variance,1,1" "$bin/resexp" status experiments.yaml --format csv
step "export" says "^experiment,\|,experiment," "$bin/resexp" export experiments.yaml
step "report, or the extra it needs" or_an_extra "$bin/resexp" report 'results/variance/*' --page page.html
step "chapter" says "figure-11" "$bin/resexp" chapter --list
step "schema" says '"experiments.yaml"' "$bin/resexp" schema
step "new experiment" "$bin/resexp" new-experiment my-experiment
for shell in bash zsh fish; do
    step "completion for $shell" says "_RESEXP_COMPLETE=${shell}_complete" "$bin/resexp" completion "$shell"
done
step "Python" says "True" "$bin/python" -c "
import resexp
print(len(resexp.load('results/variance')) > 0)"
