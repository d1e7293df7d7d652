# The virtual environment of the checkout, made at the first need.  Sourced by the commands beside
# it, with $root set to the checkout.
#
# .venv/run.stamp and .venv/test.stamp hold what the environment was made for: the checkout's
# place, the interpreter, and the files that name the dependencies.  A stamp is written last, and
# only by a run that went well; .venv/unfinished is there while pip works, so that the next run
# knows of one that was killed.

me=${0##*/}
venv=$root/.venv
cache=$root/.cache

say() {
    printf '%s: %s\n' "$me" "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

describe() {
    printf '%s\n' "$root"
    readlink -f -- "$venv/bin/python"
    cat -- "$root/setup.cfg" "$root/pyproject.toml"
}

up_to_date() { # $1: run or test
    [ -x "$venv/bin/python" ] && [ -f "$venv/$1.stamp" ] &&
        [ "$(describe)" = "$(cat -- "$venv/$1.stamp")" ]
}

make_environment() { # $1: run or test
    lock=$cache/environment.lock
    # true, not `:`: where a special built-in cannot write, dash ends the whole shell.
    { mkdir -p -- "$cache" && true >>"$lock"; } 2>/dev/null ||
        fail "cannot write to $root: run this once as its owner, who makes the environment"
    exec 9>>"$lock"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "another run is making $venv; waiting for it"
        flock 9
    fi
    if ! up_to_date "$1"; then
        is_whole || new_environment
        install_project "$1"
    fi
    exec 9>&-
}

is_whole() {
    [ ! -e "$venv/unfinished" ] &&
        "$venv/bin/python" -I -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

new_environment() {
    python=$(find_python "${WSD_PYTHON:-}") || exit 1
    say "making $venv with Python $("$python" -c 'import platform; print(platform.python_version())') (once; about half a minute)"
    rm -rf -- "$venv"
    mkdir -- "$venv"
    : >"$venv/unfinished"
    "$python" -m venv "$venv" >"$cache/environment.log" 2>&1 ||
        fail "$python -m venv failed ($cache/environment.log): $(tail -n 1 "$cache/environment.log")"
}

install_project() { # $1: run or test
    project=$root
    [ "$1" = run ] || project="$root[$1]"
    rm -f -- "$venv"/*.stamp
    : >"$venv/unfinished"
    pip_status=0
    PIP_RETRIES=${PIP_RETRIES:-2} "$venv/bin/python" -m pip install --quiet --no-input \
        --disable-pip-version-check --editable "$project" >"$cache/environment.log" 2>&1 </dev/null ||
        pip_status=$?
    rm -f -- "$venv/unfinished"
    [ $pip_status = 0 ] || fail "$(explain_pip "$cache/environment.log")"
    "$venv/bin/python" -P -c 'import wsd.cli' 2>"$cache/environment.log" || {
        : >"$venv/unfinished"
        fail "the environment does not work: $(tail -n 1 "$cache/environment.log"); the next run makes it anew"
    }
    [ "$1" = run ] || stamp "$1"
    stamp run
}

stamp() {
    describe >"$venv/$1.stamp.new"
    mv -- "$venv/$1.stamp.new" "$venv/$1.stamp"
}

explain_pip() { # $1: pip's output
    if grep -qiE 'connection|timed out|resol|retries|no matching distribution|SSL' "$1"; then
        printf 'pip could not fetch the packages: check the network, or set PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels (%s)' "$1"
    else
        printf 'pip failed (%s): %s' "$1" "$(grep -v '^ *$' "$1" | tail -n 1)"
    fi
}

# The first interpreter that will do: the machine's python3, else the newest.  Prints its path, or
# says on standard error what is missing.
find_python() { # $1: the only one to look at, or empty
    without_venv=
    for name in ${1:-python3 python3.20 python3.19 python3.18 python3.17 python3.16 python3.15 \
        python3.14 python3.13 python3.12 python3.11}; do
        candidate=$(command -v -- "$name") || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
        without_venv=${without_venv:-$candidate}
    done
    if [ "$without_venv" ]; then
        say "$without_venv has no venv or ensurepip: install it, on Debian and Ubuntu with: apt-get install python3-venv"
    else
        say "no Python 3.11 or later${1:+ as $1}: install one, or name it with WSD_PYTHON=/path/to/python3"
    fi
    return 1
}
