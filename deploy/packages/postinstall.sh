#!/bin/sh
# Runs after an installation or an upgrade. dpkg passes "configure" and, unless it is the first installation, the version
# that was configured last; rpm passes 1 or, in an upgrade, 2. Starts nothing, but restarts a service that is running.
set -eu

dir=/etc/css_vpcep_exporter
case "$1 ${2:-}" in
  'configure ' | '1 ') first=1 ;;
  *) first='' ;;
esac

# An older package made the directory readable for everyone, and dpkg does not change one that exists.
if [ "$(stat -c %U:%G "$dir")" = root:root ]; then
  chgrp css_vpcep_exporter "$dir"
  chmod 0750 "$dir"
fi

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
  if [ -z "$first" ]; then
    systemctl try-restart css_vpcep_exporter.service || true # an invalid configuration does not fail the upgrade
  fi
fi

[ -n "$first" ] || exit 0
cat <<TEXT
css_vpcep_exporter is installed, but not started. Next:
  1. Enter your region and project in $dir/css_vpcep.yml.
  2. Check the file as the user of the service:
       runuser -u css_vpcep_exporter -- css_vpcep_exporter --config.check --config.file=$dir/css_vpcep.yml
  3. Start the service:
       systemctl enable --now css_vpcep_exporter.socket css_vpcep_exporter.service
Once started, it listens on port 10247 of all network interfaces, without a password. To change the address, run
"systemctl edit css_vpcep_exporter.socket"; for TLS and passwords, set CSS_VPCEP_EXPORTER_WEB_CONFIG_FILE in
$dir/environment to the path of a web configuration file.
TEXT
