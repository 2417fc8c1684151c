#!/bin/bash
# Build a Debian sid root in which real picamera2 drives libcamera's virtual camera.
#
#   sudo deploy/sid-root/build.sh [ROOT]      default: /var/cache/tutti/sid-root
#
# Needs root, the network and `apt-get install debootstrap`. Takes one core and about 1.5 GB; a
# root that is there already is kept. Settings: TUTTI_SUITE (sid), TUTTI_MIRROR, TUTTI_CPU (0).
#
# Why sid: libcamera must be 0.7.2 or newer with the `virtual` pipeline and Python bindings;
# 0.4 (trixie) leaves FrameMetadata.status uninitialised.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=${1:-${TUTTI_SID_ROOT:-/var/cache/tutti/sid-root}}
suite=${TUTTI_SUITE:-sid}
mirror=${TUTTI_MIRROR:-http://deb.debian.org/debian}
packages=python3,python3-venv,python3-dev,gcc,libc6-dev,libcap-dev,ca-certificates,libcamera-ipa,python3-libcamera,libcamera-tools

if [ -e "$root/.tutti-ready" ]; then
  echo "sid-root: $root is there ($(cat "$root/.tutti-ready"))"
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "sid-root: needs root (debootstrap and chroot)" >&2; exit 4; }
command -v debootstrap >/dev/null ||
  { echo "sid-root: debootstrap is missing: apt-get install debootstrap" >&2; exit 4; }

one_core() { nice -n 19 taskset -c "${TUTTI_CPU:-0}" "$@"; }

# Everything happens in a folder beside the final one, which appears whole or not at all.
partial=$root.partial
if [ ! -e "$partial/.tutti-bootstrapped" ]; then
  rm -rf --one-file-system "$partial"
  mkdir -p "$partial"
  one_core debootstrap --variant=minbase --include="$packages" "$suite" "$partial" "$mirror"
  touch "$partial/.tutti-bootstrapped"
fi

one_core "$here/enter.sh" "$partial" /usr/bin/python3 -m venv --system-site-packages /opt/venv
cp "$here/pykms.py" "$partial"/opt/venv/lib/python3.*/site-packages/
cp "$here/virtual.yaml" "$partial/usr/share/libcamera/pipeline/virtual/virtual.yaml"
one_core "$here/enter.sh" "$partial" /opt/tutti/deploy/sid-root/install.sh dependencies

one_core "$here/enter.sh" "$partial" /usr/bin/dpkg-query -W -f '${Version}' python3-libcamera \
  >"$partial/.tutti-ready"
rm -f "$partial"/var/cache/apt/archives/*.deb
mv "$partial" "$root"
echo "sid-root: $root is ready (libcamera $(cat "$root/.tutti-ready"))"
