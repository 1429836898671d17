#!/bin/sh
# A test looks with strace at the rights with which private keys are made. This installs it with the system's package
# manager where that is allowed. Where it is not, that test is skipped: it says so, and does not fail.
set -u

command -v strace >/dev/null 2>&1 && exit 0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

if [ "$(id -u)" != 0 ] && ! { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }; then
  echo "cloister: strace is missing, so one test is skipped" >&2
  exit 0
fi
for manager in apt-get dnf zypper pacman apk; do
  command -v "$manager" >/dev/null 2>&1 || continue
  case "$manager" in
    apt-get) set -- apt-get install --yes --quiet strace ;;
    dnf) set -- dnf install --assumeyes --quiet strace ;;
    zypper) set -- zypper --non-interactive --quiet install strace ;;
    pacman) set -- pacman --sync --noconfirm --quiet strace ;;
    apk) set -- apk add --quiet strace ;;
  esac
  echo "installing strace with $manager …"
  [ "$manager" = apt-get ] && as_root apt-get update --quiet >/dev/null 2>&1
  as_root "$@" >/dev/null 2>&1
  break
done
command -v strace >/dev/null 2>&1 || echo "cloister: strace is missing, so one test is skipped" >&2
exit 0
