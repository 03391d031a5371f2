# shellcheck shell=bash
# Shared by all run scripts, which source it and then call `set_up`:
#
#   source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
#   set_up
#
# ROOT is then the repository, PYTHON the interpreter, and `ofa-mi`, `fairseq-train`, `pytest` and `ruff` are its own.
# Nothing here changes the working directory.
#
# Environment:
#   OFA_MI_PYTHON  an interpreter whose environment has the dependencies already; without it they are installed into
#                  ROOT/.venv, at the versions of requirements-lock.txt
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

say() { printf '[ofa-mi] %s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# quoted WORD…: the words as a line that can be pasted into a shell.
quoted() {
  local word words=()
  for word in "$@"; do
    if [[ "$word" =~ ^[A-Za-z0-9_./:=,+@%-]+$ ]]; then words+=("$word"); else words+=("'${word//\'/\'\\\'\'}'"); fi
  done
  printf '%s\n' "${words[*]}"
}

# The faster precision of this machine's processor.
cpu_precision() { if grep -qsE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then echo bf16; else echo fp32; fi; }

# set_up [EXTRA…]: make PYTHON ready, the environment of OFA_MI_PYTHON as it is, or ROOT/.venv. The former must have these
# optional dependencies of pyproject.toml, too. Safe to repeat and to interrupt.
set_up() {
  if [[ -n "${OFA_MI_PYTHON:-}" ]]; then
    choose_python
    use_existing "$@"
  else
    PYTHON="$VENV/bin/python"
    make_venv
  fi
  PATH="$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH"
  export PATH
  # fairseq causes these notices before it imports ofa_mi, which silences them everywhere else.
  local notice
  for notice in torch.jit.script 'torch.cuda.amp.custom_fwd(args...)' 'torch.cuda.amp.custom_bwd(args...)'; do
    export PYTHONWARNINGS="ignore:\`$notice\` is deprecated:FutureWarning${PYTHONWARNINGS:+,$PYTHONWARNINGS}"
  done
}

# Let PYTHON be an interpreter for what needs nothing but its own library: that of the environment, if there is one already.
choose_python() {
  if [[ -n "${OFA_MI_PYTHON:-}" ]]; then
    PYTHON="$(command -v "$OFA_MI_PYTHON")" || die "OFA_MI_PYTHON: $OFA_MI_PYTHON is not an executable"
    [[ "$PYTHON" == /* ]] || PYTHON="$PWD/$PYTHON" # scripts change the directory later
    supported "$PYTHON" || die "OFA_MI_PYTHON: $PYTHON is not Python 3.11 or 3.12"
  else
    PYTHON="$VENV/bin/python"
    supported "$PYTHON" || PYTHON="$(find_python sys)"
  fi
}

supported() { "$1" -IS -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2> /dev/null; }

# find_python MODULES: print a Python that has some modules of its library (Debian's lacks venv without python3-venv).
find_python() {
  local candidate
  for candidate in python3 python3.12 python3.11 python; do
    if supported "$candidate" && "$candidate" -c "import $1" 2> /dev/null; then
      printf '%s' "$candidate"
      return
    fi
  done
  die "found no Python 3.11 or 3.12 with venv on the PATH; install one (on Debian also python3-venv) or set" \
    "OFA_MI_PYTHON to the interpreter of an environment that has the dependencies"
}

# The stamp is written last, so that an interrupted or outdated installation is done again.
make_venv() {
  local stamp="$VENV/ofa-mi-installed" wanted base
  wanted="$(cat "$ROOT/setup.py" "$ROOT/pyproject.toml" "$ROOT/requirements-lock.txt" | cksum) $ROOT"
  if [[ -f "$stamp" && "$(< "$stamp")" == "$wanted" ]]; then
    return
  fi
  if ! { supported "$PYTHON" && "$PYTHON" -m pip --version &> /dev/null; }; then
    base="$(find_python ensurepip,venv)"
    say "making $VENV with $("$base" --version)"
    "$base" -m venv --clear "$VENV"
  fi
  say "installing the dependencies of requirements-lock.txt (the first time several GB, mostly PyTorch)"
  install -r "$ROOT/requirements-lock.txt"
  install_package
  printf '%s\n' "$wanted" > "$stamp.new"
  mv "$stamp.new" "$stamp"
  say "installation complete"
}

# use_existing EXTRA…: check the environment of OFA_MI_PYTHON; install nothing into it but this package, when it is not there.
use_existing() {
  local missing location
  missing="$("$PYTHON" -P - "$ROOT/pyproject.toml" examples "$@" << 'END'
import re, sys, tomllib
from importlib.metadata import PackageNotFoundError, distribution

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = [name for extra in sys.argv[2:] for name in project["optional-dependencies"][extra]]
for requirement in [*project["dependencies"], *extras]:
    try:
        ";" in requirement or distribution(re.match(r"[\w.-]+", requirement)[0])  # ";": of some platforms only
    except PackageNotFoundError as error:
        print(error.name)
END
  )"
  missing="${missing//$'\n'/ }"
  [[ -z "$missing" ]] || die "$PYTHON cannot import: $missing." \
    "Install them with: $PYTHON -m pip install '${ROOT}[dev,examples]'"
  location="$("$PYTHON" -P -c 'import importlib.util as u; s = u.find_spec("ofa_mi"); print(s.origin if s else "")')"
  if [[ -z "$location" ]]; then
    say "installing ofa-mi (without dependencies) for $PYTHON"
    install_package
  elif [[ "$location" != "$ROOT/ofa_mi/__init__.py" ]]; then
    say "$PYTHON has ofa_mi of ${location%/ofa_mi/__init__.py}; using that of $ROOT instead"
    export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
  fi
}

# pip with one line per package that it fetches.
install() {
  "$PYTHON" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@" |
    sed -u -n -E 's/^Collecting ([^ ]+).*/  \1/p; s/^(Installing collected packages).*/  \1 .../p' >&2
}

# With the set-up tools of the environment, which can be those of the lock, unless they are too old for pyproject.toml.
install_package() {
  local options=()
  if "$PYTHON" -P - 2> /dev/null << 'END'; then
from importlib.metadata import version

assert int(version("setuptools").split(".")[0]) >= 77
END
    options=(--no-build-isolation)
  fi
  PYTHONWARNINGS="ignore:Editable installation" install --no-deps "${options[@]}" --editable "$ROOT"
}
