#!/usr/bin/env bash
# Checks alertmanager.yml, and that it routes every alert of alerts.yml to the receiver for its severity. Needs amtool.
# Exits with 1 if a check failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

config=alertmanager.yml
alerts=../prometheus/alerts.yml
failed=0
checked=0

amtool check-config "$config" >/dev/null || { amtool check-config "$config"; exit 1; }

# routed RECEIVER LABEL=VALUE… fails unless an alert with these labels is routed to the receiver.
routed() {
  local want=$1 got
  shift
  checked=$((checked + 1))
  if ! got=$(amtool config routes test --config.file="$config" --verify.receivers="$want" "$@" 2>&1); then
    echo "FAILED  $*: want receiver $want: ${got//$'\n'/ }"
    failed=1
  fi
}

cluster=(region=cn-north-4 project_id=p1 cluster_id=c1 cluster_name=search-prod)

# The expected receiver of each alert, by severity.
table='
CSSVPCEPConnectionRejected    warning   css-vpcep-chat
CSSVPCEPConnectionFailed      warning   css-vpcep-chat
CSSVPCEPConnectionPending     warning   css-vpcep-chat
CSSVPCEPNoAcceptedConnections critical  css-vpcep-page
CSSVPCEPUnlistedConnection    warning   css-vpcep-chat
CSSVPCEPWhitelistOpen         info      css-vpcep-digest
CSSVPCEPServiceDisabled       critical  css-vpcep-page
CSSVPCEPConnectionsTruncated  warning   css-vpcep-chat
CSSVPCEPScrapeFailing         warning   css-vpcep-chat
CSSVPCEPDataStale             warning   css-vpcep-chat
CSSVPCEPDiscoveryFailing      warning   css-vpcep-chat
CSSVPCEPCredentialsRejected   critical  css-vpcep-page
CSSVPCEPThrottled             warning   css-vpcep-chat
CSSVPCEPConfigReloadFailed    warning   css-vpcep-chat
CSSVPCEPExporterDown          critical  css-vpcep-page
CSSVPCEPExporterDown          warning   css-vpcep-chat
CSSVPCEPMetricsAbsent         critical  css-vpcep-page
'
while read -r alert severity receiver; do
  [[ -n $alert ]] || continue
  routed "$receiver" alertname="$alert" severity="$severity" "${cluster[@]}"
done <<<"$table"
routed css-vpcep-chat alertname=SomethingElse
routed css-vpcep-chat alertname=SomethingElse severity=unknown

# The table must have the same alerts with the same severities as alerts.yml.
defined=$(awk '$1 == "-" && $2 == "alert:" { alert = $3 } $1 == "severity:" { print alert, $2 }' "$alerts" | sort)
expected=$(awk 'NF { print $1, $2 }' <<<"$table" | sort)
if ! diff <(printf '%s\n' "$defined") <(printf '%s\n' "$expected"); then
  echo "FAILED  $alerts (<) and the table in ${BASH_SOURCE[0]##*/} (>) differ"
  failed=1
fi

echo "$checked routes checked"
((failed == 0))
