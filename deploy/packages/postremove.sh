#!/bin/sh
# Runs after a removal or an upgrade. The user is kept, because it may own files, and so is /etc/css_vpcep_exporter if
# it is not empty.
set -eu

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
fi
