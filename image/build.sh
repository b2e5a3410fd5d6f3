#!/usr/bin/env bash
# Builds the one image from static binaries, brings it where it is wanted (see image/deliver.sh), and prints its name on the
# last line. Without IMAGE=HOST/NAME:TAG the tag is made from the binaries, so that a changed program is another image.
# Usage: image/build.sh archive|cluster|push:HOST/NAME:TAG|kind:CLUSTER
# CONTAINER_TOOL names docker, podman or buildah; buildah needs no daemon and is installed where none of them is there.
set -euo pipefail
cd "$(dirname "$0")/.."
to=${1:-archive}
target=$(uname -m)-unknown-linux-gnu
folder=${CARGO_TARGET_DIR:-target}/$target/release
# With a target named, the flags don't reach procedural macros, which can't be static.
RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --target "$target" -p server -p controller -p node-trust
mkdir -p out/image
for name in server controller node-trust; do install -m 0755 "$folder/package-registry-$name" out/image/; done
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  echo "/etc/ssl/certs/ca-certificates.crt is missing: install the system's ca-certificates" >&2; exit 1
fi
install -m 0644 /etc/ssl/certs/ca-certificates.crt out/image/
image=${IMAGE:-docker.io/library/package-registry:dev-$(cat out/image/* | sha256sum | cut -c1-12)}
case $to in push:*) image=${to#push:} ;; esac

tool=${CONTAINER_TOOL:-}
if [ -z "$tool" ]; then
  for candidate in buildah podman docker; do
    if command -v "$candidate" >/dev/null && { [ "$candidate" != docker ] || docker info >/dev/null 2>&1; }; then tool=$candidate; break; fi
  done
fi
if [ -z "$tool" ]; then
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "No container tool: install docker, podman or buildah, or run this as root on Debian." >&2; exit 1
  fi
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends buildah >/dev/null
  tool=buildah
fi

archive=out/package-registry.tar
rm -f "$archive"
case $tool in
  buildah)
    store=(--storage-driver vfs --root "$PWD/out/buildah" --runroot "$PWD/out/buildah-run")
    buildah "${store[@]}" bud --quiet --isolation chroot --timestamp 0 -t "$image" -f image/Containerfile out/image >/dev/null
    buildah "${store[@]}" push --quiet "$image" "oci-archive:$archive:$image" >/dev/null ;;
  podman)
    podman build --quiet --timestamp 0 -t "$image" -f image/Containerfile out/image >/dev/null
    podman save --quiet --format oci-archive -o "$archive" "$image" ;;
  docker)
    docker build --quiet -t "$image" -f image/Containerfile out/image >/dev/null
    docker save -o "$archive" "$image" ;;
  *) echo "CONTAINER_TOOL=$tool is not one of docker, podman, buildah" >&2; exit 1 ;;
esac

# What a cluster without a way out has to carry in stays small.
size=$(stat -c %s "$archive")
[ "$size" -le 40000000 ] || { echo "the image has $size bytes; at most 40000000 are allowed" >&2; exit 1; }
image/deliver.sh "$archive" "$to" >&2
echo "$image"
