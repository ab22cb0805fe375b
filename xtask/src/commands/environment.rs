//! What the user's own commands (those of a drill, around a backup, and that confirm or notify) may see of the environment,
//! and what must not be shown of their output.
use crate::config::Config;
use crate::config::keys::{self, Env};
use crate::drill::redact::Redaction;

/// The whole environment of a command, and the values that stay out of what is told of it.
pub(super) struct Seen {
    pub environment: Vec<(String, String)>,
    pub redaction: Redaction,
}

/// The variables that the configuration names, never one of a passphrase. Of all that are `set` those are kept out of what
/// is told that look like secrets.
pub(super) fn seen(config: &Config, named: &[String], env: Env, set: Set) -> Seen {
    let passphrases = keys::variables(config);
    let environment =
        values(named.iter().map(String::as_str).filter(|name| !passphrases.contains(name)), env);
    let redaction = Redaction::new(&values(passphrases.into_iter(), env), &environment);
    Seen { environment, redaction: redaction.guessed(&all(env, set)) }
}

/// The names of all variables that are set.
type Set = fn() -> Vec<String>;

/// All variables, with their values.
pub(super) fn all(env: Env, set: Set) -> Vec<(String, String)> {
    values(set().iter().map(String::as_str), env)
}

/// Those that are set, and are text.
pub(super) fn values<'a>(names: impl Iterator<Item = &'a str>, env: Env) -> Vec<(String, String)> {
    let whole = |value: &String| !value.contains(char::REPLACEMENT_CHARACTER);
    names.filter_map(|name| Some((name.to_owned(), env(name).filter(whole)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::beneath;

    #[test]
    fn commands_of_the_user_never_see_a_passphrase() {
        let home = tempfile::tempdir().expect("a folder");
        let text = "[destination.d]\npath = \"d\"\npassphrase-env = \"KEY\"\n";
        std::fs::write(home.path().join("recovery.toml"), text).expect("writes");
        let config = Config::load(home.path(), None, &mut beneath(home.path())).expect("loads");
        let env = |name: &str| (name != "UNSET").then(|| format!("value of {name}"));
        let set = || vec!["A_TOKEN".to_owned()];
        let seen = seen(&config, &["PATH", "KEY", "UNSET"].map(String::from), env, set);
        assert_eq!(seen.environment, [("PATH".into(), "value of PATH".into())]);
        assert_eq!(seen.redaction.output("it is value of KEY\n"), "it is $KEY");
        assert_eq!(seen.redaction.output("it is value of A_TOKEN\n"), "it is $A_TOKEN");
    }
}
