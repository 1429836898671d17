#!/bin/sh
# Training code runs inside bubblewrap. This installs it with the system's package manager where that is allowed,
# and says in one sentence what to do where it is not.
set -u

command -v bwrap >/dev/null 2>&1 && exit 0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

tell() {
  echo "cloister: bubblewrap is missing and training code needs it; install it with: $1" >&2
  exit 1
}

for manager in apt-get dnf zypper pacman apk; do
  command -v "$manager" >/dev/null 2>&1 || continue
  case "$manager" in
    apt-get) set -- apt-get install --yes --quiet bubblewrap ;;
    dnf) set -- dnf install --assumeyes --quiet bubblewrap ;;
    zypper) set -- zypper --non-interactive --quiet install bubblewrap ;;
    pacman) set -- pacman --sync --noconfirm --quiet bubblewrap ;;
    apk) set -- apk add --quiet bubblewrap ;;
  esac
  may_install || tell "sudo $*"
  echo "installing bubblewrap with $manager …"
  [ "$manager" = apt-get ] && as_root apt-get update --quiet >/dev/null 2>&1
  as_root "$@" >/dev/null 2>&1
  command -v bwrap >/dev/null 2>&1 && exit 0
  tell "sudo $*"
done
tell "your system's package manager (the package is called bubblewrap)"
