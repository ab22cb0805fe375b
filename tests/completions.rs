//! `completions` and `man`: both come from the declaration of the command line, and so know every verb and every flag.
use super::support::Stack;
use std::fs;

/// The verbs that `--help` lists.
fn verbs(stack: &Stack) -> Vec<String> {
    let help = stack.run(&["--help"]).ok().stdout;
    let commands = help.split("Commands:\n").nth(1).expect("commands").to_owned();
    let names = commands.lines().take_while(|line| !line.is_empty());
    names
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned))
        .filter(|name| !name.is_empty() && name != "help")
        .collect()
}

#[test]
fn bash_completes_verbs_and_flags() {
    let stack = Stack::bare();
    let script = stack.run(&["completions", "bash"]).ok().stdout;
    stack.file("xtask.bash", &script);
    let completed = |words: &str, count: u8| {
        let last = words.split(' ').next_back().expect("a word");
        let call = format!(
            "source xtask.bash; COMP_WORDS=({words}); COMP_CWORD={count}; _xtask xtask '{last}' x; echo \"${{COMPREPLY[*]}}\""
        );
        stack.sh(".", &call)
    };
    assert_eq!(completed("xtask rest", 1).trim(), "restore restore-drill");
    assert!(completed("xtask backup --mou", 2).contains("--mount-check"));
}

#[test]
fn each_shell_gets_every_verb() {
    let stack = Stack::bare();
    for shell in ["bash", "zsh", "fish"] {
        let script = stack.run(&["completions", shell]).ok().stdout;
        for verb in verbs(&stack) {
            assert!(script.contains(&verb), "{shell}: no {verb}");
        }
        let document = stack.run(&["completions", shell, "--json"]).ok().json();
        assert_eq!(document["shell"], shell);
        assert_eq!(document["script"].as_str().map(str::trim_end), Some(script.trim_end()));
    }
    let fish = stack.run(&["completions", "fish"]).ok().stdout;
    for (verb, word) in [("completions", "zsh"), ("restore-drill", "history"), ("schedule", "systemd")] {
        let line = format!("using_subcommand {verb}\" -f -a \"{word}\"");
        assert!(fish.contains(&line), "no {word} of {verb}: {fish}");
    }
    stack.run(&["completions", "csh"]).exits(2);
}

#[test]
fn each_verb_has_a_man_page() {
    let stack = Stack::bare();
    stack.run(&["man", "--to", "../man/man1"]).ok();
    let pages = stack.files("man/man1");
    let mut expected: Vec<String> = verbs(&stack).iter().map(|verb| format!("xtask-{verb}.1")).collect();
    expected.push("xtask.1".into());
    expected.sort();
    assert_eq!(pages, expected);
    for page in pages {
        let text = fs::read_to_string(stack.path("man/man1").join(&page)).expect("reads");
        assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{page}");
    }
    let backup = fs::read_to_string(stack.path("man/man1/xtask-backup.1")).expect("reads");
    assert!(backup.contains("mount\\-check") && backup.contains(".SH EXAMPLES\n.nf\n"), "flags and examples");
    // Again is the same again.
    stack.run(&["man", "--to", "../man/man1"]).ok();
}
