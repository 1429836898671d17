#!/bin/sh
# Tests read records from a real PostgreSQL server, which they start themselves and throw away. This installs it with the
# system's package manager where that is allowed. Where it is not, those tests are skipped: it says so, and does not fail.
set -u

found() {
  command -v initdb >/dev/null 2>&1 && return 0
  for program in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; do
    [ -x "$program" ] && return 0
  done
  return 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

tell() {
  echo "cloister: PostgreSQL's server is missing, so tests that need it are skipped; install it with: $1" >&2
  exit 0
}

# Debian would make a server of the machine's own, and start it.
install_for_debian() {
  as_root apt-get update --quiet
  as_root apt-get install --yes --quiet postgresql-common || return
  as_root sh -c 'mkdir -p /etc/postgresql-common/createcluster.d &&
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/cloister.conf'
  as_root apt-get install --yes --quiet postgresql
}

found && exit 0
for manager in apt-get dnf zypper pacman apk; do
  command -v "$manager" >/dev/null 2>&1 || continue
  case "$manager" in
    apt-get) set -- apt-get install --yes --quiet postgresql ;;
    dnf) set -- dnf install --assumeyes --quiet postgresql-server ;;
    zypper) set -- zypper --non-interactive --quiet install postgresql-server ;;
    pacman) set -- pacman --sync --noconfirm --quiet postgresql ;;
    apk) set -- apk add --quiet postgresql ;;
  esac
  may_install || tell "sudo $*"
  echo "installing PostgreSQL with $manager …"
  case "$manager" in
    apt-get) install_for_debian >/dev/null 2>&1 ;;
    *) as_root "$@" >/dev/null 2>&1 ;;
  esac
  found && exit 0
  tell "sudo $*"
done
tell "your system's package manager (the package is called postgresql)"
