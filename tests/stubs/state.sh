# shellcheck shell=sh
# Sourced by the stubs: the account, as files below $STUB_STATE.
#
#   calls              every call, one a line
#   interrupt          the checkpoint at which SIGINT goes to the process group
#   clock              seconds; `sleep` moves it, `date +%s` reads it
#   stacks/NAME        STATUS, or STATUS NEXT LOOKS: becomes NEXT after LOOKS looks (GONE: is deleted)
#   tags/NAME          the application in Copilot's tag of the stack
#   parameters/…       parameters of SSM, `/` as `,`
#   roles/NAME         tags of an IAM role
#   sets/NAME          a StackSet; its instances, one a line
#   outputs/STACK.KEY  outputs of a stack; values/STACK: its parameters
#   faults/PROGRAM.WORD.WORD   LEFT KIND: the next LEFT calls go wrong that way
#   $STUB_QUERIES      every --query, for tests/queries.py
#   fate/NAME          LEFT STATUS: what the next LEFT changes of this stack end in
set -u
state=$STUB_STATE
# shellcheck disable=SC2034 # the stubs read it
REGION=${AWS_REGION:-eu-central-1}

# A place where Ctrl-C can come.
checkpoint() {
    read -r count <"$state/count"
    count=$((count + 1))
    echo "$count" >"$state/count"
    [ -e "$state/interrupt" ] || return 0
    read -r at <"$state/interrupt"
    [ "$count" -ne "$at" ] || interrupt
}

# Some programs die of it.
interrupt() {
    kill -INT 0
    exit 130
}

called() {
    echo "$*" >>"$state/calls"
    checkpoint
}

# fault NAME: leaves its kind in $kind.
fault() {
    kind=''
    [ -e "$state/faults/$1" ] || return 0
    read -r left kind <"$state/faults/$1"
    if [ "$left" -le 1 ]; then
        rm "$state/faults/$1"
    else
        echo "$((left - 1)) $kind" >"$state/faults/$1"
    fi
}

# status STACK: in $status; empty when there is none.
status() {
    status='' next='' looks=''
    [ ! -e "$state/stacks/$1" ] || read -r status next looks <"$state/stacks/$1" || true
}

# look STACK: as status, and time goes on.
look() {
    status "$1"
    [ -n "$next" ] || return 0
    if [ "$looks" -gt 1 ]; then
        echo "$status $next $((looks - 1))" >"$state/stacks/$1"
    else
        rest "$1" "$next"
    fi
}

# rest STACK STATUS
rest() {
    case $2 in
        GONE)
            rm -f "$state/stacks/$1" "$state/tags/$1" "$state/values/$1" "$state/outputs/$1".*
            case $1 in
                *-infrastructure-roles) rm -f "$state/roles/${1%-infrastructure-roles}-adminrole" ;;
            esac
            ;;
        *) echo "$2" >"$state/stacks/$1" ;;
    esac
}

# move STACK STATUS NEXT: begins to change; a fate comes before what should be.
move() {
    end=$3
    if [ -e "$state/fate/$1" ]; then
        read -r left end <"$state/fate/$1"
        if [ "$left" -le 1 ]; then
            rm "$state/fate/$1"
        else
            echo "$((left - 1)) $end" >"$state/fate/$1"
        fi
    fi
    echo "$2 $end 2" >"$state/stacks/$1"
}

parameter() {
    echo "$state/parameters/$(echo "$1" | tr / ,)"
}
