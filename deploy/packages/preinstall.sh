#!/bin/sh
# Creates the user of the service before the files are unpacked, because some of them belong to its group.
set -eu

if getent passwd css_vpcep_exporter >/dev/null; then
  exit 0
fi
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers --replace=/usr/lib/sysusers.d/css_vpcep_exporter.conf - <<SYSUSERS
u css_vpcep_exporter - "Prometheus exporter for CSS VPC endpoints" /etc/css_vpcep_exporter
SYSUSERS
else # a container without systemd
  useradd --system --user-group --no-create-home --home-dir /etc/css_vpcep_exporter --shell /usr/sbin/nologin \
    --comment 'Prometheus exporter for CSS VPC endpoints' css_vpcep_exporter
fi
