# shellcheck shell=bash
# Sourced by the tests of copilotw.sh: running it, checking what it did, counting.
# shellcheck disable=SC2154 # who sources this sets script and scratch

passed=0
failed=0

# run ARGUMENT...: leaves $status, $out (standard output) and $err (standard error).
run() {
    status=0
    "$script" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
    out=$(cat "$scratch/out")
    err=$(cat "$scratch/err")
}

# check NAME TEST...: TEST is a command.
check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n  status: %s\n  stdout: %s\n  stderr: %s\n' "$name" "$status" "$out" "$err"
    fi
}

contains() {
    case $1 in
        *"$2"*) return 0 ;;
        *) return 1 ;;
    esac
}
