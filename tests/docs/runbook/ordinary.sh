# The scenes of the ordinary day: what there is before a section's commands, and what must be true behind them.

configured_happens() { remember; }
configured_well() { is_live; [[ ! -e /mnt/gdrive/codex-backups ]]; }

prepared_happens() { :; }
prepared_well() {
    [[ $(stat -c %a ~/.config/codex-backup.env) == 600 ]]
    . ~/.config/codex-backup.env
    [[ ${#CODEX_BACKUP_GPG_KEY} -ge 40 ]]
}

# Runs a line of a crontab, as cron does; it must have nothing to mail.
cron() {
    local line
    read -r _ _ _ _ _ line <<< "$1"
    line=$(RECOVERY_NOW=$RECOVERY_NOW sh -c "${line//\\%/%}")
    [[ -z $line ]] || { echo "cron would mail: $line" >&2; return 1; }
}

# Of an older line of this tool, and of one that is somebody else's.
daily_happens() {
    echo '5 5 * * * certbot renew' > ~/crontab
    x schedule cron --at 04:00
    cat ~/said >> ~/crontab
}
daily_well() {
    [[ $(head -n 1 ~/crontab) == *certbot* && $(wc -l < ~/crontab) == 5 ]]
    grep -v '^#' ~/crontab | grep xtask > lines
    [[ $(wc -l < lines) == 2 ]]
    x snapshot
    # The first day has its full drill, the second one its spot drill: from then on all is well.
    RECOVERY_NOW=2026-03-10T03:23:00Z cron "$(head -n 1 lines)"
    RECOVERY_NOW=2026-03-11T03:23:00Z cron "$(head -n 1 lines)"
    RECOVERY_NOW=2026-03-11T08:23:00Z cron "$(tail -n 1 lines)"
    [[ -n $(newest) ]]
    [[ $(ls "$repo"/docs/drills/*-full.json | wc -l) == 1 ]]
}

# Those that are pruned: four commits before.
released_happens() {
    local day
    for day in 3 4 5 6; do
        GIT_COMMITTER_DATE=2026-02-0${day}T00:00:00Z git -C "$repo" commit -q --allow-empty -m "on $day"
        x snapshot
    done
    git -C "$repo" checkout -q v1.4.2
}
released_well() {
    [[ $(ls "$repo"/releases/*.tar.gz | wc -l) == 3 ]]
    ends 0 unchanged snapshot
}

published_happens() { x snapshot; }
published_well() {
    grep -q '"release_url": "https://github.com/acme/api/releases/tag/v1.4.2"' "$repo"/releases/*.lock.json
    [[ $(cat ~/forge/published) == v1.4.2 && ! -e ~/forge/releases/v1.4.2/draft ]]
}

by_hand_happens() { x snapshot; }
by_hand_well() {
    [[ $(ls ~/forge/releases/v1.4.2/assets | wc -l) == 3 ]]
    (cd "$repo/releases" && sha256sum --check --quiet SHA256SUMS)
}

backed_up_happens() {
    local day
    for day in 1 2 3 4 5 6 7 8; do
        at 2025-12-0${day}T03:00:00Z
        x backup --force
    done
    at 2026-03-10T12:00:00Z
    echo more > "$repo/.codex-api/more"
    remember
}
backed_up_well() {
    # Of the eight days the newest seven days, the weeks and the month keep what they keep; the first day is in no rule.
    [[ $(archives | grep -c 2026) == 1 && $(archives | wc -l) -lt 9 ]]
    x restore codex-api --to /srv/back
    is_data /srv/back/.codex-api
}

encrypted_happens() {
    mkdir ~/.config
    echo "CODEX_BACKUP_GPG_KEY='correct horse battery'" > ~/.config/codex-backup.env
    x backup
    remember
}
encrypted_well() {
    [[ $(archives | grep -c 'gpg$') == 1 ]]
    CODEX_BACKUP_GPG_KEY='correct horse battery' x restore "$(newest)" --to /srv/back
    is_data /srv/back/.codex-api
}

spot_happens() { x snapshot; x backup; remember; }
spot_well() { is_live; grep -q '"result": "verified"' "$repo"/docs/drills/*-spot.json; }

full_happens() { x snapshot; x backup; x restore-drill; remember; }
full_well() {
    is_live
    grep -q '"result": "verified"' "$repo"/docs/drills/*-full.json
    [[ -e /srv/codex-live/server.js && ! -e $repo/.recovery/drill.json ]]
}

evidence_happens() { x snapshot; x backup; x restore-drill; }
evidence_well() { git -C "$repo" ls-files docs/drills | grep -q restore-checklist.md; }

answered_happens() { well; }
answered_well() { is_live; }

monitored_happens() { well; }
monitored_well() { grep -q '^recovery_overdue' /srv/textfile/recovery.prom; grep -q '"status": *"ok"' /srv/textfile/status.json; }

roomy_happens() {
    well
    head -c 300000 /dev/urandom > "$repo/.codex-api/more"
    sed -i 's/^quota = .*/quota = "1.4 MB"/' "$repo/recovery.toml"
    x backup
}
roomy_well() { ends 0 '(90 %)' status; }

pruned_happens() {
    well
    at 2026-03-10T04:00:00Z
    x backup --force
    at 2026-03-10T05:00:00Z
    x backup --force
    at 2026-03-10T12:00:00Z
    archives | wc -l > count
}
pruned_well() { [[ $(archives | wc -l) -lt $(cat count) ]]; is_live; x verify; }
