#!/bin/sh
# Stops the service before a removal, for which dpkg passes "remove" and rpm passes 0. Does nothing before an upgrade.
set -eu

[ "$1" = remove ] || [ "$1" = 0 ] || exit 0
[ -d /run/systemd/system ] || exit 0
systemctl --no-reload disable --now css_vpcep_exporter.socket css_vpcep_exporter.service || true
