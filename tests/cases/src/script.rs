//! Cases that are data: an app, requests and commands, and what each must give.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use izna_bench::{Cluster, Options, http, shipped};
use regex::Regex;
use serde::Deserialize;

use crate::guest;

/// A case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What is broken if it is wrong.
    pub(crate) about: String,
    /// It takes more than some seconds.
    #[serde(default)]
    pub(crate) long: bool,
    /// The program that it is, instead of what follows.
    pub(crate) program: Option<String>,
    /// The manifest in `tests/cases/apps` that is deployed before; without it, the folder's own is
    /// an app that the steps deploy.
    pub(crate) app: Option<String>,
    /// What is done in turn.
    #[serde(default, rename = "step")]
    steps: Vec<Step>,
}

/// A request, or a command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// A method and a path.
    request: Option<String>,
    /// Lines of the request's head.
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: String,
    /// All bytes of a request, instead; what comes until the connection ends is the answer.
    bytes: Option<String>,
    /// The arguments of `izna`.
    izna: Option<Vec<String>>,
    /// What stands before `izna`.
    #[serde(default)]
    wrapper: Vec<String>,
    /// Headers of the answer that are shown after its status, besides its type.
    #[serde(default)]
    show: Vec<String>,
    /// What is given: an expression that all of it matches. Of a request it is `STATUS TYPE BODY`,
    /// of a command `CODE OUTPUT`, in one line.
    right: String,
}

impl Case {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("case.toml");
        let text = fs::read_to_string(&path)?;
        toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }
}

/// Run a case on a node of its own; what is wrong.
pub(crate) fn run(folder: &Path, case: &Case) -> Result<Option<String>> {
    let cluster = Cluster::start(Options::nodes(&["a"]))?;
    let app = cluster.folder().join("app");
    if let Some(name) = &case.app {
        deploy(&cluster, name)?;
    } else {
        guest::app(folder, &app)?;
    }
    for step in &case.steps {
        let (what, got) = step.take(&cluster, &app)?;
        if let Some(wrong) = judge(&what, &got, &step.right)? {
            return Ok(Some(wrong));
        }
    }
    Ok(None)
}

/// Deploy an app of `tests/cases/apps`.
pub(crate) fn deploy(cluster: &Cluster, name: &str) -> Result<()> {
    deploy_on(cluster, name, None)
}

/// The same, with its component on that node alone.
pub(crate) fn deploy_on(cluster: &Cluster, name: &str, node: Option<&str>) -> Result<()> {
    let path = shipped::root().join("tests/cases/apps").join(name).with_extension("toml");
    let mut manifest = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if let Some(node) = node {
        manifest = manifest.replace("\nsource", &format!("\nnodes = [\"{node}\"]\nsource"));
    }
    cluster.deploy(&cluster.app(name, &manifest)?, &[])
}

/// What is wrong with what was got.
pub(crate) fn judge(what: &str, got: &str, right: &str) -> Result<Option<String>> {
    let expected = Regex::new(&format!("(?s)^(?:{right})$"))?;
    let short: String = got.chars().take(300).collect();
    let wrong = format!("wrong: {what}: got `{short}`, expected `{right}`");
    Ok((!expected.is_match(got)).then_some(wrong))
}

impl Step {
    /// What was done, and what came of it.
    fn take(&self, cluster: &Cluster, app: &Path) -> Result<(String, String)> {
        if let Some(arguments) = &self.izna {
            let got = self.command(cluster, arguments, app)?;
            return Ok((format!("izna {}", arguments.join(" ")), got));
        }
        let address = cluster.node("a")?.addresses()?.gateway;
        let bytes = match (&self.request, &self.bytes) {
            (Some(line), None) => self.request(line)?,
            (None, Some(bytes)) => bytes.as_bytes().to_vec(),
            _ => bail!("a step is a request, bytes or a command"),
        };
        let response = http::exchange(address, &bytes)?;
        let shown = self.show.iter().map(String::as_str);
        let shown = ["content-type"].into_iter().chain(shown);
        let headers = shown.flat_map(|name| {
            let all = response.headers.iter().filter(move |(key, _)| key == name);
            all.map(|(_, value)| value.as_str())
        });
        let headers: Vec<&str> = headers.collect();
        let got = format!("{} {} {}", response.status, headers.join(" "), response.text().trim());
        let what = self.request.clone().unwrap_or_else(|| "the bytes".to_owned());
        Ok((what, got))
    }

    fn request(&self, line: &str) -> Result<Vec<u8>> {
        let (method, path) = line.split_once(' ').context("a request is a method and a path")?;
        let headers: Vec<(&str, &str)> =
            self.headers.iter().filter_map(|line| line.split_once(": ")).collect();
        Ok(http::request(method, path, &headers, self.body.as_bytes()))
    }

    fn command(&self, cluster: &Cluster, arguments: &[String], app: &Path) -> Result<String> {
        let manage = cluster.node("a")?.addresses()?.manage;
        let izna = shipped::binary()?.to_string_lossy().into_owned();
        let mut words = self.wrapper.iter().chain([&izna]).chain(arguments);
        let mut command = Command::new(words.next().context("no words")?);
        command.args(words).env("IZNA_NODE", format!("http://{manage}")).stdin(Stdio::null());
        let output =
            command.current_dir(if app.is_dir() { app } else { cluster.folder() }).output()?;
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        Ok(format!("{} {}", output.status.code().unwrap_or(-1), said.trim()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use izna_bench::shipped;

    use super::{Case, judge};

    /// If this fails, a wrong value passes for a right one, or is not told.
    #[test]
    fn all_of_a_value_is_compared() {
        assert_eq!(judge("x", "200 a", "200 a|422 .*").unwrap(), None);
        assert_eq!(judge("x", "422 a\nb", "200 a|422 .*").unwrap(), None);
        let wrong = judge("x", "200 ab", "200 a|422 .*").unwrap();
        assert_eq!(wrong.unwrap(), "wrong: x: got `200 ab`, expected `200 a|422 .*`");
    }

    /// If this fails, a case cannot be read, or one is known to be wrong that there is not.
    #[test]
    fn every_case_is_read() {
        let folder = shipped::root().join("tests/cases");
        for name in fs::read_to_string(folder.join("known-wrong.txt")).unwrap().lines() {
            assert!(
                name.starts_with('#') || folder.join(name).join("case.toml").is_file(),
                "{name}"
            );
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.join("case.toml").is_file() {
                let case = Case::read(&path).unwrap();
                assert_eq!(case.program.is_some(), case.steps.is_empty(), "{}", path.display());
            }
        }
    }
}
