#!/usr/bin/env bash
# Checks alertmanager.yml, and that every alert of alerts.yml reaches the receiver of its severity. Needs amtool. Ends with 1 if
# something is wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

config=alertmanager.yml
alerts=../prometheus/alerts.yml
failed=0
tried=0

amtool check-config "$config" >/dev/null || { amtool check-config "$config"; exit 1; }

# routes RECEIVER LABEL=VALUE… fails if an alert with these labels goes elsewhere.
routes() {
  local want=$1 got
  shift
  tried=$((tried + 1))
  if ! got=$(amtool config routes test --config.file="$config" --verify.receivers="$want" "$@" 2>&1); then
    echo "FAILED  $*: it is to reach $want: ${got//$'\n'/ }"
    failed=1
  fi
}

cluster=(region=cn-north-4 project_id=p1 cluster_id=c1 cluster_name=search-prod)

# The table, by hand: what each alert is to reach.
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
  routes "$receiver" alertname="$alert" severity="$severity" "${cluster[@]}"
done <<<"$table"
routes css-vpcep-chat alertname=SomethingElse
routes css-vpcep-chat alertname=SomethingElse severity=unheard-of

# The table and alerts.yml name the same alerts with the same severities.
written=$(awk '$1 == "-" && $2 == "alert:" { alert = $3 } $1 == "severity:" { print alert, $2 }' "$alerts" | sort)
tabled=$(awk 'NF { print $1, $2 }' <<<"$table" | sort)
if ! diff <(printf '%s\n' "$written") <(printf '%s\n' "$tabled"); then
  echo "FAILED  $alerts (<) and the table in ${BASH_SOURCE[0]##*/} (>) differ"
  failed=1
fi

echo "$tried routes tried"
((failed == 0))
