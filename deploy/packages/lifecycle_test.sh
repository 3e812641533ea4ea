#!/usr/bin/env bash
# Installs, upgrades, removes and purges a package. deploy/check runs this script in a throw-away root, because it changes
# the system and deletes /etc/css_vpcep_exporter.
#
#   THROW_AWAY_ROOT=1 lifecycle_test.sh deb|rpm OLD NEW
#
# NEW must have another default configuration than OLD.
set -euo pipefail

[[ ${THROW_AWAY_ROOT:-} == 1 ]] || { echo 'this script needs a throw-away root' >&2; exit 2; }
kind=$1 old=$2 new=$3
user=css_vpcep_exporter
dir=/etc/css_vpcep_exporter
file=$dir/css_vpcep.yml
secret=$dir/access_key
other_secret=$dir/secret_key
words=$(mktemp) # what the last installation printed
calls=$(mktemp) # what the packages passed to systemctl
case $kind in
  deb) fresh=$file.dpkg-dist kept=$file ;;
  rpm) fresh=$file.rpmnew kept=$file.rpmsave ;;
esac

say() { printf '\n--- %s\n' "$*"; }
fail() { echo "FAILED: $*"; cat "$words"; exit 1; }

# install_package PACKAGE installs a package, or upgrades to it.
install_package() {
  case $kind in
    deb) dpkg --force-confold --force-unsafe-io --no-triggers --install "$1" ;;
    rpm) rpm --upgrade --nodeps "$1" ;;
  esac </dev/null >"$words" 2>&1 || fail "the installation of $1"
  cat "$words"
}

remove_package() {
  case $kind in
    deb) dpkg --no-triggers --remove css-vpcep-exporter ;;
    rpm) rpm --erase css-vpcep-exporter ;;
  esac
}

# is FILE MODE USER:GROUP fails unless the file has this mode and owner.
is() {
  local got
  got=$(stat -c '%a %U:%G' "$1")
  [[ $got == "$2 $3" ]] || fail "$1 is $got, want $2 $3"
}

is_absent() { [[ ! -e $1 ]] || fail "$1 still exists"; }
contains() { grep -qF -- "$2" "$1" || fail "$1 does not contain: $2"; }
prints_no_words() { ! grep -q 'not started' "$words" || fail 'words for the first installation are printed'; }

# check_as USER checks the configuration as that user, without its other groups.
check_as() {
  setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups css_vpcep_exporter --config.check --config.file="$file"
}

# uncomment FILE makes the example in the default configuration active.
uncomment() { sed -i -E '/^#projects:/,$ s/^#(projects:|  |scrape:)/\1/' "$1"; }

nothing_started() { ! grep -E '^(enable|start|restart)' "$calls" || fail 'a unit is enabled or started'; }

# systemd does not run here. Its failures must not fail a package.
mkdir -p /run/systemd/system
printf '#!/bin/sh\necho "$@" >>%s\nexit 1\n' "$calls" >/tmp/systemctl
install -m 755 /tmp/systemctl "$(command -v systemctl || echo /usr/bin/systemctl)"

say 'first installation'
rm -rf "$dir"
install_package "$old"
contains "$words" "$file"
contains "$words" "runuser -u $user -- css_vpcep_exporter --config.check --config.file=$file"
contains "$words" 'systemctl enable --now css_vpcep_exporter.socket css_vpcep_exporter.service'
contains "$words" 'port 10247 of all network interfaces, without a password'
is "$dir" 750 "root:$user"
is "$file" 640 "root:$user"
is /usr/bin/css_vpcep_exporter 755 root:root
is /usr/share/man/man1/css_vpcep_exporter.1.gz 644 root:root
is /usr/share/doc/css-vpcep-exporter/README.md 644 root:root
is /usr/share/bash-completion/completions/css_vpcep_exporter 644 root:root
getent passwd "$user" | grep -q ":$dir:.*nologin$" || fail 'the user is missing'
contains "$calls" daemon-reload
! grep try-restart "$calls" || fail 'the first installation restarts the service'

say 'the default configuration sends no request, and its error says what is missing'
if check_as "$user" >"$words" 2>&1; then
  fail 'the default configuration is valid'
fi
contains "$words" "$file: "
contains "$words" 'list at least one project in "projects"'

say 'the user of the service reads the configuration, others do not'
uncomment "$file"
echo example >"$secret"
echo example >"$other_secret"
chown "root:$user" "$secret" "$other_secret"
chmod 640 "$secret" "$other_secret"
check_as "$user"
! check_as nobody >"$words" 2>&1 || fail 'nobody reads the configuration'
contains "$words" 'permission denied'

say 'upgrade from a package whose directory was readable for everyone'
chown root:root "$dir"
chmod 755 "$dir"
chmod 644 "$secret"
cp "$file" /edited
install_package "$new"
prints_no_words
is "$dir" 750 "root:$user"
is "$secret" 644 "root:$user"
is "$file" 640 "root:$user"
cmp "$file" /edited || fail 'the edited configuration changed'
contains "$calls" 'try-restart css_vpcep_exporter.service'
uncomment "$fresh"
! cmp -s "$file" "$fresh" || fail 'the new default is missing'
check_as "$user"

say 'a mode that the administrator chose stays in an upgrade'
if [[ $kind == deb ]]; then # rpm sets the modes of a package again
  chmod 710 "$dir"
  install_package "$new"
  is "$dir" 710 "root:$user"
  chmod 750 "$dir"
fi

say 'removal keeps the configuration'
! grep disable "$calls" || fail 'an upgrade disables the service'
remove_package
contains "$calls" 'disable --now css_vpcep_exporter.socket css_vpcep_exporter.service'
is_absent /usr/bin/css_vpcep_exporter
cmp "$kept" /edited || fail 'the configuration is lost'
is "$secret" 644 "root:$user"

if [[ $kind == deb ]]; then
  say 'installation after the removal'
  install_package "$new"
  prints_no_words
  cmp "$file" /edited || fail 'the configuration changed'

  say "purge deletes the package's configuration, but no secrets"
  dpkg --no-triggers --purge css-vpcep-exporter
  is_absent "$file"
  is_absent "$fresh"
fi
is "$secret" 644 "root:$user"
is "$dir" 750 "root:$user"

say 'installation beside a configuration from before'
cat /edited >"$file"
chown root:root "$file"
chmod 604 "$file"
install_package "$old"
contains "$words" 'not started'
cmp "$file" /edited || fail 'the configuration changed'
is "$file" 604 root:root
check_as "$user"

say 'purge without files of others'
rm "$secret" "$other_secret"
case $kind in
  deb) dpkg --no-triggers --purge css-vpcep-exporter ;;
  rpm) remove_package && rm -f "$file".rpm* "$file" ;;
esac
[[ $kind == rpm ]] || is_absent "$dir"
getent passwd "$user" >/dev/null || fail 'the user is gone, although it may own files'
nothing_started

say 'installation without systemd-sysusers, as in a container'
userdel "$user"
rm -f /bin/systemd-sysusers /usr/bin/systemd-sysusers
rm -rf "$dir"
install_package "$old"
is "$dir" 750 "root:$user"
is "$file" 640 "root:$user"
getent passwd "$user" | grep -q ":$dir:.*nologin$" || fail 'the user is missing'
say 'ok'
