#!/bin/sh
# Installs into the environment $2, with the uv or pip in $1, what the other words tell pip to install. uv takes a
# quarter of the processor time; where it cannot, pip does. Nothing is compiled before it is used, unless --compile is said.
set -eu
tools=$1 python=$2/bin/python
shift 2

# uv reads no settings of pip, which say where this machine's packages come from.
settings=$("$tools/python" -m pip --disable-pip-version-check config list)
like_pip() { # VARIABLE SETTING [SEPARATOR]: an environment's word goes before a file's, and one for uv before both
    for place in :env: install global; do
        value=$(printf '%s\n' "$settings" | sed -n "s/^$place\.$2='\(.*\)'$/\1/p")
        [ -z "$value" ] || break
    done
    value=$(printf '%s' "$value" | sed "s/\\\\n/ /g; s/^ *//; s/  */${3:- }/g")
    [ -z "$value" ] || eval "export $1=\"\${$1:-\$value}\""
}
like_pip UV_DEFAULT_INDEX index-url
like_pip UV_INDEX extra-index-url
like_pip UV_INSECURE_HOST trusted-host
like_pip UV_FIND_LINKS find-links ,
like_pip UV_NO_INDEX no-index
like_pip SSL_CERT_FILE cert
# As pip looks into every index; hashes say which file is meant.
export UV_INDEX_STRATEGY=unsafe-best-match

if [ -x "$tools/uv" ] && "$tools/uv" pip install --quiet --python "$python" "$@"; then
    exit 0
fi
echo "agentmemo: uv could not install this, so pip does"
exec "$tools/python" -m pip --quiet --disable-pip-version-check --python "$python" install --no-compile "$@"
