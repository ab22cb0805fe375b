# The night of the runbook, in a mount namespace: /srv and /mnt are its own, and so are the locks. Sourced by bash -eu, in
# the folder of the stack; then the scene's file, of which one function is called.
night=$PWD
repo=/srv/codex-completions-api

# Lays the repository and the drive to where the runbook has them, and starts the service.
falls() {
    local folder
    mkdir -p srv disk
    mv repo srv/codex-completions-api
    ln -s srv/codex-completions-api repo
    mount --bind srv /srv
    mount -t tmpfs none disk
    mkdir -p /mnt/gdrive /srv/codex-live /srv/textfile
    for folder in /run/lock /var/lock; do
        [[ ! -d $folder || -L $folder ]] || mount -t tmpfs -o mode=1777 none "$folder"
    done
    echo "${PATH#*:}" > path
    echo "mount --bind '$night/disk' /mnt/gdrive" > plug
    # The loopback device of a new network namespace is down.
    python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))'
    git config --global user.name operator
    git config --global user.email operator@example.org
    at 2026-03-08T12:00:00Z
    # So that sizes are what they are: this does not get smaller.
    head -c 320000 /dev/urandom > "$repo/.codex-api/noise.bin"
    systemctl start gdrive
    systemctl start codex-completions-api
    git -C "$repo" archive HEAD | tar -x -C /srv/codex-live
}

# Sets the clock of the tool.
at() { echo "$1" > "$HOME/clock"; }

# Runs the tool, which has to succeed; what it says is shown when it does not.
x() { (cd "$repo" && cargo xtask "$@" > "$HOME/said" 2>&1) || { cat "$HOME/said" >&2; return 1; }; }

# Runs the tool, which has to end with this code, and to say this.
ends() {
    local code=0 wanted=$1 text=$2
    shift 2
    (cd "$repo" && cargo xtask "$@" > "$HOME/said" 2>&1) || code=$?
    [[ $code == "$wanted" ]] && grep -qF "$text" "$HOME/said" && return
    echo "exit $code, not $wanted with '$text': $*" >&2
    cat "$HOME/said" >&2
    return 1
}

# What the live data is; remembered, and compared.
listing() { (cd "$1" && find . -printf '%P %y %m %T@ %l\n' | LC_ALL=C sort && find . -type f -print0 | sort -z | xargs -0r sha256sum); }
remember() { listing "$repo/.codex-api" > "$night/before"; }
# Plain tar has whole seconds.
whole() { sed -E 's/^(.* [0-7]+ -?[0-9]+)\.[0-9]+/\1/'; }
is_data() { diff <(whole < "$night/before") <(listing "$1" | whole); }
is_live() {
    is_data "$repo/.codex-api"
    python3 "$night/service/ask.py" "$night/run" > "$night/answer"
    (cd "$repo/.codex-api" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0r sha256sum |
        sed -E 's/^([0-9a-f]+) .(.*)$/\2 \1/' | LC_ALL=C sort) | diff - "$night/answer"
}

archives() { find /mnt/gdrive/codex-backups -name 'codex-api-*.tar.*' ! -name '*.sha256' | LC_ALL=C sort; }
newest() { archives | tail -n 1; }
# Changes one byte in the middle of a file.
damage() {
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(0, 2); at = file.tell() // 2
    file.seek(at); byte = file.read(1)[0]
    file.seek(at); file.write(bytes([byte ^ 64]))' "$1"
}

# All is well: a release, backups of two days, both drills, and their evidence in the repository.
well() {
    at 2026-03-09T03:23:00Z
    x snapshot
    rm -r /srv/codex-live
    x restore "$repo"/releases/*.tar.gz --to /srv/codex-live
    x backup
    echo more > "$repo/.codex-api/more"
    at 2026-03-10T03:23:00Z
    x backup
    x restore-drill
    x restore-drill full --yes
    git -C "$repo" add docs
    git -C "$repo" commit -qm evidence
    at 2026-03-10T12:00:00Z
    x status
    remember
}

# From here on there is no tool: only what any Linux has, and gpg and zstd.
without_tool() {
    local name
    mkdir few
    for name in sh ls cat head tail sed grep sort tr cut cmp find xargs dirname basename mkdir mv cp rm printf chmod \
        mktemp env id uname tar gzip zcat zstd zstdcat gpg gpgconf sha256sum curl; do
        ln -s "$(PATH=$(cat "$night/path") command -v "$name" || echo "/bin/$name")" "few/$name"
    done
    ln -s "$night/bin/systemctl" few/systemctl
    rm "$night/bin/cargo"
}
