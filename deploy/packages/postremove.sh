#!/bin/sh
# Runs after a removal or an upgrade. The user remains, because it may own files; /etc/css_vpcep_exporter remains unless
# it is empty.
set -eu

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
fi
