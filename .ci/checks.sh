# shellcheck shell=bash
# Functions for .ci/run and deploy/check, which source this file. Such a script defines functions step_NAME that call
# check and skip, and ends with run_steps; brief=1 limits the output to one line per check. After a failed check the
# script continues, so that one run reports every failure.

# shellcheck disable=SC2034 # used by the scripts
cache=${XDG_CACHE_HOME:-$HOME/.cache}/css_vpcep_exporter # installed tools
work=$(mktemp -d)
exporter=${EXPORTER:-$work/css_vpcep_exporter}
brief=''
running='' # process ID of the current check
passed=0
failed=()
skipped=()

# kill_tree PID kills a process and its descendants, the descendants first.
kill_tree() {
  local child
  # shellcheck disable=SC2013 # word splitting is intended
  for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
    kill_tree "$child"
  done
  kill "$1" 2>/dev/null || true
}

clean_up() {
  if [[ -n $running ]]; then
    kill_tree "$running"
    wait "$running" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Checks

# check NAME COMMAND… runs one check. The command runs in the background because bash ignores set -e in a command whose
# status is tested. If brief is set, its output goes to $work/out and the end of that is shown only after a failure.
check() {
  local name=$1 start=$SECONDS status=0 took
  shift
  if [[ -n $brief ]]; then
    "$@" >"$work/out" 2>&1 &
  else
    printf '\n=== %s\n' "$name"
    "$@" &
  fi
  running=$!
  wait "$running" || status=$?
  running=''
  took="$((SECONDS - start)) s"
  if ((status == 0)); then
    passed=$((passed + 1))
    [[ -n $brief ]] && echo "ok       $name ($took)" || echo "--- ok ($took)"
    return
  fi
  failed+=("$name")
  if [[ -n $brief ]]; then
    echo "FAILED   $name ($took, exit $status)"
    tail -n 40 "$work/out" | sed 's/^/         /'
  else
    echo "--- FAILED ($took, exit $status)"
  fi
}

# skip NAME REASON reports a check that is not possible on this machine.
skip() {
  skipped+=("$1: $2")
  [[ -n $brief ]] && echo "NOT CHECKED $1: $2" || printf '\n=== %s\n--- NOT CHECKED: %s\n' "$1" "$2"
}

# have NAME TOOL… fails if a tool is missing, and reports that NAME is not checked.
have() {
  local name=$1 tool
  shift
  for tool; do
    command -v "$tool" >/dev/null || { skip "$name" "$tool is missing"; return 1; }
  done
}

# run_steps STEP… runs the steps, prints a summary and fails if a check failed.
run_steps() {
  local step line
  for step; do
    declare -F "step_$step" >/dev/null && continue
    echo "unknown step $step; steps: $(compgen -A function step_ | sed 's/^step_//' | paste -sd ' ')" >&2
    exit 2
  done
  for step; do
    "step_$step"
  done
  printf '\n'
  for line in "${failed[@]/#/FAILED: }" "${skipped[@]/#/NOT CHECKED: }"; do
    echo "$line"
  done
  line="$passed passed, ${#failed[@]} failed"
  [[ -z $brief ]] || line+=", ${#skipped[@]} not checked"
  echo "$line"
  ((${#failed[@]} == 0))
}

# --- Commands of checks

# prints_nothing COMMAND… fails if the command prints anything.
prints_nothing() {
  local out
  out=$("$@" 2>&1)
  [[ -z $out ]] || { printf '%s\n' "$out"; return 1; }
}

# get ADDRESS PATH prints the body of a response with status 200. It does without curl, which may be missing.
get() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 20 bash -c '
    exec 3<>"/dev/tcp/${1%:*}/${1##*:}"
    printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$2" "$1" >&3
    read -r _ status _ <&3
    while IFS= read -r line <&3 && [[ $line != $'"'\\r'"' ]]; do :; done
    cat <&3
    [[ $status == 200 ]]
  ' get "$1" "$2" 2>/dev/null
}

# --- The exporter

# need_exporter builds the exporter unless $exporter exists.
need_exporter() {
  [[ -x $exporter ]] || check 'go build' timeout 300 env CGO_ENABLED=0 go build -trimpath -o "$exporter" .
}

# valid_config FILE fails unless the exporter accepts the configuration.
valid_config() { timeout 60 env -i "$exporter" --config.check --config.file="$1"; }

server='' # process ID of the server that the current check has started

# start_server LOG COMMAND… starts an exporter in the background. It is killed if the check fails before stop_server.
start_server() {
  local log=$1
  shift
  trap '[[ -z $server ]] || kill_tree "$server"' EXIT
  : >"$log"
  timeout --foreground 120 "$@" >>"$log" 2>&1 & # without it, timeout signals twice: the process and its group
  server=$!
}

# await_address LOG waits up to ten seconds until an exporter listens, and prints its address.
await_address() {
  local address i
  for ((i = 0; i < 100; i++)); do
    address=$(sed -nE 's/.*msg="Listening on" address=([^ ]+).*/\1/p' "$1")
    [[ -z $address ]] || { echo "$address"; return; }
    sleep 0.1
  done
  { echo 'the exporter does not listen'; cat "$1"; } >&2
  return 1
}

# await_ready ADDRESS LOG waits up to ten seconds until an exporter is ready.
await_ready() {
  local i
  for ((i = 0; i < 100; i++)); do
    get "$1" /-/ready && return
    sleep 0.1
  done
  echo 'the exporter is not ready'
  cat "$2"
  return 1
}

# stop_server LOG sends SIGTERM to the server and fails unless it exits with 0.
stop_server() {
  local status=0
  kill "$server" # timeout forwards the signal and returns the exit status
  wait "$server" || status=$?
  server=''
  ((status == 0)) || { echo "exit status $status after SIGTERM, want 0"; cat "$1"; return 1; }
}
