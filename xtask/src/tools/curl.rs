//! curl: asks for one URL, and does not care what comes back.
//!
//! The URL is a secret: whoever knows it can speak for this run. It goes in on standard input, so that it stands in no
//! command line, and comes out in no error.
use super::process::{OnInterrupt, expression};
use super::{failed, finish_for, shell_in};
use crate::error::Result;
use std::path::Path;
use std::time::Duration;
use xshell::cmd;

/// For all tries together; curl itself gives up before.
const DEADLINE: Duration = Duration::from_secs(60);

/// How curl goes about it: an answer within ten seconds, three more tries where that may help, and not the user's own
/// settings, which may print or write anything.
const SETTINGS: &str = "silent\nshow-error\nfail\ngloboff\nproto = \"=http,https\"\noutput = \"/dev/null\"\nmax-time = 10\n\
                        retry = 3\nretry-connrefused\nretry-max-time = 30\nuser-agent = \"xtask\"\n";

/// Asks for `url`, also at the end of a run that was interrupted.
///
/// # Errors
/// When there is no answer, or one that is no success; when curl is not installed.
pub fn get(url: &str) -> Result<()> {
    let shell = shell_in(Path::new("/"))?;
    let call = expression(cmd!(shell, "curl --disable --config -")).stdin_bytes(settings(url));
    let said = |text: &[u8]| String::from_utf8_lossy(text).replace(url, "the URL");
    match finish_for(call, "curl", DEADLINE, OnInterrupt::GoOn)? {
        Some(output) if output.status.success() => Ok(()),
        Some(output) => Err(failed("curl", &output.status.to_string(), last(&said(&output.stderr)))),
        None => Err(failed("curl", &format!("no answer in {} s", DEADLINE.as_secs()), "")),
    }
}

/// What curl says of the last try: of those before it, it says the same.
fn last(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or_default()
}

fn settings(url: &str) -> Vec<u8> {
    let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
    format!("url = \"{quoted}\"\n{SETTINGS}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_cannot_leave_its_quotes() {
        let text = String::from_utf8(settings("http://h/\"\\ x")).expect("text");
        assert!(text.starts_with("url = \"http://h/\\\"\\\\ x\"\nsilent\n"), "{text}");
    }

    #[test]
    fn an_error_does_not_tell_the_url() {
        let error = get("http://127.0.0.1:1/secret").expect_err("nobody is there").chain();
        assert!(error.contains("curl") && !error.contains("secret"), "{error}");
        assert_eq!(error.matches("curl: (7)").count(), 1, "one line for all tries: {error}");
    }
}
