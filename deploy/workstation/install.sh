#!/bin/sh
# Makes this machine a workstation of Billow: installs it, joins with one token, and starts leaf and workers by systemd.
# `install.sh --help` tells what it takes. Running it again upgrades, and keeps the configuration if no token is given.
set -eu

usage() {
    cat <<'USAGE'
Usage: install.sh [--token-file FILE | -] [options]

Run as root from a checkout of Billow. It dials out only: no port is opened.

  --token-file FILE   token of `billow workstation token`; - reads it from stdin
                      without it the configuration that is there stays
  --gpus N            GPUs of this machine (default 0: all models on the CPU)
  --slices N          workers that share one GPU (default 2)
  --gpu-memory MB     memory of one GPU, split among its slices (default 0: no limit)
  --threads N         CPU threads of each worker's model (default 0: all cores)
  --model NAME        of the models in the token, serve this one; once for each
  --root DIR          install below DIR and start nothing, to try it out
  --no-start          install and join, start nothing
  --uninstall         stop and remove everything but /etc/billow
  --help
USAGE
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

token_file=''
gpus=0
root=''
start=yes
action=install
models=''
numbers=''
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --no-start) start=no ;;
        --uninstall) action=uninstall ;;
        --token-file | --gpus | --slices | --gpu-memory | --threads | --model | --root)
            [ $# -ge 2 ] || die "$1 needs a value; see --help"
            case $1 in
                --token-file) token_file=$2 ;;
                --root) root=${2%/} start=no ;;
                --model)
                    case $2 in '' | *[!a-z0-9_-]*) die "--model $2 is no name of a model" ;; esac
                    models="$models --model $2"
                    ;;
                *)
                    case $2 in '' | *[!0-9]*) die "$1 $2 is not a whole number" ;; esac
                    [ "$1" != --gpus ] || gpus=$2
                    numbers="$numbers $1 $2"
                    ;;
            esac
            shift
            ;;
        *) die "$1 is not known; see --help" ;;
    esac
    shift
done

source=$(cd "$(dirname "$0")/../.." && pwd)
home=$root/opt/billow
etc=$root/etc/billow
state=$root/var/lib/billow
units=$root/etc/systemd/system

[ "$(id -u)" = 0 ] || [ -n "$root" ] || die 'be root, or name --root DIR'

instances() {
    for file in "$etc"/workers/*.env; do
        [ -e "$file" ] || continue
        name=${file##*/}
        say "billow-worker@${name%.env}.service"
    done
}

uninstall() {
    systemd=no
    if [ -z "$root" ] && command -v systemctl >/dev/null; then systemd=yes; fi
    if [ "$systemd" = yes ]; then
        # By their names: `disable` knows no patterns. Word splitting is wanted.
        # shellcheck disable=SC2046
        systemctl disable --now billow-workstation.target billow-leaf.service $(instances) 2>/dev/null || true
    fi
    rm -f "$units"/billow-leaf.service "$units"/billow-worker@.service "$units"/billow-workstation.target
    rm -rf "$home" "$state"
    if [ "$systemd" = yes ]; then
        systemctl daemon-reload
    fi
    say "Removed. $etc stays: it holds the site's password; remove it by hand, and take the site's user off the hub."
}

# The locked versions of everything, apart from the checkout, which may go.
install_packages() {
    python=${PYTHON:-python3}
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die 'Python 3.11 or newer with its venv module is needed: apt-get install python3-venv'
    uv=$home/tools/bin/uv
    [ -x "$uv" ] || {
        say 'Setting up uv'
        "$python" -m venv "$home/tools"
        "$home/tools/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$(uv_version)"
    }
    # CUDA and cuDNN come as wheels too, 2 GB and more: the machine needs the driver alone.
    runtime=openvino
    [ "$gpus" = 0 ] || runtime=cuda
    say "Installing the locked dependencies, with $runtime"
    UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$home/venv "$uv" sync --frozen --quiet --no-editable \
        --no-default-groups --project "$source" --python "$python" --package billow-cli
    UV_PYTHON_DOWNLOADS=never "$uv" export --frozen --quiet --no-hashes --no-emit-workspace --project "$source" \
        --package billow-engines --extra "$runtime" --output-file "$home/runtime.txt" >/dev/null
    # Beside what is there: the other runtime, if this machine had it, would write the same module.
    if [ "$runtime" = cuda ]; then other=onnxruntime; else other=onnxruntime-gpu; fi
    "$uv" pip uninstall --quiet --python "$home/venv/bin/python" "$other" 2>/dev/null || true
    "$uv" pip install --quiet --python "$home/venv/bin/python" --requirement "$home/runtime.txt"
}

uv_version() {
    sed -n 's/^UV_VERSION := //p' "$source/Makefile"
}

install_files() {
    # In /etc/nats/tls the unit of the leaf shows the CA, where leaf.conf looks for it.
    mkdir -p "$home/share" "$etc" "$state" "$units" "$root/etc/nats/tls"
    rm -rf "$home/models.new"
    cp -R "$source/models" "$home/models.new"
    rm -rf "$home/models"
    mv "$home/models.new" "$home/models"
    install -m 0644 "$source/docs/workstation.md" "$home/share/workstation.md"
    install -m 0644 "$source/deploy/nats/leaf.conf" "$etc/leaf.conf"
    install -m 0644 "$source"/deploy/workstation/systemd/* "$units/"
}

# Before anything is installed.
check_token() {
    case $token_file in
        -) ;;
        '') [ -e "$etc/leaf.env" ] || die 'this machine has not joined yet: name --token-file FILE' ;;
        *) [ -r "$token_file" ] || die "$token_file cannot be read" ;;
    esac
}

join() {
    [ -n "$token_file" ] || {
        say "$etc stays as it is."
        return 0
    }
    # The token holds a password: by stdin, since all users of a machine see the arguments of a process.
    # Word splitting is wanted: $numbers and $models are options, checked above.
    # shellcheck disable=SC2086
    if [ "$token_file" = - ]; then
        "$home/venv/bin/billow" workstation join - --folder "$etc" $numbers $models >/dev/null
    else
        "$home/venv/bin/billow" workstation join - --folder "$etc" $numbers $models <"$token_file" >/dev/null
    fi
}

pull_weights() {
    say 'Fetching the weights of the models'
    for file in "$etc"/workers/*.env; do
        [ -e "$file" ] || continue
        model=$(sed -n "s/^BILLOW_MODEL='\(.*\)'$/\1/p" "$file")
        BILLOW_MODELS=$home/models BILLOW_MODEL_CACHE=$state/models "$home/venv/bin/billow" models pull "$model" >/dev/null
    done
}

start_units() {
    id billow >/dev/null 2>&1 ||
        useradd --system --home-dir /var/lib/billow --shell /usr/sbin/nologin --user-group billow
    chown -R billow:billow "$state"
    [ "$start" = yes ] || return 0
    systemctl daemon-reload
    # Workers of before that are not wanted any more.
    for unit in $(systemctl list-units --plain --no-legend 'billow-worker@*' | cut -d ' ' -f 1); do
        instances | grep -qxF "$unit" || systemctl disable --now "$unit"
    done
    # Word splitting is wanted: each is a unit.
    # shellcheck disable=SC2046
    systemctl enable --quiet billow-workstation.target billow-leaf.service $(instances)
    # shellcheck disable=SC2046
    systemctl restart billow-workstation.target billow-leaf.service $(instances)
}

if [ "$action" = uninstall ]; then
    uninstall
    exit 0
fi
check_token
install_packages
install_files
join
pull_weights
[ -n "$root" ] || start_units
say 'Done:'
instances | sed 's/^/  /'
if [ "$start" = no ]; then
    say 'Nothing was started: systemctl enable --now billow-workstation.target billow-leaf.service and these.'
else
    say 'Watch them: journalctl -fu billow-leaf -u "billow-worker@*"; at the hub: billow models list --watch'
fi
