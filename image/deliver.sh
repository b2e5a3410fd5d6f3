#!/usr/bin/env bash
# Brings an image archive where it is wanted. Usage: image/deliver.sh ARCHIVE archive|cluster|push:HOST/NAME:TAG|kind:CLUSTER
#   archive  leaves it where it is
#   cluster  imports it on the nodes of the cluster that `make cluster-up` made
#   push     pushes it to a registry with skopeo (credentials: its own login), installed where it is missing
#   kind     loads it into a kind cluster
set -euo pipefail
cd "$(dirname "$0")/.."
archive=$1 to=$2
case $to in
  archive) echo "The image is in $archive." ;;
  cluster) cargo run --quiet --bin cluster -- load-image "$archive" ;;
  push:*)
    command -v skopeo >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends skopeo >/dev/null; }
    form=docker-archive; tar -tf "$archive" | grep -qx oci-layout && form=oci-archive
    skopeo copy --quiet "$form:$archive" "docker://${to#push:}" ;;
  kind:*) kind load image-archive "$archive" --name "${to#kind:}" ;;
  *) echo "unknown destination '$to': archive, cluster, push:HOST/NAME:TAG or kind:CLUSTER" >&2; exit 1 ;;
esac
