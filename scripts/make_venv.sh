#!/bin/sh
# Makes the virtual environment $1 with the first Python >= 3.11 that can make one; what else is said is for `venv`.
set -eu
venv=$1
shift
# What was broken off is made anew: `activate` comes last.
[ -x "$venv/bin/python" ] && [ -e "$venv/bin/activate" ] && exit 0

bare=
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
    if ! "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        bare=$name
        continue
    fi
    echo "agentmemo: making $venv with $("$name" --version)"
    "$name" -m venv --clear "$@" "$venv"
    exit 0
done

if [ -n "$bare" ]; then
    echo "agentmemo: $bare is new enough but cannot make virtual environments." >&2
    echo "Install its venv package (Debian, Ubuntu: apt install python3-venv) and run this again." >&2
else
    echo "agentmemo: no Python 3.11 or newer was found." >&2
    echo "Install one and run this again, or name it: PYTHON=/path/to/python3.12 make up" >&2
fi
exit 1
