#!/usr/bin/env bash
# cargo-deny in the version that the rules are written for, built once into the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
root=${XDG_CACHE_HOME:-$HOME/.cache}/package-registry/bin/cargo-deny-$version
if [ ! -x "$root/bin/cargo-deny" ]; then
  CARGO_TARGET_DIR=$root/build cargo install --quiet --locked --root "$root" "cargo-deny@$version"
  rm -rf "$root/build"
fi
# Not the advisories: their database isn't to be had without a way out; a pipeline with one adds `check advisories`.
"$root/bin/cargo-deny" --log-level error check bans licenses sources
