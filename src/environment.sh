# shellcheck shell=bash
# Sourced by the drivers, which have set $root to the project's folder. prepare_environment sets PYTHON to an interpreter
# with the packages of the given requirements files, and makes one in $root/.venv, or in what DISENTANGLE_VENV names, where
# there is none.
# Whatever the user can fix is one sentence on stderr and exit status 2.
venv=${DISENTANGLE_VENV:-${root:?}/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
log=$venv/.setup.log

fail() {
    printf '%s\n' "$1" >&2
    exit 2
}

# pillow's packages need glibc 2.28 (2018), libpecos has none for macOS, Windows or musl.
check_platform() {
    local platform libc
    platform=$(uname -s)-$(uname -m)
    libc=$(getconf GNU_LIBC_VERSION 2>/dev/null || ldd --version 2>&1 || true)
    if [[ ! $libc =~ (glibc|GLIBC|GNU libc)[^0-9]*2\.([0-9]+) ]] || ((BASH_REMATCH[2] < 28)); then
        platform+=" without it"
    fi
    [[ $platform =~ ^Linux-(x86_64|aarch64)$ ]] ||
        fail "Unsupported platform: needs Linux on x86_64 or aarch64 with glibc 2.28 or newer, this is $platform."
}

# Prints the version of a Python; fails unless it really runs (pyenv's stand-ins may not) and suits the locks.
probe_python() {
    "$1" -E -S -c 'import sys
print("%d.%d.%d" % sys.version_info[:3])
suits = (3, 10) <= sys.version_info[:2] <= (3, 14) and sys.maxsize > 2**32 and sys.implementation.name == "cpython"
sys.exit(not suits or "t" in sys.abiflags)' 2>/dev/null
}

stamp_of() {
    printf '%s\n' "$venv/${1##*/}.stamp"
}

# Prints what a stamp says of a file that is installed for a version of Python, whatever its last number.
describe() {
    printf '%s %s\n' "$(sha256sum <"$1")" "${2%.*}"
}

# Whether .venv has the packages of the files.
is_ready() {
    local file stamp version
    [[ ! -e $venv/.unfinished ]] || return
    version=$(probe_python "$PYTHON") || return
    for file; do
        stamp=$(stamp_of "$file")
        [[ -r $stamp && $(<"$stamp") == "$(describe "$file" "$version")" ]] || return
    done
}

# Prints what the files take that are not installed yet.
size_of() {
    local file disk=0 download=0
    for file; do
        if ! is_ready "$file" && [[ $(<"$file") =~ \#\ size:\ ([0-9]+)\ MB\ on\ disk,\ ([0-9]+)\ MB ]]; then
            ((disk += BASH_REMATCH[1], download += BASH_REMATCH[2])) || true
        fi
    done
    printf 'about %s MB on disk, %s MB to download' "$disk" "$download"
}

# Prints the likely cause of a failure, and where to read more.
explain_log() {
    case $(<"$log") in
        *"No space left"* | *"quota exceeded"*) printf 'no space left on the disk' ;;
        *"Permission denied"* | *"Read-only file system"*) printf 'no permission to write' ;;
        *onnection* | *"name resolution"* | *"dns error"* | *"timed out"* | *SSLError* | *ProxyError* | *"client error"*)
            printf 'the package index cannot be reached (no network, or a proxy?)' ;;
        *"No matching distribution"* | *"No solution found"*)
            printf 'the package index lacks one of the pinned versions' ;;
        *" HASH"* | *"Hash mismatch"*) printf 'the package index has other files than those that were pinned' ;;
        *) printf 'the cause is at the end of the log' ;;
    esac
    printf '; log in %s.' "$log"
}

# Prints the first Python that suits and can make an environment.
find_python() {
    local candidates candidate version found="" incomplete=""
    mapfile -t candidates < <(type -aP python3 python3.{14,13,12,11,10} python)
    if [[ ${DISENTANGLE_PYTHON:-} ]]; then candidates=("$DISENTANGLE_PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if [[ ${candidate%/*} -ef $venv/bin ]]; then
            continue # .venv is about to be emptied, active or not
        elif ! version=$(probe_python "$candidate"); then
            found+="${found:+, }${version:-nothing that runs} ($candidate)"
        elif "$candidate" -I -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        else
            incomplete="$candidate has no venv module: install it (Debian, Ubuntu: apt-get install \
python${version%.*}-venv) or uv, or name another Python in DISENTANGLE_PYTHON."
        fi
    done
    found="found ${found:-none}${brought:-.}"
    fail "${incomplete:-No usable Python: needs 64-bit CPython 3.10 to 3.14, or uv, which brings one; $found}"
}

# uv takes a Python that suits, or brings one; without uv it takes one with a venv module.
make_environment() {
    local folder python brought=""
    folder=$(readlink -f "$venv") # .venv may be a link to a roomier disk
    if type -P uv >/dev/null; then
        if ! uv venv --project "$root" --allow-existing --python "${DISENTANGLE_PYTHON:-cpython>=3.10,<3.15}" "$folder" \
            >"$log" 2>&1; then
            brought="; uv brought none: $(explain_log)"
        elif probe_python "$PYTHON" >/dev/null; then
            # For who adds packages to it; Debian's Python may have none.
            "$PYTHON" -I -m ensurepip >>"$log" 2>&1 || true
            return
        fi
    fi
    python=$(find_python) || exit
    "$python" -I -m venv "$folder" >"$log" 2>&1 || fail "Cannot create $venv: $(explain_log)"
}

# PIP_USER: some clusters set it for everybody, and pip refuses it in a virtual environment.
pip_install() {
    PIP_USER=0 "$PYTHON" -I -m pip install --disable-pip-version-check --no-input "$@"
}

# Prints the user's uv, or one that pip brings; it is ten times as fast as pip. It does not read pip's settings: where
# they name an index, a folder of packages or a proxy, pip does it all.
find_uv() {
    type -P uv && return
    [[ ! $("$PYTHON" -I -m pip config list) =~ index|links|proxy|cert ]] &&
        pip_install --retries 0 --require-hashes -r "$root/requirements-uv.txt" >"$log" && printf '%s\n' "$venv/bin/uv"
} 2>/dev/null

find_site() {
    "$PYTHON" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null || true
}

# Everything is downloaded before anything is touched: until then an older environment is still good. Whatever is killed
# midway leaves .unfinished, and the next call builds the environment anew.
install() {
    local options=(--require-hashes --no-deps -r "$1") version stamp
    stamp=$(stamp_of "$1")
    : >"$venv/.unfinished"
    if [[ $1 == *-pecos.txt ]]; then
        # It has packages up to CPython 3.12; younger ones take that for 3.12, whose library knows no Python.
        version=$("$PYTHON" -I -c 'import sys; print("3.%d" % min(sys.version_info[1], 12))')
        options+=(--python-version "$version" --upgrade --target "$(find_site)")
    fi
    : >"$log"
    { [[ $uv ]] && "$uv" pip install --project "$root" --python "$PYTHON" "${options[@]}"; } >>"$log" 2>&1 ||
        pip_install "${options[@]}" >>"$log" 2>&1 || {
        [[ ! $venv/.unfinished -nt $(find_site) ]] || rm -f "$venv/.unfinished"
        fail "Cannot install ${1##*/}: $(explain_log)"
    }
    { describe "$1" "$(probe_python "$PYTHON")" >"$stamp.new" && mv "$stamp.new" "$stamp"; } || fail "Cannot write $stamp."
    rm "$venv/.unfinished"
}

# Whether nothing in the folder is somebody else's: a driver has begun an environment here, which takes more than its lock,
# or it is empty but for hidden files, or the project's own .venv, made by hand.
is_ours() {
    local found
    [[ ! -e $venv/.unfinished && ! -e $venv/.machine ]] || return 0
    [[ ! -e $venv/pyvenv.cfg || (! -e $venv/.setup.lock && $venv != "$root/.venv") ]] || return 0
    shopt -s nullglob
    found=("$venv"/*)
    shopt -u nullglob
    ((${#found[@]} == 0))
}

# A subshell, so that the lock and the trap end with it. What is half-made is built anew, and so it is when the Python that
# it came from has gone. Hidden files survive that.
set_up() (
    trap 'printf "Interrupted: the next run sets up %s again.\n" "$venv" >&2; exit 130' INT
    is_ours || fail "$venv holds other files: DISENTANGLE_VENV must name a new or empty folder."
    { mkdir -p "$venv" && exec 9>"$venv/.setup.lock"; } 2>/dev/null ||
        fail "Cannot write to $venv: DISENTANGLE_VENV may name another folder."
    if type -P flock >/dev/null && ! flock -n 9 2>/dev/null; then
        printf 'Waiting for another run to set up %s ...\n' "$venv" >&2
        flock 9 2>/dev/null || fail "Cannot lock $venv: its disk has no locks; DISENTANGLE_VENV may name another folder."
    fi
    ! is_ready "$@" || exit 0 # the run that held the lock did it
    if [[ -x $PYTHON && ! -e $venv/.unfinished ]] && ! probe_python "$PYTHON" >/dev/null; then
        fail "$PYTHON does not run here, or is no Python that suits (a module that is not loaded?): remove $venv, or \
name another folder in DISENTANGLE_VENV."
    fi
    if [[ -e $venv/.unfinished || ! -d $(find_site) ]] || ! { type -P uv || "$PYTHON" -I -m pip --version; } >"$log" 2>&1; then
        type -P uv >/dev/null || find_python >/dev/null
        : >"$venv/.unfinished"
        rm -rf "${venv:?}"/*
    fi
    printf 'Setting up %s once (%s) ...\n' "$venv" "$(size_of "$@")" >&2
    [[ -d $(find_site) ]] || make_environment
    uname -m >"$venv/.machine"
    rm -f "$venv/.unfinished"
    uv=$(find_uv) || uv=""
    for file; do is_ready "$file" || install "$file"; done
)

prepare_environment() {
    local active
    export PYTHONPATH=$root/src
    export XMC_DATA=${XMC_DATA:-$root/dataset/xmc-base} XMC_MODEL=${XMC_MODEL:-$root/model}
    export XMC_BINNED=${XMC_BINNED:-$root/dataset-binned}
    check_platform
    for active in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
        [[ $active && ! $active -ef $venv && ! ${DISENTANGLE_PYTHON:-} ]] || continue
        PYTHON=$active/bin/python
        if probe_python "$PYTHON" >/dev/null && "$PYTHON" "$root/src/check_lock.py" "$@" 2>/dev/null; then return; fi
    done
    PYTHON=$venv/bin/python
    if [[ -r $venv/.machine && $(<"$venv/.machine") != "$(uname -m)" ]]; then
        fail "$venv is of $(<"$venv/.machine"): name another folder in DISENTANGLE_VENV on $(uname -m)."
    fi
    is_ready "$@" || set_up "$@" || exit
}
