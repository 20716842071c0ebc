#!/bin/sh
# Makes .venv on any machine that has a Python from 3.9 on; whatever it brings is put into .uv and .venv.
#
# 1. It looks for Python 3.11 or 3.12: the one that PYTHON names or, without that, the first on the PATH that works.
# 2. pip installs the package installer uv; where the machine has no pip, pip is fetched, too.
# 3. Where no Python 3.11 or 3.12 was found, uv brings one of its own.
# 4. uv installs the locked packages.
#
# A failure of the first three is one line that says what to do, and exit code 2; in the fourth uv says what is wrong.
set -eu
cd "$(dirname "$0")/.."
UV=.uv/bin/uv
UV_VERSION=0.13.9
NAME_IT="name one with: make PYTHON=/path/to/python3.12 up"
pip_wheel=

say() {
  echo "olo: $*"
}

fail() {
  say "$*" >&2
  exit 2
}

# first LOWEST HIGHEST NAME...: the first of the names that is a CPython 3 with a minor version in that range.
# Each one has to run: a shim of pyenv stands on the PATH even where the version that it promises is not installed.
first() {
  check="import sys; sys.exit(sys.implementation.name != 'cpython' or not (3, $1) <= sys.version_info[:2] <= (3, $2))"
  shift 2
  for name in "$@"; do
    if "$name" -c "$check" >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Runs a command without showing what it prints; when the command fails, the last line is kept as the reason.
quietly() {
  if printed=$("$@" 2>&1); then return; fi
  reason=$(echo "$printed" | sed -n '$s/^ *//p')
  return 1
}

make_environment_for_uv() {
  if quietly "$any" -m venv --clear .uv; then return; fi
  # Debian and Ubuntu ship `venv` without the pip that it installs; that is in their package python3-venv.
  quietly "$any" -m venv --clear --without-pip .uv && quietly .uv/bin/python infra/pip_wheel.py .uv && pip_wheel=$printed
}

install_uv() {
  make_environment_for_uv &&
    quietly env PYTHONPATH="$pip_wheel" .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
}

if [ -n "${PYTHON:-}" ]; then
  python=$(first 11 12 "$PYTHON") || {
    version=$("$PYTHON" -c 'import sys; print(sys.version.split()[0])' 2>/dev/null) || version="no Python that runs"
    fail "Python 3.11 or 3.12 is needed, and PYTHON=$PYTHON is $version; leave PYTHON out, or $NAME_IT"
  }
else
  python=$(first 11 12 python3.12 python3.11 python3 python) || python=
fi
any=${python:-$(first 9 99 python3 python3.14 python3.13 python3.10 python3.9 python)} ||
  fail "there is no Python from 3.9 on here; install Python 3.12, or $NAME_IT"

case "$($UV --version 2>/dev/null)" in
  "uv $UV_VERSION" | "uv $UV_VERSION "*) ;;
  *)
    say "fetching the package installer uv $UV_VERSION ..."
    install_uv || fail "the package installer uv could not be fetched ($reason); look at the network, then try again"
    ;;
esac

if [ -z "$python" ]; then
  say "there is no Python 3.11 or 3.12 here; fetching one (once; some 30 MB) ..."
  export UV_PYTHON_INSTALL_DIR="$PWD/.uv/python"
  quietly $UV python install --no-bin '>=3.11,<3.13' ||
    fail "there is no Python 3.11 or 3.12 here, and none could be fetched ($reason); install Python 3.12, or $NAME_IT"
  python=$($UV python find --managed-python '>=3.11,<3.13')
fi

say "installing the locked packages (once; about half a minute) ..."
UV_PROJECT_ENVIRONMENT=.venv $UV sync --frozen --quiet --python "$python"
