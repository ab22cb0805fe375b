//! A real service of the test's own: an HTTP server that reads its data folder, and the commands that stop, start and
//! check it.
use crate::support::{Outcome, Stack};
use std::path::Path;

/// Answers with the digest of every file that it finds in its data folder at that moment, and writes down each visit if it
/// is told to. It ends by itself when another has taken its place, or its folder is gone: no test leaves one behind.
const SERVER: &str = r#"
import hashlib, http.server, os, sys, threading, time

data, run, visits = sys.argv[1], sys.argv[2], sys.argv[3:] == ["visits"]

def listing():
    lines = []
    for folder, folders, files in os.walk(data):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    lines.append(os.path.relpath(path, data) + " " + hashlib.sha256(file.read()).hexdigest())
    return "\n".join(sorted(lines)) + "\n"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if visits:
                with open(os.path.join(data, "visits"), "a") as file:
                    file.write(self.path + "\n")
            body, code = listing().encode(), 200
            with open(os.path.join(data, "config.toml"), "rb"):
                pass
        except OSError as error:
            body, code = str(error).encode(), 500
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.makedirs(run, exist_ok=True)
for name, text in [("pid", os.getpid()), ("port", server.server_address[1])]:
    with open(os.path.join(run, name + ".new"), "w") as file:
        file.write(str(text))
    os.rename(os.path.join(run, name + ".new"), os.path.join(run, name))
while True:
    time.sleep(0.1)
    try:
        with open(os.path.join(run, "pid")) as file:
            if file.read() != str(os.getpid()):
                sys.exit(0)
    except OSError:
        sys.exit(0)
"#;

const START: &str = r#"
rm -f "$1/port" "$1/pid"
python3 "$(dirname "$0")/server.py" "$2" "$1" $3 &
for _ in $(seq 400); do test -s "$1/port" && exit 0; sleep 0.025; done
echo "the service does not answer" >&2; exit 1
"#;

const STOP: &str = r#"
pid=$(cat "$1/pid" 2>/dev/null) || exit 0
rm -f "$1/pid"
kill "$pid" 2>/dev/null || exit 0
for _ in $(seq 400); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.025; done
echo "the service does not end" >&2; exit 1
"#;

/// Prints what the service answers; fails when it does not, or not well.
const ASK: &str = r#"
import sys, urllib.request
with open(sys.argv[1] + "/port") as file:
    port = file.read()
sys.stdout.write(urllib.request.urlopen(f"http://127.0.0.1:{port}/all", timeout=10).read().decode())
"#;

/// Lays the programs of the service into `service`. With PORT in its environment it listens there, and else where there is
/// room.
pub fn install(stack: &Stack) {
    for (name, text) in [("server.py", SERVER), ("start.sh", START), ("stop.sh", STOP), ("ask.py", ASK)] {
        stack.file(&format!("service/{name}"), text);
    }
}

/// A stack whose service runs on its data; `more` goes to `[drill]`, and `visits` has it write to its data.
pub fn stack(more: &str, visits: bool) -> Stack {
    let stack = Stack::new();
    add(&stack, more, visits);
    stack
}

/// Gives a stack such a service.
pub fn add(stack: &Stack, more: &str, visits: bool) {
    install(stack);
    configure(stack, more, visits);
    stack.run(&["snapshot"]).ok();
    start(stack);
}

/// Writes the configuration of a stack with a service.
pub fn configure(stack: &Stack, more: &str, visits: bool) {
    let home = stack.path("").display().to_string();
    let visits = if visits { " visits" } else { "" };
    stack.configure(&format!(
        "[drill]\nstop = \"sh {home}service/stop.sh {home}run\"\n\
         start = \"sh {home}service/start.sh {home}run {home}repo/.codex-api{visits}\"\n\
         smoke = [\"python3 {home}service/ask.py {home}run\"]\ndeploy-dir = \"{home}deployed\"\n{more}"
    ));
}

pub fn start(stack: &Stack) {
    let home = stack.path("").display().to_string();
    // The service outlives the shell, and holds none of its streams.
    stack.sh(".", &format!("sh service/start.sh {home}run {home}repo/.codex-api </dev/null >/dev/null 2>&1"));
}

/// What the service answers.
pub fn answer(stack: &Stack) -> String {
    stack.sh(".", "python3 service/ask.py run")
}

/// What it must answer.
pub fn expected(stack: &Stack) -> String {
    stack.sh(
        "repo/.codex-api",
        r#"find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0r sha256sum | sed -E 's/^([0-9a-f]+) .(.*)$/\2 \1/' | LC_ALL=C sort"#,
    )
}

/// The live data is what it was, and the service runs on it.
#[track_caller]
pub fn is_live(stack: &Stack, live: &str) {
    assert_eq!(stack.listing("repo/.codex-api"), live, "the live data is not what it was");
    assert_eq!(answer(stack), expected(stack), "the service does not run on the live data");
}

pub fn full(stack: &Stack, more: &[&str]) -> Outcome {
    stack.run(&[&["restore-drill", "full", "--yes", "--json"], more].concat())
}

/// Private folders of drills that hold anything.
pub fn asides(stack: &Stack) -> Vec<String> {
    let found = stack.sh(".", "find . -maxdepth 3 -name '.recovery-full-*' | LC_ALL=C sort");
    found.lines().map(str::to_owned).collect()
}

/// No drill is open.
pub fn is_closed(stack: &Stack) -> bool {
    !Path::new(&stack.path("repo/.recovery/drill.json")).exists()
}
