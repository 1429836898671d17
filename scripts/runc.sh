#!/bin/sh
# Tests run the sandbox of a site in a container, with the runtime alone. This installs it with the system's package
# manager where that is allowed. Where it is not, those tests are skipped: it says so, and does not fail.
set -u

command -v runc >/dev/null 2>&1 && exit 0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

tell() {
  echo "cloister: runc is missing, so tests that need it are skipped; install it with: $1" >&2
  exit 0
}

for manager in apt-get dnf zypper pacman apk; do
  command -v "$manager" >/dev/null 2>&1 || continue
  case "$manager" in
    apt-get) set -- apt-get install --yes --quiet runc ;;
    dnf) set -- dnf install --assumeyes --quiet runc ;;
    zypper) set -- zypper --non-interactive --quiet install runc ;;
    pacman) set -- pacman --sync --noconfirm --quiet runc ;;
    apk) set -- apk add --quiet runc ;;
  esac
  may_install || tell "sudo $*"
  echo "installing runc with $manager …"
  [ "$manager" = apt-get ] && as_root apt-get update --quiet >/dev/null 2>&1
  as_root "$@" >/dev/null 2>&1
  command -v runc >/dev/null 2>&1 && exit 0
  tell "sudo $*"
done
tell "your system's package manager (the package is called runc)"
