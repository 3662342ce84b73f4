#!/usr/bin/env bash
# Build, check and upload a release of resexp.
#
#   scripts/publish.sh --dry-run             build twice, compare, install into a clean environment, smoke tests
#   scripts/publish.sh --dry-run --offline   the same without network: dependencies of the environment at hand
#   scripts/publish.sh                       the same, and what a release needs; then upload with twine
#
# Before a release: raise __version__ in resexp/__init__.py (semantic versioning), give its section of CHANGELOG.md the
# date, set version and date-released in CITATION.cff, commit, `make test`, and tag the commit v$VERSION.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
dist=${DIST:-dist}
dry_run=false
offline=false
for argument in "$@"; do
    case $argument in
        --dry-run) dry_run=true ;;
        --offline) offline=true ;;
        *) echo "publish.sh: no option '$argument'; it has --dry-run and --offline." >&2; exit 2 ;;
    esac
done

refuse() {
    echo "publish.sh: $1" >&2
    exit 2
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' resexp/__init__.py)
[[ $version =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] || refuse "__version__ '$version' is not MAJOR.MINOR.PATCH."
grep -q "^version: $version\$" CITATION.cff || refuse "CITATION.cff has another version than $version; set it there too."
grep -q "^## $version " CHANGELOG.md || refuse "CHANGELOG.md has no section '## $version'; write it."

if ! $dry_run; then
    $offline && refuse "--offline is for --dry-run: a release is tried with the dependencies a user would get."
    [[ -z $(git status --porcelain) ]] || refuse "the working tree has changes; commit them."
    [[ $(git tag --points-at HEAD) == *"v$version"* ]] || refuse "HEAD is not tagged v$version; tag it after 'make test'."
    grep -q "^## $version (unreleased)" CHANGELOG.md && refuse "CHANGELOG.md calls $version unreleased; give it a date."
    grep -q "^date-released: " CITATION.cff || refuse "CITATION.cff has no date-released; add it."
    command -v twine > /dev/null || refuse "twine is not installed: pip install twine."
fi

# The time of the last commit stands in the archives for that of every file, so that anybody's build has the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || echo 1704067200)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # build SOURCE TARGET: wheel and source distribution, each straight from the source
    "$python" - "$1" "$2" << 'BUILD' > /dev/null
import os, sys
from hatchling import build
source, target = map(os.path.abspath, sys.argv[1:])
os.makedirs(target, exist_ok=True)
os.chdir(source)
build.build_sdist(target)
build.build_wheel(target)
BUILD
}

echo "resexp $version, SOURCE_DATE_EPOCH $SOURCE_DATE_EPOCH"
build . "$work/first"
mkdir "$work/source"
tar -xzf "$work/first/resexp-$version.tar.gz" -C "$work/source" --strip-components 1
find "$work/source" -exec touch -d 2001-02-03 {} + # what must not matter
(umask 077 && build "$work/source" "$work/second")
for file in "resexp-$version.tar.gz" "resexp-$version-py3-none-any.whl"; do
    cmp "$work/first/$file" "$work/second/$file" || refuse "$file is not the same when it is built again from the source distribution."
    echo "  ok  $file is built to the same bytes from the checkout and from the source distribution"
done

"$python" -m venv --without-pip "$work/clean"
if $offline; then
    "$python" -m pip --quiet --python "$work/clean/bin/python" install --no-index --no-deps "$work"/first/*.whl
    # Behind what the clean environment holds, and without the .pth files of the environment at hand.
    "$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
        > "$("$work/clean/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dependencies.pth"
else
    "$python" -m pip --quiet --python "$work/clean/bin/python" install "$work"/first/*.whl
fi
bash scripts/smoke.sh "$work/clean/bin"

if command -v twine > /dev/null; then
    twine check --strict "$work"/first/*
fi
mkdir -p "$dist"
cp "$work"/first/* "$dist"
(cd "$dist" && sha256sum "resexp-$version"*)
if $dry_run; then
    echo "Nothing was uploaded (--dry-run)."
else
    twine upload "$dist/resexp-$version.tar.gz" "$dist/resexp-$version-py3-none-any.whl"
fi
