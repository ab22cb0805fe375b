# The scenes in which the machine is gone: what is left is the drive, the forge and a passphrase or a key.

# The machine is gone; the drive, the forge and the home of whoever sits at the new one are not.
gone() {
    git -C "$repo" push -q "$night/forge.git" main v1.4.2
    systemctl stop codex-completions-api
    systemctl stop gdrive
    find "$repo" /srv/codex-live -mindepth 1 -delete
    rmdir "$repo" /srv/codex-live
    rm -rf /srv/.recovery-full-*
}
published() {
    git init -q --bare -b main "$night/forge.git"
    x publish
}

with_tool_happens() {
    well
    published
    gone
    git config --global "url.$night/forge.git.insteadOf" https://github.com/acme/api.git
}
with_tool_well() {
    is_live
    [[ -e /srv/codex-live/server.js && $(archives | wc -l) -ge 2 ]]
    [[ ! -e /srv/codex-live/recovery.toml || -e /srv/codex-live/package.json ]]
}

plain_happens() {
    well
    published
    gone
    systemctl start gdrive
    mkdir /srv/download
    cp ~/forge/releases/v1.4.2/assets/* /srv/download
    without_tool
}
plain_well() { is_live; [[ -e /srv/codex-live/server.js ]]; }

# A backup that is made as `recovery.toml` says with this line more.
made_with() {
    sed -i "s|^mount = .*|&\n$1|" "$repo/recovery.toml"
    remember
    x snapshot
    x backup
    published
    gone
    systemctl start gdrive
    without_tool
}

zstd_happens() { made_with 'compression = "zstd"'; }
zstd_well() { is_data /srv/restored/.codex-api; }

passphrase_happens() {
    mkdir ~/.config
    echo "CODEX_BACKUP_GPG_KEY='correct horse battery'" > ~/.config/codex-backup.env
    . ~/.config/codex-backup.env
    export CODEX_BACKUP_GPG_KEY
    made_with 'passphrase-env = "CODEX_BACKUP_GPG_KEY"'
}
passphrase_well() { is_data /srv/restored/.codex-api; gpgconf --kill all; }

key_happens() {
    local name
    for name in machine safe; do
        gpg -q --batch --passphrase '' --quick-generate-key "codex $name <$name@example.org>" default default never
    done
    gpg --armor --export-secret-keys safe@example.org > ~/backup-key.asc
    made_with 'recipients = ["machine@example.org", "safe@example.org"]'
    gpgconf --kill all
    rm -rf ~/.gnupg
}
key_well() { is_data /srv/restored/.codex-api; gpgconf --kill all; }

one_file_happens() { well; printf 'ruined' > "$repo/.codex-api/config.toml"; }
one_file_well() { is_live; }
