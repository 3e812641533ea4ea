#!/usr/bin/env bash
# Sends alerts to a real Alertmanager with alertmanager.yml and checks which of them it inhibits. Needs amtool and
# alertmanager (Debian: prometheus-alertmanager). Alertmanager listens on a free port of 127.0.0.1 and is stopped before
# this script exits. Exits with 1 if a check failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

program=$(command -v alertmanager || command -v prometheus-alertmanager) || { echo 'alertmanager is not in PATH' >&2; exit 1; }
work=$(mktemp -d)
pid=''
clean_up() {
  [[ -z $pid ]] || { kill "$pid" 2>/dev/null && wait "$pid"; } || true
  rm -rf "$work"
}
trap clean_up EXIT

: >"$work/log" # the loop below may be faster
timeout 60 "$program" --config.file=alertmanager.yml --storage.path="$work" --cluster.listen-address= \
  --web.listen-address=127.0.0.1:0 2>"$work/log" &
pid=$!
url=''
for ((i = 0; i < 100; i++)); do
  address=$(sed -nE 's/.*msg="Listening on" address=([^ ]+).*/\1/p' "$work/log")
  [[ -n $address ]] && url=http://$address && amtool cluster show --alertmanager.url="$url" >/dev/null 2>&1 && break
  sleep 0.1
done
[[ -n $url ]] || { echo 'alertmanager does not listen'; cat "$work/log"; exit 1; }

failed=0

# fire ALERTNAME LABEL=VALUE… sends a firing alert.
fire() {
  local name=$1
  shift
  amtool alert add --alertmanager.url="$url" alertname="$name" "$@"
}

# inhibited ALERT… fails unless exactly these alerts are inhibited. An alert is written as ALERTNAME/CLUSTER, or as
# ALERTNAME if it has no cluster.
inhibited() {
  local want got
  want=$(printf '%s\n' "$@" | sort)
  got=$(amtool alert query --alertmanager.url="$url" --inhibited -o json |
    grep -oE '"labels":\{[^}]*\}' |
    sed -E 's/.*"alertname":"([^"]*)"(.*"cluster_id":"([^"]*)")?.*/\1\/\3/; s/\/$//' | sort)
  if ! diff <(echo "$want") <(echo "$got") >"$work/diff"; then
    echo 'FAILED: inhibited alerts (< want, > got):'
    cat "$work/diff"
    failed=1
  fi
}

cluster_alerts=(CSSVPCEPConnectionRejected CSSVPCEPConnectionStillRejected CSSVPCEPConnectionFailed
  CSSVPCEPConnectionPending CSSVPCEPNoAcceptedConnections CSSVPCEPUnlistedConnection CSSVPCEPWhitelistOpen
  CSSVPCEPPermissionAdded CSSVPCEPServiceDisabled CSSVPCEPConnectionsTruncated CSSVPCEPDataStale
  CSSVPCEPSessionsNearLimit)
exporter_alerts=(CSSVPCEPThrottled CSSVPCEPAPIChanged CSSVPCEPConfigReloadFailed CSSVPCEPMetricsAbsent)

# Two clusters with all their alerts. c1, which cannot be read, has been renamed in the meantime.
for alert in "${cluster_alerts[@]}"; do
  fire "$alert" severity=warning region=r1 project_id=p1 cluster_id=c1 cluster_name=before
  fire "$alert" severity=warning region=r1 project_id=p1 cluster_id=c2 cluster_name=two
done
for alert in "${exporter_alerts[@]}"; do
  fire "$alert" severity=warning
done
fire CSSVPCEPScrapeFailing severity=warning region=r1 project_id=p1 cluster_id=c1 cluster_name=after
fire SomethingElse severity=warning region=r1 project_id=p1 cluster_id=c1
inhibited "${cluster_alerts[@]/%//c1}"

# A cluster that has lost all connections has lost most of them too. c3 has lost only most of them.
fire CSSVPCEPConnectionsLost severity=warning region=r1 project_id=p1 cluster_id=c2 cluster_name=two
fire CSSVPCEPConnectionsLost severity=warning region=r1 project_id=p1 cluster_id=c3 cluster_name=three
c1_and_lost=("${cluster_alerts[@]/%//c1}" CSSVPCEPConnectionsLost/c2)
inhibited "${c1_and_lost[@]}"

# A connection above the higher limit is above the lower one too. n2 is only above the lower one.
for connection in n1 n2; do
  fire CSSVPCEPSessionsNearLimit severity=warning region=r1 project_id=p1 cluster_id=c5 connection_id=$connection
done
fire CSSVPCEPSessionsNearLimit severity=critical region=r1 project_id=p1 cluster_id=c5 cluster_name=five connection_id=n1
c1_and_lost+=(CSSVPCEPSessionsNearLimit/c5)
inhibited "${c1_and_lost[@]}"

# If most clusters of a project cannot be read, the failures of its clusters, of its list and of its sessions are
# inhibited, but no alert on the connections of its other clusters, and nothing of another project.
for project in p1 p2; do
  fire CSSVPCEPSessionsUnreadable severity=info region=r1 project_id=$project
  fire CSSVPCEPDiscoveryFailing severity=warning region=r1 project_id=$project
  fire CSSVPCEPClustersVanished severity=warning region=r1 project_id=$project
done
fire CSSVPCEPScrapeFailing severity=warning region=r1 project_id=p2 cluster_id=c4 cluster_name=four
fire CSSVPCEPProjectUnreadable severity=critical region=r1 project_id=p1
inhibited "${c1_and_lost[@]}" CSSVPCEPScrapeFailing/c1 CSSVPCEPDiscoveryFailing CSSVPCEPSessionsUnreadable

# If that is because of the credentials, it is inhibited too.
fire CSSVPCEPCredentialsRejected severity=critical region=r1 project_id=p1
fire CSSVPCEPCredentialsRejected severity=critical region=r1 project_id=p2
inhibited "${c1_and_lost[@]}" CSSVPCEPScrapeFailing/c1 CSSVPCEPDiscoveryFailing CSSVPCEPDiscoveryFailing \
  CSSVPCEPProjectUnreadable CSSVPCEPSessionsUnreadable CSSVPCEPSessionsUnreadable

# If only some targets of a job are down, no further alert is inhibited.
fire CSSVPCEPExporterDown severity=warning job=one
inhibited "${c1_and_lost[@]}" CSSVPCEPScrapeFailing/c1 CSSVPCEPDiscoveryFailing CSSVPCEPDiscoveryFailing \
  CSSVPCEPProjectUnreadable CSSVPCEPSessionsUnreadable CSSVPCEPSessionsUnreadable

# If all targets of a job are down, all other alerts are inhibited.
fire CSSVPCEPExporterDown severity=critical job=two
inhibited "${cluster_alerts[@]/%//c1}" "${cluster_alerts[@]/%//c2}" "${exporter_alerts[@]}" \
  CSSVPCEPConnectionsLost/c{2,3} CSSVPCEPScrapeFailing/c{1,4} CSSVPCEPDiscoveryFailing CSSVPCEPDiscoveryFailing \
  CSSVPCEPClustersVanished CSSVPCEPClustersVanished CSSVPCEPCredentialsRejected CSSVPCEPCredentialsRejected \
  CSSVPCEPProjectUnreadable CSSVPCEPSessionsUnreadable CSSVPCEPSessionsUnreadable CSSVPCEPSessionsNearLimit/c5{,,}

((failed == 0)) && echo 'exactly the expected alerts are inhibited'
