#!/bin/sh
# After the installation or an upgrade, by dpkg ("configure", and the old version if there was one) or rpm (1, or 2).
# Nothing is started at first: there is no configuration yet.
set -eu

if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers css_vpcep_exporter.conf
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if { [ "$1" = configure ] && [ -n "${2:-}" ]; } || [ "$1" = 2 ]; then
  systemctl try-restart css_vpcep_exporter.service
fi
