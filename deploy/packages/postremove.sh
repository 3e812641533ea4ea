#!/bin/sh
# After the removal or an upgrade. /etc/css_vpcep_exporter stays if anything is in it, and the user stays: files may be its own.
set -eu

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
fi
