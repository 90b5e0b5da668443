#!/bin/sh
# The console's tests drive a real browser. Says which, and installs one where that needs no question. The shell is
# Chromium without a desktop's windows: a page costs it a third of the time. CI has it installed beside another one.
set -eu
SHELL_ALONE=chromium-headless-shell
OTHERS="chromium chromium-browser google-chrome google-chrome-stable"

find_one() {
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then
            echo "agentmemo: the console's tests use $name"
            exit 0
        fi
    done
}

install_one() {
    log=$(mktemp)
    if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$1"; } \
        >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        find_one "$1"
    fi
    tail -n 5 "$log"
    rm -f "$log"
}

find_one "$SHELL_ALONE"
[ "${CI:-}" = true ] || find_one $OTHERS
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "agentmemo: installing $SHELL_ALONE with apt-get for the console's tests"
    install_one "$SHELL_ALONE"
    find_one $OTHERS
    install_one chromium
fi
find_one $OTHERS
echo "agentmemo: no Chromium; the console's browser tests will be skipped"
