#!/usr/bin/env bash
# Builds the images of all services, looks inside, and runs them together as compose.yaml does.
# Apart from `./copilotw.sh test`: the first build takes many minutes.
#
#   tests/images.sh            builds with docker, podman or buildah, whichever is there
#   tests/images.sh --built    takes the images that the last run has built
#
# BUILDER=buildah chooses one; BUILD_OPTIONS has more options for its build, such as
# --build-arg=RUST_IMAGE=rust@sha256:…. Looking inside needs Linux, python3 and binutils. Running
# needs root, iproute2, curl and util-linux as well: it uses network namespaces of its own, in place
# of a daemon's. What cannot be done is said, and with CI set it is an error.
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly root
readonly SERVICES='gateway users products'
# Of one image, unpacked.
readonly SIZE_LIMIT_BYTES=40000000
# 0.1 s each.
readonly PATIENCE_TRIES=150
# No network of this machine is likely to have these.
readonly NETWORK=198.51.100
scratch=$(mktemp -d)
readonly scratch
failures=0
checks=0
processes=''

# shellcheck disable=SC2329 # called by the trap
finish() {
    local process name
    for process in $processes; do
        kill -KILL "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    for name in $SERVICES; do
        ip netns del "images-$$-$name" 2>/dev/null || true
    done
    ip link del "images$$" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() {
    printf '%s\n' "$*" >&2
}

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    if ! "$@" >"$scratch/said" 2>&1; then
        failures=$((failures + 1))
        say "FAILED: $what"
        sed 's/^/    /' "$scratch/said" >&2
    fi
}

cannot() {
    say "images.sh: $*"
    [ -z "${CI:-}" ] || exit 1
}

builder() {
    local name
    for name in ${BUILDER:-docker podman buildah}; do
        case $name in
            docker) docker info >/dev/null 2>&1 || continue ;;
            *) command -v "$name" >/dev/null 2>&1 || continue ;;
        esac
        printf '%s\n' "$name"
        return
    done
    say 'images.sh: there is no builder; install docker, podman or buildah, and start docker if it is that'
    return 1
}

# BUILD_OPTIONS is words.
# shellcheck disable=SC2086
build() {
    case $builder in
        buildah) buildah build --layers --format docker ${BUILD_OPTIONS:-} --target "$1" --tag "localhost/gateway/$1" "$root" ;;
        *) "$builder" build ${BUILD_OPTIONS:-} --target "$1" --tag "gateway/$1" "$root" ;;
    esac >&2
}

# unpack SERVICE: its files into $scratch/SERVICE, its configuration into $scratch/SERVICE.json.
unpack() {
    local container mounted
    mkdir -p "$scratch/$1"
    case $builder in
        buildah)
            buildah inspect --type image "localhost/gateway/$1" |
                python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["Docker"]["config"]))' >"$scratch/$1.json"
            container=$(buildah from "localhost/gateway/$1")
            mounted=$(buildah mount "$container")
            tar -C "$mounted" -cf "$scratch/$1.tar" .
            buildah rm "$container" >/dev/null
            ;;
        *)
            "$builder" image inspect --format '{{json .Config}}' "gateway/$1" >"$scratch/$1.json"
            container=$("$builder" create "gateway/$1")
            "$builder" export --output "$scratch/$1.tar" "$container"
            "$builder" rm "$container" >/dev/null
            ;;
    esac
    tar -C "$scratch/$1" -xf "$scratch/$1.tar"
}

program() {
    case $1 in
        gateway) printf '/gateway\n' ;;
        *) printf '/%s-svc\n' "$1" ;;
    esac
}

expected_files() {
    printf '%s\n' "$(program "$1")" /etc/ssl/certs/ca-certificates.crt
    case $1 in
        gateway) printf '/etc/gateway/routes.yaml\n' ;;
        users) printf '/etc/ssl/rds-global-bundle.pem\n' ;;
    esac
}

# What Docker puts into a container that was made and never run is empty.
found_files() {
    (cd "$scratch/$1" && find . -type f -size +0 | sed 's/^\.//')
}

is_static() {
    ! readelf --program-headers --wide "$1" | grep -E 'INTERP|NEEDED'
}

# The list of dependencies, as cargo-audit and scanners read it: JSON, compressed with zlib.
names_its_dependencies() {
    objcopy --dump-section ".dep-v0=$scratch/dependencies" "$1" "$scratch/copy"
    python3 -c 'import json, sys, zlib
packages = json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]
names = {package["name"] for package in packages if package.get("kind", "runtime") == "runtime"}
print(len(names))
sys.exit(not {"hyper", "rustls", "tokio"} <= names)' "$scratch/dependencies"
}

configured() {
    python3 -c 'import json, sys
name, path = sys.argv[1:]
config = json.load(open(path))
program = "/gateway" if name == "gateway" else f"/{name}-svc"
assert config["User"] == "65532:65532", config
assert config["Entrypoint"] == [program], config
assert config["StopSignal"] == "SIGTERM", config
assert list(config["ExposedPorts"]) == ["8080/tcp"], config
assert config["Labels"]["org.opencontainers.image.title"] == name, config
assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0", config' "$1" "$scratch/$1.json"
}

look_inside() {
    local name binary bytes packed
    for name in $SERVICES; do
        binary=$scratch/$name$(program "$name")
        bytes=$(wc -c <"$scratch/$name.tar")
        packed=$(gzip --stdout "$scratch/$name.tar" | wc -c)
        say "$name: $bytes bytes, compressed $packed"
        check "$name: size" [ "$bytes" -lt "$SIZE_LIMIT_BYTES" ]
        check "$name: static" is_static "$binary"
        check "$name: the files that it needs and no other" diff <(expected_files "$name" | sort) <(found_files "$name" | sort)
        check "$name: dependencies" names_its_dependencies "$binary"
        check "$name: configuration" configured "$name"
    done
}

# place SERVICE NUMBER: a network namespace with the address NETWORK.NUMBER on the common bridge.
place() {
    local space=images-$$-$1
    ip netns add "$space"
    ip link add "i$$-$2" type veth peer name eth0 netns "$space"
    ip link set "i$$-$2" master "images$$" up
    ip -n "$space" link set lo up
    ip -n "$space" addr add "$NETWORK.$2/24" dev eth0
    ip -n "$space" link set eth0 up
    mkdir -p "$scratch/$1/proc" "$scratch/$1/dev"
    touch "$scratch/$1/dev/random" "$scratch/$1/dev/urandom"
    # As Docker has it.
    printf '127.0.0.1\tlocalhost\n%s\t%s\n' "$NETWORK.$2" "$1" >"$scratch/$1/etc/hosts"
    printf 'nameserver 127.0.0.11\noptions ndots:0\n' >"$scratch/$1/etc/resolv.conf"
    ip netns exec "$space" python3 "$root/tests/names.py" 127.0.0.11 "gateway=$NETWORK.2" "users=$NETWORK.3" "products=$NETWORK.4" &
    processes="$processes $!"
}

# confined SERVICE UID COMMAND...: in its network and a read-only view of its files, as the first
# process, with no environment but $variables.
# shellcheck disable=SC2086 # $variables is words
confined() {
    local name=$1 uid=$2
    shift 2
    # shellcheck disable=SC2016 # for the inner shell
    exec ip netns exec "images-$$-$name" unshare --mount --pid --fork --kill-child=SIGKILL sh -euc '
        files=$1
        shift
        mount --bind "$files" "$files"
        mount -t proc proc "$files/proc"
        # Every container has them; a static executable asks them for random numbers.
        mount --bind /dev/random "$files/dev/random"
        mount --bind /dev/urandom "$files/dev/urandom"
        [ ! -d "$files/var/lib/issuer" ] || mount --bind "$files/var/lib/issuer" "$files/var/lib/issuer"
        mount -o remount,bind,ro "$files"
        exec "$@"' sh "$scratch/$name" \
        setpriv --no-new-privs env -i ${variables:-} \
        "$(command -v chroot)" --userspec="$uid:$uid" "$scratch/$name" "$@"
}

# start SERVICE ARGUMENT...
start() {
    local name=$1
    shift
    confined "$name" 65532 "$(program "$name")" "$@" >"$scratch/$name.log" 2>&1 &
    processes="$processes $!"
    echo $! >"$scratch/$name.pid"
}

# Within a network that has the services, from the place of the products.
ask() {
    ip netns exec "images-$$-products" curl --silent --show-error --noproxy '*' --max-time 5 \
        --resolve "gateway:8080:$NETWORK.2" --resolve "users:8080:$NETWORK.3" "$@"
}

is_healthy() {
    local tries=0
    until (confined "$1" 65532 "$(program "$1")" healthcheck) 2>"$scratch/healthcheck"; do
        tries=$((tries + 1))
        [ "$tries" -lt "$PATIENCE_TRIES" ] || { cat "$scratch/healthcheck" "$scratch/$1.log"; return 1; }
        sleep 0.1
    done
}

# The first process of its namespace gets a signal only if it has asked for it.
leaves() {
    local waiting tries=0
    waiting=$(cat "$scratch/$1.pid")
    kill -TERM "$(ps -o pid= --ppid "$waiting" | tr -d ' ')" || { cat "$scratch/$1.log"; return 1; }
    while kill -0 "$waiting" 2>/dev/null && [ "$(ps -o stat= -p "$waiting" | cut -c 1)" != Z ]; do
        tries=$((tries + 1))
        [ "$tries" -lt "$PATIENCE_TRIES" ] || { cat "$scratch/$1.log"; return 1; }
        sleep 0.1
    done
    wait "$waiting"
}

# The gateway asks again for what was not there at first.
answers() {
    local tries=0
    until [ "$(ask --header "authorization: Bearer $token" "http://gateway:8080/$1" 2>"$scratch/curl")" = "$2" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt "$PATIENCE_TRIES" ] || { cat "$scratch/curl" "$scratch"/*.log; return 1; }
        sleep 0.1
    done
}

is_status() {
    [ "$(ask --output /dev/null --write-out '%{http_code}' "$2")" = "$1" ]
}

finds_authorities() {
    ! grep -E 'no root certificates|cannot read root|not one that can be trusted|has no certificate' "$scratch/users.log" &&
        grep 'cannot be reached\|cannot connect\|database' "$scratch/users.log"
}

run_together() {
    local name number=2
    ip link add "images$$" type bridge
    ip link set "images$$" up
    for name in $SERVICES; do
        place "$name" "$number"
        number=$((number + 1))
    done

    # What compose.yaml mounts.
    mkdir -p "$scratch/gateway/var/lib/issuer"
    cp "$root/copilot/compose/routes.yaml" "$scratch/gateway/etc/gateway/compose.yaml"
    token=$(confined gateway 0 /gateway token --data-dir /var/lib/issuer --public-keys /var/lib/issuer/jwks.json) || true
    check 'a token' [ "$(printf '%s' "$token" | tr -dc . | wc -c)" -eq 2 ]

    # Amazon's authorities and the system's are read before the database, which is not there.
    variables='DATABASE_URL=postgres://u:p@localhost:1/d DATABASE_CA=/etc/ssl/rds-global-bundle.pem LOG=debug'
    start users
    sleep 2
    kill -KILL "$(ps -o pid= --ppid "$(cat "$scratch/users.pid")" | tr -d ' ')"
    wait "$(cat "$scratch/users.pid")" || true
    check 'users: authorities' finds_authorities

    variables='REQUIRE_GATEWAY=http://gateway:8080/.well-known/gateway-jwks.json LAME_DUCK=0s'
    start users
    start products
    variables=''
    start gateway run --config /etc/gateway/compose.yaml
    for name in $SERVICES; do
        check "$name: healthcheck" is_healthy "$name"
    done
    check 'users, through the gateway' answers users/1 '{"id":1,"name":"Tom","age":32}'
    check 'no token' is_status 401 http://gateway:8080/users
    check 'users: nothing past the gateway' is_status 401 http://users:8080/users
    for name in gateway users products; do
        check "$name: leaves on SIGTERM as the first process" leaves "$name"
    done
}

builder=$(builder)
if [ "${1:-}" != --built ]; then
    for name in $SERVICES; do
        build "$name"
    done
fi
for name in $SERVICES; do
    unpack "$name"
done
look_inside
if [ "$(uname -s)/$(id -u)" != Linux/0 ]; then
    cannot 'not run together, which needs Linux and root'
elif ! unshare --net --mount --pid --fork true 2>/dev/null; then
    cannot 'not run together, since this machine allows no namespaces'
else
    run_together
fi
if [ "$failures" -gt 0 ]; then
    say "images.sh: $failures of $checks checks failed"
    exit 1
fi
say "images.sh: $checks checks passed"
