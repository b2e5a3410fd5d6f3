#!/usr/bin/env bash
# Runs the tests on a cluster: yours where KUBECONFIG is set, else the project's own, which is taken down afterwards unless it
# ran before or KEEP_CLUSTER=1.
set -euo pipefail
cd "$(dirname "$0")/.."
# Real clients against the server alone; they are installed on this machine, which must be Debian.
[ $# -gt 0 ] || [ -n "${KUBECONFIG:-}" ] || cargo test --test clients -- --test-threads=1
cluster() { cargo run --quiet --bin cluster -- "$@"; }
if [ -z "${KUBECONFIG:-}" ] && ! cluster env >/dev/null 2>&1; then
  [ "${KEEP_CLUSTER:-}" = 1 ] || trap 'cluster down' EXIT
  cluster up
fi
# The controller on an API server of its own, which needs this machine's etcd: not with somebody else's cluster.
[ $# -gt 0 ] || [ -n "${KUBECONFIG:-}" ] || cargo test --test api_server -- --test-threads=1
cargo test --test cluster -- --test-threads=1 "$@"
