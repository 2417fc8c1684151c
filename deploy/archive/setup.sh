#!/bin/sh
# Makes the controller of a rig from this folder alone: checks the files, then installs the project
# and Ansible into .venv beside this script. Run it again after unpacking a newer archive.
set -eu
cd -- "$(dirname -- "$0")"

say() { printf '%s\n' "$*"; }
fail() {
  say "setup: $1" >&2
  exit 4
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "python3 is missing"
version=$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
machine=$(uname -m)
wheels=wheels/$machine
[ -d "$wheels" ] || fail "this archive has nothing for $machine: it has $(ls wheels)"
ls "$wheels"/numpy-*-cp"$version"-*.whl >/dev/null 2>&1 ||
  fail "this archive has no wheels for $("$python" --version): name another one, PYTHON=python3.11 ./setup.sh"

say "checking the files"
sha256sum --check --quiet SHA256SUMS || fail "the archive is damaged: copy and unpack it anew"

say "installing into $PWD/.venv"
"$python" -m venv --clear --without-pip .venv
for pip in controller/"$machine"/pip-*.whl; do :; done
# Neither settings of pip nor the network count: what is installed is what was checked.
PIP_CONFIG_FILE=/dev/null .venv/bin/python "$pip/pip" --isolated install --quiet \
  --disable-pip-version-check --no-index \
  --find-links "$wheels" --find-links "controller/$machine" tutti-capture ansible-core

cat >env.sh <<EOF
# For your shell: . $PWD/env.sh
export TUTTI='$PWD'
export PATH='$PWD/.venv/bin':"\$PATH"
export ANSIBLE_CONFIG='$PWD/ansible/ansible.cfg'
EOF

say "done: version $(cat VERSION). Next (docs/operations.md explains each step):"
say "  . $PWD/env.sh"
say "  mkdir ~/rig && cd ~/rig"
say "  manager init --fleet --address SERVER --node-address NODE0 --node-address NODE1"
say "  edit rig.toml, then: manager init, manager first-boot --out cards"
say "  ansible-playbook \$TUTTI/ansible/site.yml"
