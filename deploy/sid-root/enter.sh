#!/bin/bash
# Run a command inside a root that build.sh made.
#
#   sudo deploy/sid-root/enter.sh ROOT COMMAND...
#
# The project is seen read-only at /opt/tutti, the folder TUTTI_SHARE (if set) read-write at /share.
# Mounts and processes live in namespaces of their own: none is left when the command ends.
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd)
root=$1
shift

export TUTTI_ROOT=$root TUTTI_PROJECT=$project
exec unshare --mount --pid --fork --kill-child --propagation private /bin/bash -euc '
  root=$TUTTI_ROOT
  mkdir -p "$root/opt/tutti" "$root/share"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount --rbind /dev "$root/dev"
  mount --bind "$TUTTI_PROJECT" "$root/opt/tutti"
  mount -o remount,bind,ro "$root/opt/tutti"
  if [ -n "${TUTTI_SHARE:-}" ]; then mount --bind "$TUTTI_SHARE" "$root/share"; fi
  mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
  # A network with a certificate authority of its own: the host trusts it, so pip in here must.
  certificates=/etc/ssl/certs/ca-certificates.crt
  if [ -e "$certificates" ] && [ -e "$root$certificates" ]; then
    mount --bind "$certificates" "$root$certificates"
  fi
  exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM=dumb \
    PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE="$certificates" PIP_CERT="$certificates" \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_DEFAULT_TIMEOUT=180 \
    LIBCAMERA_LOG_LEVELS="*:ERROR" PYTHONDONTWRITEBYTECODE=1 "$@"
' enter "$@"
