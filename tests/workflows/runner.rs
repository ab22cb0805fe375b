//! As much of GitHub's runners as our own workflows use. What a workflow uses beyond that is a failure, not a step that is
//! passed over.
//!
//! `run:` steps are executed as a runner does it (`bash -e`), with a fresh machine for each job. Of actions, only what they
//! carry from one place to another is done: a clone, a folder that is kept, the list of what is attested. The token of a job
//! may do what its `permissions` say: `gh` of [`crate::publish`] refuses the rest.
use crate::publish;
use crate::support::{NOW, Stack, outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What has happened.
pub struct Event {
    pub name: &'static str,
    /// `refs/tags/v1`, `refs/heads/main`.
    pub reference: &'static str,
}

/// A repository, its forge, and machines.
pub struct Runner {
    pub stack: Stack,
}

/// A job that runs.
struct Job<'a> {
    name: &'a str,
    value: &'a Value,
    event: &'a Event,
    machine: PathBuf,
    /// Outputs of its steps, and of the jobs before it.
    known: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A workflow of this repository.
pub fn workflow(name: &str) -> Value {
    let text = fs::read_to_string(root().join(format!(".github/workflows/{name}.yml"))).expect("reads");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Runner {
    /// This very tree as a repository with one commit, which has a tag that was pushed.
    pub fn new(tag: &str) -> Self {
        let stack = Stack::bare();
        let tree = root().display().to_string();
        let skip = "--exclude=./.git --exclude=./target --exclude=./releases --exclude=./.recovery --exclude=./fuzz/target";
        stack.sh(
            "repo",
            &format!("tar -c {skip} --exclude=./tests/data -C '{tree}' . | tar -x; git init -q -b main ."),
        );
        stack.commit("all", "2026-03-01T08:30:00Z");
        stack.file("bin/gh", include_str!("../publish/gh"));
        // The tool is built already; whatever else Cargo is asked for is noted, and for `metadata` it is asked itself.
        let cargo = std::env::var("CARGO").expect("run by cargo");
        let shim = format!(
            "#!/bin/sh\necho \"$*\" >> '{}'\ncase $1 in\n    xtask) shift; exec '{}' \"$@\" ;;\n    metadata) exec '{cargo}' \"$@\" ;;\n    \
             check|fetch) ;;\n    *) echo \"no such cargo: $*\" >&2; exit 101 ;;\nesac\n",
            stack.path("cargo.log").display(),
            env!("CARGO_BIN_EXE_xtask")
        );
        stack.file("bin/cargo", &shim);
        for name in ["gh", "cargo"] {
            fs::set_permissions(stack.path("bin").join(name), fs::Permissions::from_mode(0o755))
                .expect("sets");
        }
        stack.sh("repo", &format!("git tag {tag}"));
        publish::push(&stack, tag);
        Self { stack }
    }

    /// Runs a workflow, with a look at the world in front of each job; which jobs ran, and whether they succeeded.
    pub fn workflow(
        &self,
        name: &str,
        event: &Event,
        mut before: impl FnMut(&str),
    ) -> BTreeMap<String, bool> {
        let workflow = workflow(name);
        let jobs = workflow["jobs"].as_object().expect("jobs");
        let (mut done, mut skipped) = (BTreeMap::new(), BTreeSet::new());
        let mut outputs = BTreeMap::new();
        while done.len() + skipped.len() < jobs.len() {
            let open = |name: &&String| !done.contains_key(*name) && !skipped.contains(*name);
            let settled = |name: &&String| {
                needs(&jobs[*name]).iter().all(|need| done.contains_key(need) || skipped.contains(need))
            };
            let name = jobs.keys().filter(open).find(settled).expect("needs that lead in no circle").clone();
            let value = &jobs[&name];
            let good = needs(value).iter().all(|need| done.get(need) == Some(&true));
            let machine = tempfile::Builder::new()
                .prefix("runner-")
                .tempdir_in(self.stack.path("."))
                .expect("a folder")
                .keep();
            let mut job = Job { name: &name, value, event, machine, known: outputs.clone() };
            if !good || !job.holds(value.get("if")) {
                skipped.insert(name);
                continue;
            }
            before(&name);
            let good = self.job(&mut job);
            for (output, from) in value["outputs"].as_object().into_iter().flatten() {
                outputs.insert(format!("needs.{name}.outputs.{output}"), job.filled(from));
            }
            done.insert(name, good);
        }
        done
    }

    fn job(&self, job: &mut Job<'_>) -> bool {
        fs::create_dir_all(job.machine.join("work")).expect("makes a folder");
        fs::create_dir(job.machine.join("temp")).expect("makes a folder");
        let mut good = true;
        for step in job.value["steps"].as_array().expect("steps") {
            let always = step.get("if").is_some_and(|condition| condition == "${{ !cancelled() }}");
            if always || good && job.holds(step.get("if")) {
                good &= self.step(job, step);
            }
        }
        good
    }

    fn step(&self, job: &mut Job<'_>, step: &Value) -> bool {
        let with = |key: &str| step["with"].get(key).map(|value| job.filled(value));
        let work = job.machine.join("work");
        let Some(uses) = step["uses"].as_str() else { return self.script(job, step) };
        match uses.split('@').next().expect("a name") {
            "actions/checkout" => {
                assert!(
                    job.allowed("contents").is_some_and(|right| right != "none"),
                    "{}: no right to read",
                    job.name
                );
                let reference = with("ref").unwrap_or_else(|| job.event.reference.to_owned());
                let depth = if with("fetch-depth").as_deref() == Some("0") { "" } else { "--depth 1" };
                let (from, to) = (self.stack.path("repo"), work.display());
                self.stack.sh(
                    ".",
                    &format!(
                        "rmdir '{to}'; git clone -q {depth} 'file://{}' '{to}'; cd '{to}'; git fetch -q origin '{reference}'
                         git checkout -q --detach \"$(git rev-parse 'FETCH_HEAD^{{commit}}')\"
                         git remote set-url origin https://github.com/acme/api.git",
                        from.display()
                    ),
                );
                true
            }
            "actions/upload-artifact" => {
                let name = with("name").expect("a name");
                let (from, to) =
                    (work.join(with("path").expect("a path")), self.stack.path("artifacts").join(&name));
                assert!(!to.exists(), "an artifact of this name is there: {name}");
                if !from.is_dir() {
                    return with("if-no-files-found").as_deref() != Some("error");
                }
                self.stack.sh(
                    ".",
                    &format!("mkdir -p '{0}'; cp -r '{1}/'[!.]* '{0}'", to.display(), from.display()),
                );
                true
            }
            "actions/download-artifact" => {
                let (name, to) = (with("name").expect("a name"), work.join(with("path").expect("a path")));
                let from = self.stack.path("artifacts").join(name);
                self.stack
                    .sh(".", &format!("mkdir -p '{0}'; cp -r '{1}/.' '{0}'", to.display(), from.display()));
                true
            }
            "actions/attest-build-provenance" => {
                for right in ["attestations", "id-token"] {
                    assert_eq!(job.allowed(right).as_deref(), Some("write"), "{right}");
                }
                let list = work.join(with("subject-checksums").expect("a list"));
                fs::copy(list, self.stack.path("attested")).expect("a list of digests");
                true
            }
            other => panic!("{}: {other} is not known here", job.name),
        }
    }

    fn script(&self, job: &mut Job<'_>, step: &Value) -> bool {
        let run = step["run"].as_str().expect("a script");
        assert!(!run.contains("${{"), "{run}");
        let (script, output) = (job.machine.join("step.sh"), job.machine.join("output"));
        let summary = self.stack.path(&format!("summary-{}", job.name));
        fs::write(&script, run).expect("writes");
        fs::write(&output, "").expect("writes");
        let mut command = Command::new("bash");
        command.arg("-e").arg(&script).current_dir(job.machine.join("work")).env_clear();
        let branch = job.event.reference.rsplit('/').next().expect("a name");
        for (name, value) in [
            ("PATH", publish::path(&self.stack)),
            ("HOME", self.stack.path("home").display().to_string()),
            ("CI", "true".into()),
            ("GITHUB_ACTIONS", "true".into()),
            ("GITHUB_EVENT_NAME", job.event.name.into()),
            ("GITHUB_OUTPUT", output.display().to_string()),
            ("GITHUB_REF", job.event.reference.into()),
            ("GITHUB_REF_NAME", branch.into()),
            ("GITHUB_REPOSITORY", "acme/api".into()),
            ("GITHUB_STEP_SUMMARY", summary.display().to_string()),
            ("GITHUB_WORKSPACE", job.machine.join("work").display().to_string()),
            ("RUNNER_TEMP", job.machine.join("temp").display().to_string()),
            ("TMPDIR", job.machine.join("temp").display().to_string()),
            ("RECOVERY_NOW", NOW.into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("LC_ALL", "C.UTF-8".into()),
        ] {
            command.env(name, value);
        }
        // Where the runner's Rust is, which is not in the home of the stack.
        let home = std::env::var("HOME").unwrap_or_default();
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            command.env(name, std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}")));
        }
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            command.env(name, job.filled(value));
        }
        let said = outcome(&mut command);
        let log = fs::read_to_string(self.stack.path("runs.log")).unwrap_or_default();
        fs::write(self.stack.path("runs.log"), format!("{log}\n== {}\n{run}\n{}", job.name, said.shown()))
            .expect("writes");
        if let Some(id) = step["id"].as_str() {
            // Whatever a run has told, a runner must be able to read.
            for line in fs::read_to_string(&output).expect("reads").lines() {
                let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{}: {line:?}", job.name));
                job.known.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
            }
        }
        said.code == 0
    }

    /// All that was run, and what it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.stack.path("runs.log")).unwrap_or_default()
    }

    /// What the steps of a job have written for people.
    pub fn summary(&self, job: &str) -> String {
        fs::read_to_string(self.stack.path(&format!("summary-{job}"))).unwrap_or_default()
    }

    /// How often `gh` was asked to change something.
    pub fn changes(&self) -> usize {
        let log = fs::read_to_string(self.stack.path("home/forge/log")).unwrap_or_default();
        log.lines().filter(|line| ["create", "edit", "upload"].iter().any(|verb| line.contains(verb))).count()
    }
}

fn needs(job: &Value) -> Vec<String> {
    match &job["needs"] {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

impl Job<'_> {
    /// What the job may do; a workflow that gives nothing leaves nothing to those that do not say.
    fn allowed(&self, right: &str) -> Option<String> {
        self.value["permissions"].get(right).map(text)
    }

    /// A text with its `${{ … }}` filled in.
    fn filled(&self, value: &Value) -> String {
        let (whole, mut filled) = (text(value), String::new());
        let mut rest = &*whole;
        while let Some((before, behind)) = rest.split_once("${{") {
            let (expression, behind) = behind.split_once("}}").expect("an end");
            filled.push_str(before);
            filled.push_str(&self.value_of(expression.trim()));
            rest = behind;
        }
        filled + rest
    }

    fn value_of(&self, expression: &str) -> String {
        match expression {
            "github.token" => match self.allowed("contents").as_deref() {
                Some("write") => "writer".into(),
                Some("read") => "reader".into(),
                other => panic!("{}: a token that may do nothing: {other:?}", self.name),
            },
            "github.repository" => "acme/api".into(),
            "github.ref" => self.event.reference.into(),
            "github.event_name" => self.event.name.into(),
            other if other.starts_with("steps.") || other.starts_with("needs.") => {
                let from = other.split('.').nth(1).expect("a name");
                let mut steps = self.value["steps"].as_array().expect("steps").iter();
                let named =
                    steps.any(|step| step["id"] == from) || needs(self.value).iter().any(|need| need == from);
                assert!(named, "{}: {other} is of no step or job that it knows", self.name);
                // What did not run has said nothing.
                self.known.get(other).cloned().unwrap_or_default()
            }
            other => panic!("{}: {other} is not known here", self.name),
        }
    }

    /// Whether an `if:` lets it run.
    fn holds(&self, condition: Option<&Value>) -> bool {
        let Some(condition) = condition.map(text) else { return true };
        let (name, wanted) =
            condition.split_once(" == ").unwrap_or_else(|| panic!("{condition} is not known here"));
        self.value_of(name) == wanted.trim_matches('\'')
    }
}
