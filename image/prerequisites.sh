#!/usr/bin/env bash
# Checks the two things that this project doesn't install itself.
set -euo pipefail
missing() { printf 'This needs %s.\n%s\n' "$1" "$2" >&2; exit 1; }
command -v cargo >/dev/null || missing "cargo (Rust >= 1.95)" "Install Rust with rustup, then run the command again."
command -v go >/dev/null || missing "Go >= 1.26" "Install Go 1.26 or later and put its bin folder on PATH, then run the command again."
version=$(go env GOVERSION); version=${version#go}
IFS=. read -r major minor _ <<<"$version"
[ "$major" -gt 1 ] || [ "${minor%%[!0-9]*}" -ge 26 ] || missing "Go >= 1.26, but 'go' here is $version" "Install a later Go, then run the command again."
