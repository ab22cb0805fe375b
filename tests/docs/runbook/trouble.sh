# The scenes of trouble: each is really brought about, and really over in the end.

unmounted_happens() { well; systemctl stop gdrive; echo new > "$repo/.codex-api/new"; remember; }
unmounted_well() { ends 0 'codex-api' status; is_live; is_newest; }

# The newest backup holds the live data.
is_newest() {
    rm -rf /srv/check
    x restore codex-api --to /srv/check
    is_data /srv/check/.codex-api
}

dead_happens() {
    systemctl stop gdrive
    mkdir cache
    cat > plug <<END
RCLONE_CONFIG=/dev/null setsid rclone mount '$night/disk' /mnt/gdrive --vfs-cache-mode writes --vfs-write-back 0s \
    --cache-dir '$night/cache' < /dev/null > /dev/null 2>&1 &
echo \$! > '$night/cache/pid'
for n in \$(seq 600); do mountpoint -q /mnt/gdrive && exit; sleep 0.05; done; exit 1
END
    systemctl start gdrive
    well
    for n in $(seq 600); do
        cmp -s <(cd /mnt/gdrive && find . | sort) <(cd disk && find . | sort) && break
        sleep 0.05
    done
    kill -KILL "$(cat cache/pid)"
    ! ls /mnt/gdrive 2> /dev/null
}
dead_well() { is_live; is_newest; umount -l /mnt/gdrive; }

wrong_drive_happens() { well; umount /mnt/gdrive; mount -t tmpfs none /mnt/gdrive; }
wrong_drive_well() { is_live; is_newest; }

damaged_happens() { well; damage "$(newest)"; }
damaged_well() {
    x status
    is_live
    is_newest
    # Its three files, and those of no other.
    [[ $(ls /srv/damaged | wc -l) == 3 && $(archives | wc -l) == 2 ]]
}

gpg_happens() {
    well
    mkdir ~/.config
    echo "CODEX_BACKUP_GPG_KEY='correct horse battery'" > ~/.config/codex-backup.env
    CODEX_BACKUP_GPG_KEY='correct horse battery' x backup --encrypt
}
gpg_well() { is_live; gpgconf --kill all; }

lost_key_happens() {
    well
    CODEX_BACKUP_GPG_KEY='nobody knows it' x backup --encrypt
}
lost_key_well() {
    is_newest
    # The key that lies in the safe opens it alone.
    mkdir -m 700 safe
    gpg -q --homedir safe --batch --import ~/backup-key.asc
    gpg -q --homedir safe --batch --decrypt "$(newest)" | tar -xz -C safe
    is_data safe/.codex-api
    gpgconf --homedir safe --kill all
    gpgconf --kill all
}

lost_manifest_happens() { well; rm "$(newest | sed 's/tar.gz$/manifest.jsonl.gz/')"; }
lost_manifest_well() { is_data /srv/restored/.codex-api; is_newest; ends 1 'is damaged' status; is_live; }

# Beside one that has lost it lies one that was never completed: it gets none.
lost_marker_happens() {
    well
    rm "$(newest).sha256"
    head -c 1000 "$(newest)" > /mnt/gdrive/codex-backups/2026/03-09/codex-api-2026-03-09T040000Z.tar.gz
}
lost_marker_well() {
    is_live
    is_newest
    [[ $(archives | wc -l) == 4 ]]
    [[ $(find /mnt/gdrive/codex-backups -name '*.sha256' | wc -l) == 3 ]]
}

lost_memory_happens() { well; rm -rf "$repo/.recovery"; }
lost_memory_well() { is_live; is_newest; [[ $(ls -A /srv/aside | wc -l) == 2 ]]; }

full_drive_happens() {
    well
    at 2026-03-10T13:00:00Z
    x backup --force
    head -c 100000 /dev/urandom > "$repo/.codex-api/more"
    remember
    mount -o remount,size=1200k disk
}
full_drive_well() { is_live; is_newest; }

over_quota_happens() {
    well
    at 2026-03-10T04:00:00Z
    x backup --force
    sed -i 's/^quota = .*/quota = "900 kB"/' "$repo/recovery.toml"
}
over_quota_well() { is_live; is_newest; }

wrong_clock_happens() {
    well
    at 2027-03-01T00:00:00Z
    echo z > "$repo/.codex-api/z"
    remember
    x backup
    ends 1 overdue status
    at 2026-03-10T12:00:00Z
    ends 3 'is dated in the future' restore codex-api --to /srv/back
    at 2027-03-01T00:00:00Z
}
wrong_clock_well() { is_live; is_newest; [[ -e /srv/damaged/2027 ]]; }

locked_happens() {
    well
    : > ~/hold
    (cd "$repo" && exec setsid cargo xtask restore-drill full --yes < /dev/null > "$night/drill.log" 2>&1) &
    until [[ -e ~/held ]]; do sleep 0.02; done
    cat > pause <<END
rm -f '$HOME/hold'
while kill -0 $(cat ~/xtask.pid) 2> /dev/null; do sleep 0.05; done
END
}
locked_well() { grep -q 'result: verified' drill.log; is_live; }

killed_backup_happens() {
    local run
    well
    head -c 100M /dev/urandom | split -b 1M -a 3 - "$repo/.codex-api/part-"
    remember
    (cd "$repo" && exec cargo xtask backup < /dev/null > /dev/null 2>&1) &
    run=$!
    until [[ $(archives | wc -l) == 3 ]]; do
        kill -0 "$run"
        sleep 0.01
    done
    kill -KILL "$run"
    wait "$run" || true
    newest > killed
    [[ ! -e $(cat killed).sha256 ]]
    ends 0 'has no .sha256: a run is writing it, or was killed' status
    at 2026-03-10T12:30:00Z
}
killed_backup_well() { is_live; is_newest; at 2026-03-12T00:00:00Z; x prune; [[ ! -e $(cat killed) ]]; }

killed_drill_happens() {
    well
    : > ~/kill
    (cd "$repo" && cargo xtask restore-drill full --yes < /dev/null > /dev/null 2>&1) || true
    [[ ! -e ~/kill && -e $repo/.recovery/drill.json ]]
    ends 1 'did not come to its end' status
}
killed_drill_well() { is_live; }

not_verified_happens() {
    well
    sed -i 's/^release-checks = .*/release-checks = ["node --check lost.js"]/' "$repo/recovery.toml"
}
not_verified_well() { is_live; }

no_service_happens() {
    well
    : > ~/limit
    ends 1 'the drill is open' restore-drill full --yes
}
no_service_well() { is_live; }

older_image_happens() {
    x snapshot --docker-image codex-completions-api:latest
    local b
    b=$(printf 'b%.0s' $(seq 64))
    : > ~/docker/images/"$b"
    printf %s "$b" > ~/docker/names/codex-completions-api:latest
    printf %s "$b" > ~/docker/running-app
}
older_image_well() { [[ $(head -c 3 ~/docker/running-app) == aaa ]]; ls ~/docker/names | grep -q before-; }
