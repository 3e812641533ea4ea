#!/bin/sh
# Runs after a removal or an upgrade. The user remains, because it may own files. /etc/css_vpcep_exporter remains with the
# files that others put there, such as secrets.
set -eu

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
fi
