//! What a long run shows of itself: a bar on a terminal that leaves nothing behind, and nothing where there is none.
use super::support::Stack;

/// Runs the binary on a terminal of its own, as `script -c` does, and returns what came out of it.
fn on_a_terminal(stack: &Stack, variables: &str, args: &str) -> String {
    const PTY: &str = "import pty, sys, os
code = pty.spawn(['sh', '-c', sys.argv[1]])
sys.exit(os.waitstatus_to_exitcode(code))";
    stack.file("terminal.py", PTY);
    let call = format!("exec {} {args}", env!("CARGO_BIN_EXE_xtask"));
    stack.sh("repo", &format!("{variables} TERM=xterm python3 ../terminal.py '{call}' < /dev/null"))
}

const KEY: (&str, &str) = ("BACKUP_KEY", "correct horse");

/// A stack whose runs last: gpg takes its time before it encrypts, and so does the release check of a drill.
fn slow() -> Stack {
    let stack = Stack::new();
    stack.configure("passphrase-env = \"BACKUP_KEY\"\n[drill]\nrelease-checks = [\"sleep 2\"]\n");
    let gpg = stack.sh(".", "command -v gpg");
    let slow = format!(
        "#!/bin/sh\ncase \" $* \" in *' --symmetric '*) sleep 2 ;; esac\nexec {} \"$@\"\n",
        gpg.trim()
    );
    stack.file("slow/gpg", &slow);
    stack.sh("slow", "chmod 755 gpg");
    stack
}

/// The variables of a run, for a shell line.
fn slowly(stack: &Stack) -> String {
    format!("{}='{}' PATH='{}':$PATH", KEY.0, KEY.1, stack.path("slow").display())
}

#[test]
fn a_terminal_sees_how_far_it_is_and_is_left_clean() {
    let stack = slow();
    stack.run(&["snapshot"]).ok();
    for (args, part) in [("backup", " of 320 kB, "), ("restore-drill", "B/s  restore-drill")] {
        let shown = on_a_terminal(&stack, &slowly(&stack), args);
        let drawn = |shown: &str| shown.split('\r').filter(|line| line.contains(part)).count();
        assert!(drawn(&shown) > 0, "{args}: no bar in {shown:?}");
        // The last thing on the screen is the result, on a line of its own.
        let last = shown.trim_end().rsplit(['\n', '\r']).next().unwrap_or_default();
        assert!(!last.contains(part), "{args}: {last:?}");
        let quiet = on_a_terminal(
            &stack,
            &slowly(&stack),
            &format!("-q {args} {}", if args == "backup" { "--force" } else { "" }),
        );
        assert_eq!(drawn(&quiet), 0, "{args}: a bar in spite of -q");
    }
}

/// Each flush is slow, so that a copy takes its time.
#[test]
fn a_copy_to_another_destination_is_shown_as_well() {
    let stack = Stack::new();
    let usb = stack.path("usb");
    stack.configure(&format!("[destination.usb]\npath = \"{}\"\n", usb.display()));
    stack
        .sh(".", "mkdir usb; sed -i 's/^key-files.*/destination = [\"drive\", \"usb\"]/' repo/recovery.toml");
    let slow = "strace -f -qq -o /dev/null -e inject=fsync,fdatasync:delay_enter=800000 env";
    let shown = on_a_terminal(&stack, slow, "backup");
    assert!(
        shown.split('\r').any(|line| line.contains("B/s") && line.contains("codex-api to usb")),
        "{shown:?}"
    );
}

#[test]
fn a_file_or_a_pipe_sees_no_bar() {
    let stack = slow();
    let path = format!("{}:{}", stack.path("slow").display(), std::env::var("PATH").expect("a path"));
    let said = stack.run_with(&[KEY, ("PATH", &path)], &["backup"]).ok();
    assert!(!said.stderr.contains('\r') && !said.stderr.contains(" of 320 kB"), "{}", said.shown());
    assert!(said.stdout.starts_with("codex-api: "), "{}", said.shown());
}
