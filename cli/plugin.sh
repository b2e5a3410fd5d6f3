#!/usr/bin/env bash
# Packs the command line as plugin of the `dcos` command: out/dcos-plugin/P/package-registry/0, a package directory in Universe form.
# Programs for other systems are named in the environment: DARWIN=FILE WINDOWS=FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(uname -m)-unknown-linux-gnu
folder=${CARGO_TARGET_DIR:-target}
# Static, so that it runs on any machine; with a target named, the flags don't reach procedural macros, which can't be static.
RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --target "$target" -p cli --bin dcos-registry
programs=("linux=$folder/$target/release/dcos-registry")
[ -z "${DARWIN:-}" ] || programs+=("darwin=$DARWIN")
[ -z "${WINDOWS:-}" ] || programs+=("windows=$WINDOWS")
rm -rf out/dcos-plugin
cargo run --quiet --bin dcos-plugin -- out/dcos-plugin "${programs[@]}"
echo out/dcos-plugin/P/package-registry/0
