#!/bin/sh
# Runs after an installation or an upgrade, and restarts a running service after an upgrade. dpkg passes "configure" and,
# in an upgrade, the old version; rpm passes 1 or, in an upgrade, 2. An installation starts nothing, because the
# configuration is still missing.
set -eu

if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers css_vpcep_exporter.conf
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if { [ "$1" = configure ] && [ -n "${2:-}" ]; } || [ "$1" = 2 ]; then
  systemctl try-restart css_vpcep_exporter.service || true # an invalid configuration does not fail the upgrade
fi
