# shellcheck shell=bash
# Functions for scripts made of checks: .ci/run and deploy/check source this file. A script defines functions
# step_NAME that call check and leave_out, and ends with run_steps; brief=1 limits the output to one line per check.
# After a failed check the script goes on, so that one run reports every failure.

work=$(mktemp -d)
exporter=${EXPORTER:-$work/css_vpcep_exporter}
brief=''
running='' # process ID of the current check
passed=0
failed=()
left_out=()

# kill_tree PID kills a process and its descendants, the youngest first.
kill_tree() {
  local child
  # shellcheck disable=SC2013 # words are wanted
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

# leave_out NAME REASON reports a check that is not possible on this machine.
leave_out() {
  left_out+=("$1: $2")
  [[ -n $brief ]] && echo "NOT CHECKED $1: $2" || printf '\n=== %s\n--- NOT CHECKED: %s\n' "$1" "$2"
}

# silent COMMAND… fails if the command prints anything.
silent() {
  local out
  out=$("$@" 2>&1)
  [[ -z $out ]] || { printf '%s\n' "$out"; return 1; }
}

# need_exporter builds the program unless $exporter exists.
need_exporter() {
  [[ -x $exporter ]] || check 'go build' timeout 300 env CGO_ENABLED=0 go build -trimpath -o "$exporter" .
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
  for line in "${failed[@]/#/FAILED: }" "${left_out[@]/#/NOT CHECKED: }"; do
    echo "$line"
  done
  line="$passed passed, ${#failed[@]} failed"
  [[ -z $brief ]] || line+=", ${#left_out[@]} not checked"
  echo "$line"
  ((${#failed[@]} == 0))
}
