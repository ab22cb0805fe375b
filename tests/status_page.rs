//! The page of `status --html` in a real browser: what it shows is what `--json` says, it fits a telephone, can be read in
//! light and in dark, fetches nothing and runs nothing.
use super::support::{NOW, Outcome, Stack, outcome};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::drill::evidence::render::duration;
use xtask::ui::{bytes, span};

const LATER: &str = "2026-03-14T15:00:00Z";

/// A stack with a past: releases, two sets on two drives, one nearly full, drills of both kinds, and what is wrong.
fn lived() -> Stack {
    let stack = Stack::new();
    configure(&stack, &stack.path("usb").display().to_string());
    stack.sh("repo", "mkdir db; head -c 200000 /dev/urandom > db/rows; echo db/ >> .gitignore");
    fs::create_dir(stack.path("usb")).expect("makes a folder");
    for day in 1..=13 {
        let now = format!("2026-03-{day:02}T03:00:{day:02}Z");
        stack.sh("repo", &format!("head -c {} /dev/urandom > .codex-api/log-{day}", 20_000 * day));
        if day % 4 == 1 {
            stack.commit(&format!("day {day}"), &now);
            stack.run_at(&now, &["snapshot", "--version", &format!("1.{day}")]).ok();
        }
        if day % 5 != 0 {
            stack.run_at(&now, &["backup"]).ok();
        }
        if day % 3 == 0 {
            stack.run_at(&now, &["restore-drill"]).ok();
        }
    }
    stack.run_at("2026-03-13T04:00:00Z", &["restore-drill", "full", "--yes"]).ok();
    stack.file("drive/2026/03-09/codex-api-2026-03-09T120000Z.tar.gz", "begun");
    stack
}

fn configure(stack: &Stack, usb: &str) {
    let drive = stack.path("drive").display().to_string();
    let usb = Value::from(usb).to_string();
    stack.file(
        "repo/recovery.toml",
        &format!(
            "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\ndestination = [\"drive\", \"usb\"]\n\
             backup-every = \"26h\"\n[data.db]\nsource = \"db\"\ndestination = \"drive\"\n\
             [destination.drive]\npath = \"{drive}\"\nkeep = 30\nquota = \"14 MB\"\n[destination.usb]\npath = {usb}\n\
             [drill]\nrpo-target = \"26h\"\nrto-target = \"15m\"\nspot-every = \"31d\"\n\
             stop = \"true\"\nstart = \"true\"\ndeploy = \"true\"\nsmoke = [\"true\"]\n"
        ),
    );
}

/// The page and the document of one run.
fn page(stack: &Stack, now: &str, code: i32) -> (String, Value) {
    let document = stack.run_at(now, &["status", "--json", "--html", "../page.html"]).exits(code).json();
    (fs::read_to_string(stack.path("page.html")).expect("reads"), document)
}

/// The browser, by the name that it has here.
fn browser() -> &'static str {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(there).expect("a browser: scripts/tools chromium")
}

/// Opens a file of the stack, without a network, and ends.
fn browse(stack: &Stack, file: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "240", browser()]);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.args(["--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    let profile = tempfile::tempdir_in(stack.path("home")).expect("a folder");
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.args(args).arg(format!("file://{}", stack.path(file).display()));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", stack.path("home")).env("TMPDIR", stack.path("home"));
    outcome(&mut command).ok()
}

/// The document as the browser understands a file.
fn dom(stack: &Stack, file: &str) -> String {
    browse(stack, file, &["--dump-dom"]).stdout
}

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from:?} in {text}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?} behind {from:?}")).0
}

/// Each value that the page shows: its place in the document, the value, and the text beside it.
fn shown(dom: &str) -> Vec<(String, String, String)> {
    let one = |part: &str| {
        let (attributes, rest) = part.split_once('>').expect("the end of a tag");
        let key = attributes.split('"').next().expect("a key");
        let value = attributes.split("=\"").nth(1).expect("a value").split('"').next().expect("a value");
        (key.to_owned(), value.to_owned(), rest.split('<').next().expect("text").to_owned())
    };
    dom.split("data-key=\"").skip(1).map(one).collect()
}

/// How a number of the document is written for people.
fn written(key: &str, value: &Value) -> String {
    let number = value.as_f64().unwrap_or_default();
    match key.rsplit('/').next().unwrap_or_default() {
        "bytes" | "used_bytes" | "free_bytes" | "quota_bytes" => bytes(number as u64),
        "age_seconds" | "proven_age_seconds" => {
            format!("{} ago", span(SignedDuration::from_secs(number as i64)))
        }
        "rto_seconds" | "rpo_seconds" => duration(Some(number)),
        "count" => number.to_string(),
        _ => value.as_str().unwrap_or_default().replace('T', " ").chars().take(16).collect(),
    }
}

#[test]
fn the_page_shows_what_the_document_says() {
    let stack = lived();
    let (_, document) = page(&stack, LATER, 1);
    let dom = dom(&stack, "page.html");
    let mut seen = BTreeSet::new();
    for (key, value, text) in shown(&dom) {
        let there = document.pointer(&key).unwrap_or_else(|| panic!("the document has no {key}"));
        let real = there.as_str().map_or_else(|| there.to_string(), str::to_owned);
        assert_eq!(value, real, "{key}");
        if key != "/recovery/possible" {
            assert_eq!(text, written(&key, there), "{key}");
        }
        seen.insert(key);
    }
    let mut wanted: BTreeSet<String> =
        ["possible", "to", "age_seconds", "rto_seconds", "proven_at", "proven_age_seconds"]
            .map(|name| format!("/recovery/{name}"))
            .into();
    let count = |list: &str| document[list].as_array().map_or(0, Vec::len);
    assert_eq!((count("data"), count("destinations"), count("releases")), (3, 2, 4), "{document}");
    let lists: [(&str, &[&str]); 3] = [
        ("data", &["created_at", "age_seconds", "bytes", "count"]),
        ("destinations", &["used_bytes", "free_bytes"]),
        ("releases", &["created_at", "bytes"]),
    ];
    for (list, names) in lists {
        for index in 0..count(list) {
            wanted.extend(names.iter().map(|name| format!("/{list}/{index}/{name}")));
        }
    }
    wanted.insert("/destinations/0/quota_bytes".into());
    for kind in ["spot", "full"] {
        let drills = document["drills"].as_array().expect("drills");
        let last = drills.iter().rposition(|drill| drill["kind"] == kind).expect("one");
        wanted.extend(
            ["started_at", "rto_seconds", "rpo_seconds"].map(|name| format!("/drills/{last}/{name}")),
        );
    }
    let lost: Vec<&String> = wanted.difference(&seen).collect();
    assert!(lost.is_empty(), "not on the page: {lost:?}");
    // A plot for size, time and age of each set, and one for each kind of drill.
    assert_eq!(dom.matches("<svg class=\"plot\"").count(), 8);
    assert!(dom.contains("Recovery time, spot drills") && dom.contains("Recovery time, full drills"));
    assert_eq!(dom.matches("<svg class=\"plot\"").count(), dom.matches("<desc id=").count());
    for finding in document["findings"].as_array().expect("findings") {
        let what = finding["what"].as_str().expect("text").replace('&', "&amp;");
        assert!(dom.contains(&what), "no {what:?}");
    }
}

/// The answer as text, as a document and as a page.
#[test]
fn the_answer_is_the_same_everywhere() {
    let stack = Stack::configured();
    let answer = |code: i32| {
        let text = stack.run(&["status"]).exits(code).stdout;
        let (page, document) = page(&stack, NOW, code);
        (text.lines().next().unwrap_or_default().to_owned(), document["recovery"].clone(), page)
    };
    let (line, recovery, html) = answer(1);
    let why = "codex-api has no sound backup at a destination that is there";
    assert!(line.starts_with(&format!("could we recover now? NO: {why};")), "{line}");
    assert_eq!((&recovery["possible"], &recovery["to"]), (&false.into(), &Value::Null));
    assert_eq!(recovery["reasons"], serde_json::json!([why]));
    assert!(html.contains(">No</span>") && html.contains(why));
    stack.run_at("2026-03-10T10:00:00Z", &["backup"]).ok();
    stack.run_at("2026-03-10T11:00:00Z", &["restore-drill"]).ok();
    let (line, recovery, html) = answer(0);
    assert!(
        line.starts_with("could we recover now? yes, to 2026-03-10T10:00:00Z (2 h ago); took "),
        "{line}"
    );
    assert!(
        line.ends_with("in the last spot drill that measured it; last proven 1 h ago by a spot drill"),
        "{line}"
    );
    assert_eq!(
        (&recovery["possible"], &recovery["to"], &recovery["age_seconds"], &recovery["rto_of"]),
        (&true.into(), &"2026-03-10T10:00:00Z".into(), &7200.into(), &"spot".into())
    );
    assert_eq!(recovery["proven_at"], "2026-03-10T11:00:00Z");
    assert!(recovery["rto_seconds"].is_number() && html.contains(">Yes</span>"), "{recovery}");
    // Damage takes it back, and so does a drive that is away.
    super::support::flip(&stack.one("drive", ".tar.gz"), 200);
    stack.run(&["verify"]).exits(1);
    assert_eq!(answer(1).1["possible"], false);
}

/// A page around the page, as wide as a screen, that says in its title what its script has found.
fn measured(stack: &Stack, width: u32, scheme: &str, script: &str) -> String {
    let page = fs::read_to_string(stack.path("page.html")).expect("reads");
    let inner = page.replace('&', "&amp;").replace('"', "&quot;");
    let around = format!(
        "<!DOCTYPE html><title>-</title><meta name=\"color-scheme\" content=\"{scheme}\"><style>:root {{ color-scheme: {scheme} }}</style>
         <iframe id=\"f\" width=\"{width}\" height=\"900\" style=\"border: 0; color-scheme: {scheme}\" srcdoc=\"{inner}\"></iframe>
         <script>addEventListener('load', () => {{
           const frame = document.getElementById('f'), inner = frame.contentDocument, look = frame.contentWindow;
           {script}
         }})</script>"
    );
    fs::write(stack.path("around.html"), around).expect("writes");
    between(&dom(stack, "around.html"), "<title>", "</title>").to_owned()
}

#[test]
fn the_page_fits_screens_of_every_width() {
    let stack = lived();
    page(&stack, LATER, 1);
    // The widest thing tells what is wrong.
    let script = "const wide = [...inner.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > look.innerWidth + 0.5);
        document.title = `${look.innerWidth} ${inner.documentElement.scrollWidth} ${wide.map(e => e.tagName + ' ' + e.textContent.slice(0, 40)).slice(0, 3)}`;";
    for width in [360, 768, 1280] {
        assert_eq!(measured(&stack, width, "light", script).trim(), format!("{width} {width}"));
    }
    for width in ["360", "768", "1280"] {
        let shot = stack.path(&format!("{width}.png"));
        browse(
            &stack,
            "page.html",
            &[&format!("--window-size={width},1600"), &format!("--screenshot={}", shot.display())],
        );
        assert!(fs::read(&shot).expect("a picture").starts_with(b"\x89PNG"), "{width}");
    }
}

/// WCAG 2 (AA) asks for 4.5 between the lightness of letters and of what is behind them.
#[test]
fn letters_stand_out_in_light_and_in_dark() {
    let stack = lived();
    page(&stack, LATER, 1);
    let script = "const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
        const light = colour => { const [r, g, b] = numbers(colour).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = e => { for (; e; e = e.parentElement) { const c = look.getComputedStyle(e).backgroundColor; const n = numbers(c);
          if (n.length < 4 || n[3] > 0) return c; } return 'rgb(255, 255, 255)'; };
        const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !['TITLE', 'STYLE', 'title', 'desc'].includes(e.tagName);
        const rated = [...inner.body.querySelectorAll('*')].filter(own).map(e => { const s = look.getComputedStyle(e);
          const [a, b] = [light(e.tagName === 'text' ? s.fill : s.color), light(behind(e))].sort((x, y) => y - x); return [(a + 0.05) / (b + 0.05), e]; });
        const [least, where] = rated.sort((x, y) => x[0] - y[0])[0];
        document.title = `${look.getComputedStyle(inner.body).backgroundColor} ${rated.length > 50} ${Math.floor(least * 10) / 10} ${where.tagName} ${where.className} ${where.textContent.trim().slice(0, 20)}`;";
    let mut backs = BTreeSet::new();
    for scheme in ["light", "dark"] {
        let said = measured(&stack, 768, scheme, script);
        let (back, rest) = said.split_once(") ").expect("a colour");
        let mut words = rest.split(' ');
        assert_eq!(words.next(), Some("true"), "{said}");
        let least: f64 = words.next().and_then(|word| word.parse().ok()).expect("a number");
        assert!(least >= 4.5, "{scheme}: {said}");
        backs.insert(back.to_owned());
    }
    assert_eq!(backs.len(), 2, "dark is dark: {backs:?}");
}

/// A drive in a folder that would be a script, if anything were not escaped.
fn hostile(stack: &Stack) -> PathBuf {
    stack.path("<script>document.title=\"owned\"</script><img src=x onerror=\"document.title='owned'\">")
}

#[test]
fn names_are_shown_and_never_run() {
    let stack = lived();
    let drive = hostile(&stack);
    fs::create_dir_all(&drive).expect("makes folders");
    configure(&stack, drive.to_str().expect("UTF-8"));
    stack.run_at(LATER, &["backup"]).ok();
    fs::create_dir_all(drive.join("2026/03-01")).expect("makes folders");
    fs::write(drive.join("2026/03-01/codex-api-2026-03-01T120000Z.tar.gz"), "begun").expect("writes");
    let (html, document) = page(&stack, LATER, 0);
    assert!(document["findings"].to_string().contains("onerror"), "{document}");
    // Escaped is enough, without the policy that forbids scripts as well.
    let policy = between(&html, "<meta http-equiv=\"Content-Security-Policy\"", ">");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    fs::write(stack.path("open.html"), html.replace(policy, "")).expect("writes");
    for file in ["page.html", "open.html"] {
        let dom = dom(&stack, file);
        assert_eq!(between(&dom, "<title>", "</title>"), "Recovery of acme-api", "{file}");
        assert!(!dom.contains("<script") && !dom.contains("<img"), "{file}");
        assert!(dom.contains("&lt;script&gt;document.title=\"owned\""), "{file}");
    }
    fetches_nothing(&html);
}

fn fetches_nothing(html: &str) {
    // Names may hold anything: they are text. What is looked at is markup.
    let tags: Vec<&str> = html.split('<').skip(1).filter_map(|part| part.split('>').next()).collect();
    for tag in &tags {
        for word in [" src=", "srcset=", "@import", "url(", "http:", "https:", "<link", "<object", "<iframe"]
        {
            assert!(!tag.contains(word), "{tag}");
        }
        let href = tag.split(" href=\"").nth(1);
        assert!(href.is_none_or(|to| to.starts_with('#')), "{tag}");
    }
    let style = between(html, "<style>", "</style>");
    assert!(!style.contains("url(") && !style.contains("@import"));
    for name in ["script", "link", "img", "iframe", "object", "form"] {
        assert!(!tags.iter().any(|tag| tag.split(' ').next() == Some(name)), "{name}");
    }
}

/// As the file of numbers: replaced as a whole, and nothing but a plain file.
#[test]
fn the_file_of_the_page_is_replaced_as_that_of_the_numbers_is() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let document = stack.run(&["status", "--json", "--html", "../none/x.html"]).exits(1).json();
    assert!(document["findings"].to_string().contains("x.html"), "{document}");
    stack.sh(".", "mkfifo pipe; ln -s target link; touch target");
    for name in ["pipe", "link", "home"] {
        stack.run(&["status", "--html", &format!("../{name}")]).exits(1).says(&["no plain file"]);
    }
    assert_eq!(stack.sh(".", "stat -c %F pipe link home").trim(), "fifo\nsymbolic link\ndirectory");
    let both = ["status", "--html", "../page.html", "--prometheus", "../numbers.prom"];
    for _ in 0..2 {
        stack.run(&both).ok();
        fetches_nothing(&fs::read_to_string(stack.path("page.html")).expect("reads"));
    }
    assert!(Path::new(&stack.path("numbers.prom")).is_file());
    assert!(!stack.files(".").iter().any(|name| name.contains(".recovery-new")));
}

#[test]
fn a_repository_without_anything_has_a_page() {
    let stack = Stack::new();
    page(&stack, NOW, 0);
    let dom = dom(&stack, "page.html");
    assert!(dom.contains("no data set is configured") && !dom.contains("class=\"plot\""));
}
