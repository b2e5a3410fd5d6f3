#!/usr/bin/env bash
# Starts a server on loopback, sends it what its OpenAPI document allows and what it doesn't, and holds the answers against the document.
# Flags are passed on: --max-examples, --seed, --include-path, …
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.32.5
root=${XDG_CACHE_HOME:-$HOME/.cache}/package-registry/schemathesis-$version
if [ ! -x "$root/bin/schemathesis" ]; then
  rm -rf "$root"
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
      echo "Python 3 with venv is missing: install it, or run this as root on Debian." >&2; exit 1
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
  fi
  python3 -m venv "$root"
  "$root/bin/pip" --quiet --disable-pip-version-check install "schemathesis==$version"
fi
cargo build --quiet --bin package-registry-server
server=$(cargo metadata --format-version 1 --no-deps | "$root/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/package-registry-server
free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port=$("$root/bin/python" -c "$free")
admin=$("$root/bin/python" -c "$free")
"$server" --plain-http --listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$admin" --storage memory: --auth none >/dev/null &
trap 'kill $! && wait $! || true' EXIT
for _ in $(seq 100); do curl --noproxy '*' --silent --fail --output /dev/null "http://127.0.0.1:$admin/readyz" && break; sleep 0.1; done
# Not positive_data_acceptance: most of what the schema allows is no package, by rules that no schema can say. Not ignored_auth: this
# server asks nobody who they are; rights have tests of their own.
NO_PROXY='*' "$root/bin/schemathesis" --no-color run "http://127.0.0.1:$port/api/v1/openapi.json" --url "http://127.0.0.1:$port" \
  --exclude-checks positive_data_acceptance,ignored_auth --max-examples 20 --max-time 120 --generation-database none --seed 1 "$@"
