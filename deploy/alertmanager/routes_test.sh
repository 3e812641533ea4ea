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

# routed RECEIVERS LABEL=VALUE… fails unless an alert with these labels is routed to the receivers (a,b).
routed() {
  local want=$1 got
  shift
  checked=$((checked + 1))
  if ! got=$(amtool config routes test --config.file="$config" --verify.receivers="$want" "$@" 2>&1); then
    echo "FAILED  $*: want $want: ${got//$'\n'/ }"
    failed=1
  fi
}

cluster=(region=cn-north-4 project_id=p1 cluster_id=c1 cluster_name=search-prod)

# The expected severity, category and receivers of each alert.
table='
CSSVPCEPConnectionRejected      warning   -         css-vpcep-chat
CSSVPCEPConnectionStillRejected info      -         css-vpcep-digest
CSSVPCEPConnectionFailed        warning   -         css-vpcep-chat
CSSVPCEPConnectionPending       warning   -         css-vpcep-chat
CSSVPCEPSessionsNearLimit       warning   -         css-vpcep-chat
CSSVPCEPSessionsNearLimit       critical  -         css-vpcep-page
CSSVPCEPNoAcceptedConnections   critical  -         css-vpcep-page
CSSVPCEPConnectionsLost         warning   -         css-vpcep-chat
CSSVPCEPUnlistedConnection      warning   security  css-vpcep-security,css-vpcep-chat
CSSVPCEPWhitelistOpen           info      security  css-vpcep-security,css-vpcep-digest
CSSVPCEPPermissionAdded         info      security  css-vpcep-security,css-vpcep-digest
CSSVPCEPServiceDisabled         critical  -         css-vpcep-page
CSSVPCEPConnectionsTruncated    warning   -         css-vpcep-chat
CSSVPCEPProjectUnreadable       critical  -         css-vpcep-page
CSSVPCEPScrapeFailing           warning   -         css-vpcep-chat
CSSVPCEPDataStale               warning   -         css-vpcep-chat
CSSVPCEPDiscoveryFailing        warning   -         css-vpcep-chat
CSSVPCEPSessionsUnreadable      info      -         css-vpcep-digest
CSSVPCEPClustersVanished        warning   -         css-vpcep-chat
CSSVPCEPCredentialsRejected     critical  -         css-vpcep-page
CSSVPCEPThrottled               warning   -         css-vpcep-chat
CSSVPCEPAPIChanged              warning   -         css-vpcep-chat
CSSVPCEPConfigReloadFailed      warning   -         css-vpcep-chat
CSSVPCEPExporterDown            critical  -         css-vpcep-page
CSSVPCEPExporterDown            warning   -         css-vpcep-chat
CSSVPCEPMetricsAbsent           critical  -         css-vpcep-page
'
while read -r alert severity category receivers; do
  [[ -n $alert ]] || continue
  labels=(alertname="$alert" severity="$severity" "${cluster[@]}")
  [[ $category == - ]] || labels+=(category="$category")
  routed "$receivers" "${labels[@]}"
done <<<"$table"
routed css-vpcep-chat alertname=SomethingElse
routed css-vpcep-chat alertname=SomethingElse severity=unknown

# The table must have the same alerts with the same severities and categories as alerts.yml.
defined=$(awk '
  $1 == "annotations:" && alert { print alert, severity, category; alert = "" }
  $1 == "-" && $2 == "alert:" { alert = $3; category = "-" }
  $1 == "severity:" { severity = $2 }
  $1 == "category:" { category = $2 }' "$alerts" | sort)
expected=$(awk 'NF { print $1, $2, $3 }' <<<"$table" | sort)
if ! diff <(printf '%s\n' "$defined") <(printf '%s\n' "$expected"); then
  echo "FAILED  $alerts (<) and the table in ${BASH_SOURCE[0]##*/} (>) differ"
  failed=1
fi

echo "$checked routes checked"
((failed == 0))
