#!/usr/bin/env bash
# Sends alerts to a real Alertmanager with alertmanager.yml, and looks which of them it holds back. Needs amtool and
# alertmanager (Debian: prometheus-alertmanager), which listens on a free port of 127.0.0.1 and ends with this script. Ends with 1
# if something is wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

program=$(command -v alertmanager || command -v prometheus-alertmanager) || { echo 'there is no alertmanager' >&2; exit 1; }
work=$(mktemp -d)
pid=''
finish() {
  [[ -z $pid ]] || { kill "$pid" 2>/dev/null && wait "$pid"; } || true
  rm -rf "$work"
}
trap finish EXIT

timeout 60 "$program" --config.file=alertmanager.yml --storage.path="$work" --cluster.listen-address= \
  --web.listen-address=127.0.0.1:0 2>"$work/log" &
pid=$!
url=''
for ((i = 0; i < 100; i++)); do
  address=$(sed -nE 's/.*msg="Listening on" address=([^ ]+).*/\1/p' "$work/log")
  [[ -n $address ]] && url=http://$address && amtool cluster show --alertmanager.url="$url" >/dev/null 2>&1 && break
  sleep 0.1
done
[[ -n $url ]] || { cat "$work/log"; exit 1; }

failed=0

# fire ALERTNAME LABEL=VALUE… fires an alert.
fire() {
  local name=$1
  shift
  amtool alert add --alertmanager.url="$url" alertname="$name" "$@"
}

# held fails unless just these alerts are held back: ALERTNAME/CLUSTER for each, or ALERTNAME alone.
held() {
  local want got
  want=$(printf '%s\n' "$@" | sort)
  got=$(amtool alert query --alertmanager.url="$url" --inhibited -o json |
    grep -oE '"labels":\{[^}]*\}' |
    sed -E 's/.*"alertname":"([^"]*)"(.*"cluster_id":"([^"]*)")?.*/\1\/\3/; s/\/$//' | sort)
  if ! diff <(echo "$want") <(echo "$got") >"$work/diff"; then
    echo 'FAILED: held back (< wanted, > got):'
    cat "$work/diff"
    failed=1
  fi
}

data=(CSSVPCEPConnectionRejected CSSVPCEPConnectionFailed CSSVPCEPConnectionPending CSSVPCEPNoAcceptedConnections
  CSSVPCEPUnlistedConnection CSSVPCEPWhitelistOpen CSSVPCEPServiceDisabled CSSVPCEPConnectionsTruncated CSSVPCEPDataStale)
others=(CSSVPCEPDiscoveryFailing CSSVPCEPCredentialsRejected CSSVPCEPThrottled CSSVPCEPConfigReloadFailed
  CSSVPCEPMetricsAbsent)

# Two clusters with all their alerts. c1 cannot be read; it was renamed since.
for alert in "${data[@]}"; do
  fire "$alert" severity=warning region=r1 project_id=p1 cluster_id=c1 cluster_name=before
  fire "$alert" severity=warning region=r1 project_id=p1 cluster_id=c2 cluster_name=two
done
for alert in "${others[@]}"; do
  fire "$alert" severity=warning
done
fire CSSVPCEPScrapeFailing severity=warning region=r1 project_id=p1 cluster_id=c1 cluster_name=after
fire SomethingElse severity=warning region=r1 project_id=p1 cluster_id=c1
held "${data[@]/%//c1}"

# Some targets are down: no more than that.
fire CSSVPCEPExporterDown severity=warning job=one
held "${data[@]/%//c1}"

# All targets of a job are down.
fire CSSVPCEPExporterDown severity=critical job=two
held "${data[@]/%//c1}" "${data[@]/%//c2}" "${others[@]}" CSSVPCEPScrapeFailing/c1

((failed == 0)) && echo 'the right alerts are held back'
