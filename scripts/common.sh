# Sourced by the set-up scripts: they run from the root of the checkout and stop at the first error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UV_SYSTEM_CERTS=1  # trust what the machine trusts, a company's proxy too

# Says what a stage of the set-up makes, before it begins: some take minutes without a cache.
stage() {
    echo "Set-up: $* ..."
}

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# What a stamp holds. The path is in it because an environment that was moved no longer works.
digest() {
    { pwd; cat "$@"; } | sha256sum
}

is_fresh() {  # STAMP FILE...
    [[ -f $1 && $(<"$1") == "$(digest "${@:2}")" ]]
}

# Which build of torch uv takes. It reads no pip configuration, so a folder of builds that is named there is pointed
# out; without one, uv chooses by the machine's GPU, or takes the BACKEND given.
locate_torch() {  # [BACKEND]
    local folders
    folders=$(python3 -m pip config get global.find-links 2>/dev/null || true)
    if [[ -n $folders ]]; then export UV_FIND_LINKS=$folders; else export UV_TORCH_BACKEND=${1:-auto}; fi
}

# Lets a torchvision built for CUDA, the only one on PyPI, be imported beside a torch built for CPUs.
mend_torchvision() {  # ENVIRONMENT
    "$1/bin/python" -c 'import torchvision' 2>/dev/null && return
    local site
    site=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp scripts/torchvision_ops.py "$site/"
    echo 'import torchvision_ops' >"$site/torchvision_ops.pth"
}

uv() {
    if command uv --version >/dev/null 2>&1; then
        command uv "$@"
        return
    fi
    if [[ ! -x .cache/uv/bin/uv ]]; then
        python3 -m venv .cache/uv && .cache/uv/bin/pip install -q --disable-pip-version-check uv ||
            fail "uv is missing and could not be installed: install Python 3.11 with its venv module, or uv"
    fi
    .cache/uv/bin/uv "$@"
}

# Sets `apt` to a command that may install packages, or fails.
apt_get() {
    command -v apt-get >/dev/null || return
    if [[ $EUID == 0 ]]; then
        apt=(apt-get)
    elif sudo -n true 2>/dev/null; then
        apt=(sudo -n apt-get)
    else
        return 1
    fi
}
