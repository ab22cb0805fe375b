//! A `docker` for tests: a script that keeps images and names in a folder, takes the calls that the tool makes and no
//! others, and writes down each of them. It answers as docker 28 does, exit codes and words included.
use crate::support::{Outcome, Stack, outcome};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// `images/HEX` has the digests of an image, `names/N` a name and its image (N is the name with `/` as `%`), `used` the
/// names that containers use, `fail` what to fail at (`NUMBER HOW`), `down` that no daemon answers, `no-compose` that the
/// plugin is missing. A saved image is a tar with a `manifest.json`, as docker writes it, and with `images`: a name or
/// nothing, and an id, a line.
const DOCKER: &str = r##"#!/bin/sh
set -u
state=$HOME/docker
[ "${1-}" = --version ] && { echo "Docker version 28.2.2, build e6534b4"; exit 0; }
echo "$*" >> "$state/calls"
count=$(wc -l < "$state/calls")
refuse() { echo "unexpected: docker $*" >> "$state/unexpected"; echo "docker: unknown command: docker $1" >&2; exit 125; }
daemon() { if [ -e "$state/down" ]; then
    echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1; fi; }
if [ -e "$state/fail" ]; then
    read -r at how < "$state/fail"
    if [ "$at" = "$count" ]; then case $how in
        error) echo "Error response from daemon: injected" >&2; exit 1 ;;
        kill) kill -9 $PPID; exit 1 ;;
    esac; fi
fi
file() { printf %s "$1" | tr / %; }
full() { case $1 in *:*) echo "$1" ;; *) echo "$1:latest" ;; esac; }
id_of() {
    if [ -e "$state/images/${1#sha256:}" ]; then echo "${1#sha256:}"
    elif [ -e "$state/names/$(file "$(full "$1")")" ]; then cat "$state/names/$(file "$(full "$1")")"
    else return 1; fi
}
list() { sep=; printf '['; while read -r one; do printf '%s"%s"' "$sep" "$one"; sep=,; done; printf ']'; }
names_of() { for name in "$state"/names/*; do
    if [ -e "$name" ] && [ "$(cat "$name")" = "$1" ]; then basename "$name" | tr % /; fi; done; }
case "$1 ${2-}" in
"version --format")
    [ "$#" = 3 ] && [ "$3" = '{{.Server.Version}}' ] || refuse "$@"
    daemon; echo 28.2.2 ;;
"image inspect")
    [ "$#" = 3 ] || refuse "$@"
    daemon
    if id=$(id_of "$3"); then
        digests=$(list < "$state/images/$id"); [ "$digests" = '[]' ] && digests=null
        printf '[{"Id": "sha256:%s", "RepoTags": %s, "RepoDigests": %s, "Size": 7}]\n' "$id" "$(names_of "$id" | list)" "$digests"
    else echo '[]'; echo "Error response from daemon: No such image: $3" >&2; exit 1; fi ;;
"image tag")
    [ "$#" = 4 ] || refuse "$@"
    daemon
    if id=$(id_of "$3"); then printf %s "$id" > "$state/names/$(file "$(full "$4")")"
    else echo "Error response from daemon: No such image: $3" >&2; exit 1; fi ;;
"image rm")
    [ "$#" = 3 ] || refuse "$@"
    daemon
    name=$state/names/$(file "$3")
    if [ ! -e "$name" ]; then echo "Error response from daemon: No such image: $3" >&2; exit 1; fi
    id=$(cat "$name")
    if grep -qxF "$3" "$state/used" 2> /dev/null; then
        echo "Error response from daemon: conflict: unable to remove repository reference \"$3\" (must force) - container 0bd2b54678c7 is using its referenced image ${id%"${id#????????????}"}" >&2; exit 1; fi
    rm "$name"; echo "Untagged: $3"
    if [ -z "$(names_of "$id")" ]; then rm "$state/images/$id"; echo "Deleted: sha256:$id"; fi ;;
"image load")
    [ "$#" = 5 ] && [ "$3 $4" = "--quiet --input" ] || refuse "$@"
    daemon
    if [ ! -f "$5" ]; then echo "open $5: no such file or directory" >&2; exit 1; fi
    tar -xOf "$5" images > "$state/loading" || exit 1
    while read -r name id; do
        [ -e "$state/images/$id" ] || : > "$state/images/$id"
        if [ "$name" = - ]; then echo "Loaded image ID: sha256:$id"
        else printf %s "$id" > "$state/names/$(file "$name")"; echo "Loaded image: $name"; fi
    done < "$state/loading"
    rm "$state/loading" ;;
"compose "*)
    if [ -e "$state/no-compose" ]; then printf 'docker: unknown command: docker compose\n\nRun '"'docker --help'"' for more information\n' >&2; exit 1; fi
    env | sort > "$state/env"; pwd > "$state/cwd"
    shift
    if [ "$*" = version ]; then echo "Docker Compose version v2.36.2"; exit; fi
    files=
    while [ $# -gt 0 ]; do case $1 in
        -p) shift 2 ;;
        --env-file) if [ ! -e "$2" ]; then echo "couldn't find env file: $2" >&2; exit 1; fi; shift 2 ;;
        -f) if [ ! -e "$2" ]; then echo "open $2: no such file or directory" >&2; exit 1; fi; files=$2; shift 2 ;;
        config) [ "$*" = "config --quiet" ] && [ "$files" ] || refuse compose "$@"; exit 0 ;;
        up) [ "$#" = 4 ] && [ "$1 $2 $3" = "up -d --no-build" ] && [ "$files" ] || refuse compose "$@"
            daemon
            if ! grep -q "^  $4:" "$files"; then echo "no such service: $4" >&2; exit 1; fi
            image=$(sed -n "/^  $4:/,/image:/s/.*image: //p" "$files")
            if ! id=$(id_of "$image"); then echo "Error response from daemon: No such image: $image" >&2; exit 1; fi
            printf %s "$id" > "$state/running-$4"; echo " Container $4-1  Started" >&2; exit 0 ;;
        *) refuse compose "$@" ;;
    esac; done
    refuse compose ;;
*) refuse "$@" ;;
esac
"##;

/// An image's id: 64 times the same digit.
pub fn id(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A docker of its own for a stack; its images are called by one digit.
pub struct Engine<'a> {
    stack: &'a Stack,
}

impl<'a> Engine<'a> {
    /// Without images, and with compose files for `app` and `app-dev`.
    pub fn of(stack: &'a Stack) -> Self {
        stack.file("bin/docker", DOCKER);
        let script = stack.path("bin/docker");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("sets");
        stack.sh(".", "mkdir -p home/docker/images home/docker/names home/.cache/codex-backups");
        stack.file("repo/docker-compose.yml", "services:\n  app:\n    image: acme-api:latest\n");
        let dev = "services:\n  app-dev:\n    image: acme-api:dev\n";
        stack.file("repo/infra/compose/compose.dev.stack.yml", dev);
        // No snapshot takes it in.
        stack.file("repo/.env.dev", "PORT=1\n");
        stack.sh("repo", "if [ -d .git ]; then echo .env.dev >> .git/info/exclude; fi");
        Self { stack }
    }

    /// Adds an image with these names.
    pub fn image(&self, digit: char, names: &[&str]) {
        let hex = digit.to_string().repeat(64);
        let file = format!("home/docker/images/{hex}");
        if !self.stack.path(&file).exists() {
            self.stack.file(&file, "");
        }
        for name in names {
            self.stack.file(&format!("home/docker/names/{}", name.replace('/', "%")), &hex);
        }
    }

    /// The image, by its digit, that a name has.
    pub fn named(&self, name: &str) -> Option<char> {
        let file = self.stack.path(&format!("home/docker/names/{}", name.replace('/', "%")));
        fs::read_to_string(file).ok()?.chars().next()
    }

    /// All names, sorted, each with its image.
    pub fn names(&self) -> Vec<String> {
        let names = self.stack.files("home/docker/names");
        let named = names.iter().map(|name| name.replace('%', "/"));
        named.map(|name| format!("{name} {}", self.named(&name).expect("an image"))).collect()
    }

    /// The images, by their digits.
    pub fn images(&self) -> String {
        self.stack.files("home/docker/images").iter().filter_map(|name| name.chars().next()).collect()
    }

    /// The image that a service runs on.
    pub fn running(&self, service: &str) -> Option<char> {
        let file = self.stack.path(&format!("home/docker/running-{service}"));
        fs::read_to_string(file).ok()?.chars().next()
    }

    /// A file of the state, empty or with this content.
    pub fn set(&self, name: &str, content: &str) {
        self.stack.file(&format!("home/docker/{name}"), content);
    }

    pub fn unset(&self, name: &str) {
        let _ = fs::remove_file(self.stack.path(&format!("home/docker/{name}")));
    }

    /// The calls since the last look.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.stack.path("home/docker/calls")).unwrap_or_default();
        self.unset("calls");
        calls.lines().map(str::to_owned).collect()
    }

    /// Saves images as `docker image save` would: lines of a name (or `-`) and a digit.
    pub fn saved(&self, file: &str, images: &[(&str, char)]) {
        self.saved_at(&format!("home/.cache/codex-backups/{file}"), images);
    }

    /// The same at any path of the stack.
    pub fn saved_at(&self, file: &str, images: &[(&str, char)]) {
        let hex = |digit: char| digit.to_string().repeat(64);
        let lines: String = images.iter().map(|(name, digit)| format!("{name} {}\n", hex(*digit))).collect();
        let list: Vec<Value> = images
            .iter()
            .map(|(name, digit)| {
                let tags = if *name == "-" { Value::Null } else { json!([name]) };
                json!({"Config": format!("blobs/sha256/{}", hex(*digit)), "RepoTags": tags, "Layers": []})
            })
            .collect();
        self.stack.file("saving/images", &lines);
        self.stack.file("saving/manifest.json", &Value::Array(list).to_string());
        let tar = "tar -cf \"$file\" -C saving images manifest.json; rm -r saving";
        self.stack.sh(".", &format!("file='{file}'; mkdir -p \"$(dirname \"$file\")\"; {tar}"));
    }

    /// Runs the tool with this docker, which must have been called as docker is called.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.run_with(&[], args)
    }

    /// The same with more in its environment.
    pub fn run_with(&self, env: &[(&str, &str)], args: &[&str]) -> Outcome {
        let path = format!("{}:{}", self.stack.path("bin").display(), std::env::var("PATH").expect("a path"));
        let outcome = outcome(self.stack.command(args).env("PATH", path).envs(env.iter().copied()));
        let unexpected = fs::read_to_string(self.stack.path("home/docker/unexpected"));
        assert!(unexpected.is_err(), "{unexpected:?}\n{}", outcome.shown());
        outcome
    }
}
