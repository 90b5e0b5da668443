#!/bin/sh
# Some tests speak to PostgreSQL through a pooler. Says which, and installs one where that needs no question.
set -eu
PATH=$PATH:/usr/sbin
if command -v pgbouncer >/dev/null 2>&1; then
    echo "agentmemo: the tests behind a pooler use $(command -v pgbouncer)"
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "agentmemo: no PgBouncer found; installing it with apt-get for the tests behind a pooler"
    log=$(mktemp)
    if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends pgbouncer; } \
        >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        # The package starts a service of its own, where services run; the tests start theirs.
        if command -v systemctl >/dev/null 2>&1; then systemctl disable --now pgbouncer >/dev/null 2>&1 || true; fi
        exit 0
    fi
    tail -n 5 "$log"
    rm -f "$log"
fi
echo "agentmemo: no PgBouncer; the tests behind a pooler are left out"
