#!/bin/sh
# Runs after an installation or an upgrade. dpkg passes "configure" and, in an upgrade, the old version; rpm passes 1
# or, in an upgrade, 2. An installation starts nothing, because there is no configuration yet.
set -eu

if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers css_vpcep_exporter.conf
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if { [ "$1" = configure ] && [ -n "${2:-}" ]; } || [ "$1" = 2 ]; then
  systemctl try-restart css_vpcep_exporter.service
fi
