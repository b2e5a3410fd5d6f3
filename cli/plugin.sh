#!/usr/bin/env bash
# Packs the command line as plugin of the `dcos` command: out/dcos-plugin/P/package-registry/0, a package directory in Universe form.
# Programs are named in the environment, LINUX=FILE DARWIN=FILE WINDOWS=FILE, each for x86-64: the `dcos` command knows no other.
# Without LINUX, the one for Linux is built here.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${LINUX:-}" ]; then
  machine=$(uname -s)/$(uname -m)
  target=x86_64-unknown-linux-gnu
  [ "$machine" = Linux/x86_64 ] || { echo "$0: on $machine no program for Linux/x86_64 is built; name one with LINUX=FILE" >&2; exit 1; }
  # Static, so that it runs on any machine; with a target named, the flags don't reach procedural macros, which can't be static.
  RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --target "$target" -p cli --bin dcos-registry
  LINUX=${CARGO_TARGET_DIR:-target}/$target/release/dcos-registry
fi
programs=("linux=$LINUX")
[ -z "${DARWIN:-}" ] || programs+=("darwin=$DARWIN")
[ -z "${WINDOWS:-}" ] || programs+=("windows=$WINDOWS")
rm -rf out/dcos-plugin
cargo run --quiet --bin dcos-plugin -- out/dcos-plugin "${programs[@]}"
echo out/dcos-plugin/P/package-registry/0
