//! The printed lines, run as cron and systemd would run them; in folders with names that need quotes of every kind.
use super::super::support::{Outcome, Stack, outcome};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What a shell, a crontab and a unit each have a meaning of their own for.
const ODD: &str = "odd 5% \\% it's \"$HOME\" `x` \\ #;&*é";

/// A stack whose repository and program lie in a folder of that name.
pub(super) struct Odd {
    pub stack: Stack,
    pub folder: PathBuf,
}

impl Odd {
    pub(super) fn new(name: &str, config: &str) -> Self {
        let stack = Stack::new();
        let folder = stack.path(name);
        fs::create_dir(&folder).expect("makes a folder");
        fs::rename(stack.path("repo"), folder.join("repo")).expect("moves");
        // A process of its own copies it: a child that another test forks meanwhile would hold it open for writing.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_xtask")).arg(folder.join("xtask")).status();
        assert!(copied.expect("starts").success());
        let odd = Self { stack, folder };
        odd.configure(config);
        odd
    }

    /// The set is not due each day; `[destination.drive]` comes last.
    pub(super) fn configure(&self, more: &str) {
        let drive = self.stack.path("drive").display().to_string();
        let text = format!(
            "[drill]\nspot-every = \"31d\"\nverify-every = \"10d\"\n\
             [data.codex-api]\nsource = \".codex-api\"\n[destination.drive]\npath = \"{drive}\"\n{more}"
        );
        fs::write(self.folder.join("repo/recovery.toml"), text).expect("writes");
    }

    /// Runs the program from elsewhere, with a path in which everything is found.
    pub(super) fn schedule(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(self.folder.join("xtask"));
        command.arg("-C").arg(self.folder.join("repo")).arg("schedule").args(args);
        command.current_dir("/").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        outcome(command.env("HOME", self.stack.path("home")))
    }

    /// A command in the environment that cron gives to a line, and no more.
    fn as_cron_does(&self, command: &str) -> Outcome {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).current_dir(self.stack.path("home")).env_clear();
        shell.env("HOME", self.stack.path("home")).env("LOGNAME", "somebody").env("SHELL", "/bin/sh");
        outcome(shell.env("PATH", "/usr/bin:/bin"))
    }

    fn backups(&self) -> usize {
        self.stack.files("drive").iter().filter(|name| name.ends_with(".tar.gz")).count()
    }

    /// The results of the drills, oldest first.
    fn drills(&self) -> Vec<String> {
        let Ok(list) = fs::read_to_string(self.folder.join("repo/docs/drills/restore-checklist.md")) else {
            return Vec::new();
        };
        list.lines().filter(|line| line.starts_with("| 20")).map(str::to_owned).collect()
    }
}

/// The command of a line, as cron takes it from a crontab: what `%` means, and the backslash in front of it (the loop in
/// `do_command.c` of Vixie's cron).
fn command_of(line: &str) -> String {
    let command: String = line.splitn(6, ' ').nth(5).expect("five fields and a command").to_owned();
    let (mut text, mut escaped) = (String::new(), false);
    for c in command.chars() {
        match (escaped, c) {
            (true, '%') => {
                text.pop();
                text.push('%');
            }
            (false, '%') => panic!("a bare % ends the command: {command}"),
            _ => text.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    text
}

#[test]
fn the_cron_lines_do_what_is_due_and_speak_only_of_trouble() {
    let odd = Odd::new(ODD, "");
    let printed = odd.schedule(&["cron", "--at", "4:05"]).ok();
    let lines: Vec<&str> = printed.stdout.lines().filter(|line| !line.starts_with('#')).collect();
    let [daily, status] = lines[..] else { panic!("{}", printed.shown()) };
    assert!(daily.starts_with("5 4 * * * ") && status.starts_with("5 9 * * * "), "{}", printed.shown());
    let run = |line: &str| {
        let said = odd.as_cron_does(&command_of(line));
        format!("{}{}", said.stdout, said.stderr)
    };
    assert_eq!(run(daily), "");
    assert_eq!((odd.backups(), odd.drills().len()), (1, 1));
    assert!(odd.drills()[0].contains("| verified |"), "{:?}", odd.drills());
    assert_eq!(run(status), "");
    // The second time the drill is not due. A backup is, and finds that nothing was changed.
    assert_eq!(run(daily), "");
    assert_eq!((odd.backups(), odd.drills().len()), (1, 1));
    // A drive that is not mounted is no trouble of this line; of `status` it is.
    odd.configure(&format!("mount = \"{}\"\n", odd.stack.path("drive").display()));
    assert_eq!(run(daily), "");
    assert!(run(status).contains("nothing is mounted"), "{}", run(status));
    // A source that is gone is trouble, and told; the drill is not left out for it.
    odd.configure("");
    let data = odd.folder.join("repo/.codex-api");
    fs::rename(&data, odd.stack.path("away")).expect("moves");
    let said = run(daily);
    assert!(said.contains("is the source, and is not there"), "{said}");
    fs::rename(odd.stack.path("away"), &data).expect("moves");
    assert_eq!(run(daily), "");
}

/// They have the same minute, and the repository has one lock.
#[test]
fn the_lines_of_two_services_wait_for_each_other() {
    let odd = Odd::new("services", "");
    let drive = odd.stack.path("drive").display().to_string();
    let line = |service: &str| {
        let (repo, file) = (odd.folder.join("repo"), format!("{service}.toml"));
        let text = format!(
            "[drill]\nspot-every = \"31d\"\nevidence-dir = \"drills/{service}\"\n[release]\nname = \"{service}\"\n\
             [data.{service}]\nsource = \".codex-api\"\nbefore = [\"sleep 0.5\"]\n\
             [destination.{service}]\npath = \"{drive}/{service}\"\n"
        );
        fs::write(repo.join(&file), text).expect("writes");
        let run = |verb: &[&str]| {
            let mut command = Command::new(odd.folder.join("xtask"));
            command.arg("-C").arg(&repo).args(["--config", &file]).args(verb);
            outcome(command.env("HOME", odd.stack.path("home"))).ok().stdout
        };
        run(&["snapshot"]);
        let printed = run(&["schedule", "cron"]);
        command_of(printed.lines().find(|line| !line.starts_with('#')).expect("a line"))
    };
    let lines = ["api", "web"].map(line);
    std::thread::scope(|scope| {
        let runs = lines.each_ref().map(|line| scope.spawn(|| odd.as_cron_does(line)));
        for run in runs {
            let said = run.join().expect("ran");
            assert_eq!(format!("{}{}", said.stdout, said.stderr), "");
        }
    });
    assert_eq!(odd.backups(), 2, "{:?}", odd.stack.files("drive"));
    assert_eq!(
        odd.stack.files("services/repo/drills").iter().filter(|name| name.ends_with(".json")).count(),
        2
    );
}

/// The full one first, which replaces the live folder and gives it back; the spot one the next day.
#[test]
fn both_drills_run_unattended_from_the_printed_line() {
    let odd = Odd::new(ODD, "");
    let file = odd.folder.join("repo/recovery.toml");
    let text = fs::read_to_string(&file).expect("reads");
    let full = "[drill]\nfull-every = \"92d\"\nstop = \"touch ../stopped\"\nstart = \"touch ../started\"\n\
                smoke = [\"test -f .codex-api/config.toml\"]\n";
    fs::write(&file, text.replace("[drill]\n", full)).expect("writes");
    let before = odd.stack.sh(".", "cd odd*/repo; find .codex-api -type f -exec sha256sum {} + | sort");
    let printed = odd.schedule(&["cron"]).ok();
    let lines: Vec<String> =
        printed.stdout.lines().filter(|line| !line.starts_with('#')).map(command_of).collect();
    for (kind, count) in [("full", 1), ("spot", 2), ("none", 2)] {
        let said = odd.as_cron_does(&lines[0]);
        assert_eq!(format!("{}{}", said.stdout, said.stderr), "", "{kind}");
        let drills = odd.drills();
        assert_eq!(drills.len(), count, "{drills:?}");
        let last = &drills[count - 1];
        let verified = last.contains(&format!("| {kind} |")) && last.contains("| verified |");
        assert!(kind == "none" || verified, "{drills:?}");
    }
    assert!(odd.folder.join("stopped").exists() && odd.folder.join("started").exists());
    let after = odd.stack.sh(".", "cd odd*/repo; find .codex-api -type f -exec sha256sum {} + | sort");
    assert_eq!(before, after);
    let said = odd.as_cron_does(&lines[1]);
    assert_eq!(format!("{}{}", said.stdout, said.stderr), "", "nothing is overdue");
}

/// The word list of a line of a unit, as systemd.syntax(7) and systemd.service(5) describe it.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' if quote.is_none() => words.extend(word.take()),
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if quote == Some(c) => quote = None,
            '\\' => word.get_or_insert_default().push(chars.next().expect("an escaped character")),
            '%' | '$' => {
                assert_eq!(chars.next(), Some(c), "a bare {c} in {text}");
                word.get_or_insert_default().push(c);
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "an open quote: {text}");
    words.extend(word);
    words
}

/// The units: file name and text.
fn units(odd: &Odd, args: &[&str]) -> Vec<(String, String)> {
    let document = odd.schedule(&[&["systemd", "--json"], args].concat()).ok().json();
    let units = document["units"].as_array().expect("units").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    units.map(|unit| (text(&unit["file"]), text(&unit["text"]))).collect()
}

fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let found = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {unit}"))
}

/// What systemd would run, with the environment that the unit gives it.
fn as_systemd_does(odd: &Odd, unit: &str) -> Outcome {
    let argv = words(setting(unit, "ExecStart"));
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir("/").env_clear().env("HOME", odd.stack.path("home"));
    let path = words(setting(unit, "Environment")).remove(0);
    outcome(command.env("PATH", path.strip_prefix("PATH=").expect("a path")))
}

#[test]
fn the_units_do_what_is_due_and_end_with_what_was_worst() {
    let odd = Odd::new(ODD, "");
    let units = units(&odd, &[]);
    let service = |name: &str| &units.iter().find(|(file, _)| file == name).expect("a unit").1;
    let (daily, status) = (service("recovery-acme-api.service"), service("recovery-acme-api-status.service"));
    as_systemd_does(&odd, daily).ok();
    assert_eq!((odd.backups(), odd.drills().len()), (1, 1));
    as_systemd_does(&odd, status).ok();
    odd.configure(&format!("mount = \"{}\"\n", odd.stack.path("drive").display()));
    as_systemd_does(&odd, daily).exits(75);
    as_systemd_does(&odd, status).exits(1);
    // A step that fails does not stop those behind it, and its code is that of the run.
    odd.configure("");
    fs::rename(odd.folder.join("repo/.codex-api"), odd.stack.path("away")).expect("moves");
    as_systemd_does(&odd, daily).exits(1);
}

/// Runs systemd's own check on the units; what it says, and whether it is content.
fn verified(odd: &Odd, units: &[(String, String)]) -> Outcome {
    let folder = odd.stack.path("units");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("makes a folder");
    for (file, text) in units {
        fs::write(folder.join(file), text).expect("writes");
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["--man=no", "--recursive-errors=yes", "verify"]);
    command.args(units.iter().map(|(file, _)| folder.join(file)));
    outcome(command.env("SYSTEMD_LOG_LEVEL", "warning"))
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    for name in ["plain", ODD] {
        let odd = Odd::new(name, "");
        let file = odd.folder.join("secrets");
        fs::write(&file, "BACKUP_KEY=x\n").expect("writes");
        let mut units = units(&odd, &["--env-file", &file.display().to_string()]);
        assert_eq!(units.len(), 5);
        let said = verified(&odd, &units).ok();
        assert_eq!(said.stderr, "", "{}", said.shown());
        // It would say so.
        units[0].1 = units[0].1.replace("Type=oneshot", "Type=twoshot");
        let said = verified(&odd, &units);
        assert!(said.stderr.contains("twoshot"), "{}", said.shown());
        units[0].1 = units[0].1.replace("ExecStart=/bin/sh", "ExecStart=/bin/no-such-shell");
        let said = verified(&odd, &units).exits(1);
        assert!(said.stderr.contains("/bin/no-such-shell"), "{}", said.shown());
        // It does not look for the unit that runs after a failure.
        let failed = setting(&units[0].1, "OnFailure").to_owned();
        assert!(units.iter().any(|(file, _)| *file == failed), "{failed}");
    }
}

/// As text it is a script that writes the units as they are, byte for byte.
#[test]
fn the_printed_script_writes_the_units() {
    let odd = Odd::new(ODD, "");
    let script = odd.schedule(&["systemd"]).ok().stdout;
    let folder = odd.stack.path("units");
    fs::create_dir(&folder).expect("makes a folder");
    let here = script.replace("/etc/systemd/system/", "").replace("\nsystemctl ", "\n: systemctl ");
    let mut shell = Command::new("sh");
    outcome(shell.args(["-eu", "-c", &here]).current_dir(&folder)).ok();
    for (file, text) in units(&odd, &[]) {
        assert_eq!(fs::read_to_string(folder.join(&file)).expect("written"), text, "{file}");
    }
    assert!(
        script.contains("systemctl enable --now recovery-acme-api.timer recovery-acme-api-status.timer"),
        "{script}"
    );
}

/// A passphrase in a file reaches the run.
#[test]
fn an_env_file_that_is_not_there_is_told() {
    let stack = Stack::configured();
    for scheduler in ["cron", "systemd"] {
        let said = stack.run(&["schedule", scheduler, "--env-file", "nosuch"]).ok();
        said.says(&["warning: ", "nosuch is the file of `--env-file`, and is not there"]);
        stack.file("repo/there", "A=b\n");
        let said = stack.run(&["schedule", scheduler, "--env-file", "there"]).ok();
        assert!(!said.stderr.contains("is not there"), "{}", said.shown());
    }
}

#[test]
fn an_env_file_gives_a_run_its_passphrase() {
    let odd = Odd::new(ODD, "passphrase-env = \"BACKUP_KEY\"\n");
    assert!(odd.schedule(&["cron"]).ok().stderr.contains("$BACKUP_KEY"));
    let file = odd.folder.join("secrets");
    fs::write(&file, "BACKUP_KEY='correct horse'\n").expect("writes");
    let printed = odd.schedule(&["cron", "--env-file", &file.display().to_string()]).ok();
    assert!(!printed.stderr.contains("$BACKUP_KEY"), "{}", printed.shown());
    let daily = printed.stdout.lines().find(|line| !line.starts_with('#')).expect("a line");
    let said = odd.as_cron_does(&command_of(daily));
    assert_eq!(format!("{}{}", said.stdout, said.stderr), "");
    assert!(odd.stack.files("drive").iter().any(|name| name.ends_with(".tar.gz.gpg")));
    assert!(odd.drills()[0].contains("| verified |"), "{:?}", odd.drills());
}

#[test]
fn what_no_line_can_hold_is_refused_and_nothing_is_written() {
    let odd = Odd::new("two\nlines", "");
    odd.schedule(&["cron"]).exits(3).says(&["no line of a schedule", "link"]);
    odd.schedule(&["systemd"]).exits(3).says(&["no line of a schedule"]);
    let stack = Stack::configured();
    let before = stack.listing(".");
    for args in [&["schedule", "cron"][..], &["schedule", "systemd"], &["schedule", "cron", "--json"]] {
        stack.run(args).ok();
    }
    assert_eq!(stack.listing("."), before);
    for at in ["24:00", "3", "03:60", "-1:00", "3:000"] {
        stack.run(&["schedule", "cron", &format!("--at={at}")]).exits(2).says(&["--at"]);
    }
}
