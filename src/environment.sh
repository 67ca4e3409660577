# shellcheck shell=bash
# Sourced by the drivers, which have set $root to the project's folder. prepare_environment sets PYTHON to an interpreter
# with the packages of the given requirements files, and makes one in $root/.venv where there is none.
# Whatever the user can fix is one sentence on stderr and exit status 2.
venv=${root:?}/.venv
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

# Prints the version of a Python; fails unless it really runs (pyenv's stand-ins may not) and suits the lock.
probe_python() {
    "$1" -E -S -c 'import sys
print("%d.%d.%d" % sys.version_info[:3])
suits = (3, 10) <= sys.version_info[:2] <= (3, 12) and sys.maxsize > 2**32 and sys.implementation.name == "cpython"
sys.exit(not suits)' 2>/dev/null
}

# Prints those of the files that .venv lacks. A stamp is the file's checksum and the version of Python.
list_outdated() {
    local version checksum file stamp
    version=$(probe_python "$PYTHON") || version=none
    sha256sum -- "$@" | while read -r checksum file; do
        stamp=$venv/${file##*/}.stamp
        [[ -r $stamp && $(<"$stamp") == "$checksum $version" ]] || printf '%s\n' "$file"
    done
}

# Prints the likely cause of a failure, and where to read more.
explain_log() {
    case $(<"$log") in
        *"No space left"* | *"quota exceeded"*) printf 'no space left on the disk' ;;
        *"Permission denied"* | *"Read-only file system"*) printf 'no permission to write' ;;
        *onnection* | *"name resolution"* | *"timed out"* | *SSLError* | *ProxyError*)
            printf 'the package index cannot be reached (no network?)' ;;
        *"No matching distribution"*) printf 'the package index lacks one of the pinned versions' ;;
        *) printf 'the cause is at the end of the log' ;;
    esac
    printf '; log in %s.' "$log"
}

# Prints the first Python that suits and can make an environment.
find_python() {
    local candidates candidate version found="" incomplete=""
    mapfile -t candidates < <(type -aP python3 python3.12 python3.11 python3.10 python)
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
python${version%.*}-venv) or name another Python in DISENTANGLE_PYTHON."
        fi
    done
    fail "${incomplete:-No usable Python: needs 64-bit CPython 3.10, 3.11 or 3.12, found ${found:-none}.}"
}

# Says what comes and how large it is, as the files themselves tell.
announce() {
    local python=$1 version file size packages=""
    shift
    version=$(probe_python "$python")
    for file in "$@"; do
        size=$(sed -n 's/^# size: //p' "$file")
        packages+="${packages:+, }${file##*/}${size:+ ($size)}"
    done
    printf 'Setting up %s once: Python %s with the packages of %s ...\n' "$venv" "${version%.*}" "$packages" >&2
}

# Its stamp is written last, so that half an installation never passes for a whole one.
install_requirements() {
    local file=$1 stamp=$venv/${1##*/}.stamp checksum version
    version=$(probe_python "$PYTHON")
    checksum=$(sha256sum <"$file")
    rm -f "$stamp"
    : >"$venv/.unfinished"
    # PIP_USER: some clusters set it for everybody, and pip refuses it in a virtual environment.
    if ! PIP_USER=0 "$PYTHON" -I -m pip install --disable-pip-version-check --no-input --no-deps -r "$file" \
        >"$log" 2>&1; then
        # pip downloads everything before it touches anything: until then the environment is still good.
        grep -q '^Installing collected packages' "$log" || rm -f "$venv/.unfinished"
        fail "Cannot install ${file##*/}: $(explain_log)"
    fi
    { printf '%s %s\n' "${checksum%% *}" "$version" >"$stamp.new" && mv "$stamp.new" "$stamp"; } ||
        fail "Cannot write $stamp."
    rm "$venv/.unfinished"
}

# A subshell, so that the lock and the trap end with it. Whatever is killed midway leaves .unfinished, and the next call
# builds the environment anew; so it does when the Python that it came from has gone. Hidden files survive that.
set_up() (
    trap 'printf "Interrupted: the next run sets up %s again.\n" "$venv" >&2; exit 130' INT
    { mkdir -p "$venv" && exec 9>"$venv/.lock"; } 2>/dev/null || fail "Cannot write to $venv."
    if type -P flock >/dev/null && ! flock -n 9; then
        printf 'Waiting for another run to set up %s ...\n' "$venv" >&2
        flock 9
    fi
    python=$PYTHON
    if [[ -e $venv/.unfinished ]] || ! { probe_python "$PYTHON" && "$PYTHON" -I -m pip --version; } >/dev/null 2>&1; then
        python=$(find_python) || exit
        : >"$venv/.unfinished"
        rm -rf "${venv:?}"/*
    fi
    mapfile -t outdated < <(list_outdated "$@")
    ((${#outdated[@]})) || exit 0 # the run that held the lock did it
    announce "$python" "${outdated[@]}"
    # readlink: .venv may be a link to a roomier disk, which venv itself would refuse.
    [[ $python == "$PYTHON" ]] || "$python" -I -m venv "$(readlink -f "$venv")" >"$log" 2>&1 ||
        fail "Cannot create $venv: $(explain_log)"
    for file in "${outdated[@]}"; do install_requirements "$file"; done
)

prepare_environment() {
    local active outdated
    export PYTHONPATH=$root/src
    export XMC_DATA=${XMC_DATA:-$root/dataset/xmc-base} XMC_MODEL=${XMC_MODEL:-$root/model}
    export XMC_BINNED=${XMC_BINNED:-$root/dataset-binned}
    check_platform
    for active in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
        [[ $active && ! $active -ef $venv ]] || continue
        PYTHON=$active/bin/python
        if "$PYTHON" "$root/src/check_lock.py" "$@" 2>/dev/null; then return; fi
    done
    PYTHON=$venv/bin/python
    outdated=$(list_outdated "$@") || exit 2
    [[ -z $outdated ]] || set_up "$@" || exit
}
