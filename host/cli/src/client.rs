//! Speaks to a node's management API.

use std::time::Duration;

use bytes::Bytes;
use izna_gateway::api;
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
};

use crate::trouble::{Exit, Trouble, plain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A node, as commands see it.
#[derive(Debug)]
pub(crate) struct Client {
    base: String,
    agent: Agent,
}

impl Client {
    /// The node that is managed at `url`.
    pub(crate) fn new(url: &str) -> Result<Self, Trouble> {
        let base = url.trim_end_matches('/');
        if base.strip_prefix("http://").is_none_or(str::is_empty) {
            let what = format!("invalid node address `{base}`");
            let fix = "use a URL such as http://127.0.0.1:9070, from the node's own machine";
            return Err(Trouble::new(Exit::Usage, what).fix(fix));
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        Ok(Self { base: base.to_owned(), agent })
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.take(self.agent.get(self.url(path)).call())
    }

    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.take(self.agent.delete(self.url(path)).call())
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.take(self.agent.post(self.url(path)).send_json(body))
    }

    pub(crate) fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.take(self.agent.put(self.url(path)).send_json(body))
    }

    /// Give the node an artifact.
    pub(crate) fn admit(&self, bytes: &Bytes) -> Result<api::Artifact, Trouble> {
        self.take(self.agent.post(self.url("/v1/artifacts")).send(&bytes[..]))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn take<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, Trouble> {
        let mut response = answer.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.other(&error.to_string()))
    }

    fn unreachable(&self, error: &ureq::Error) -> Trouble {
        let why = match error {
            ureq::Error::Io(error) => plain(error),
            ureq::Error::Timeout(_) => "timed out".to_owned(),
            ureq::Error::HostNotFound => "host not found".to_owned(),
            other => other.to_string(),
        };
        Trouble::new(Exit::Unavailable, format!("no node answers at {}", self.base))
            .why(why)
            .fix("start one with `izna node`, or give its management URL: --node URL or IZNA_NODE")
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Trouble {
        let Ok(api::ErrorBody { error }) = serde_json::from_slice(body) else {
            return self.other(&format!("status {status}"));
        };
        let exit = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::TryAgain,
            StatusCode::BAD_GATEWAY => Exit::Unavailable,
            StatusCode::FORBIDDEN => Exit::Permission,
            _ => Exit::Data,
        };
        let trouble = Trouble::new(exit, error.message);
        match error.process {
            Some(process) => trouble.at(format!("process {process} ({})", error.code)),
            None => trouble,
        }
    }

    fn other(&self, why: &str) -> Trouble {
        let what = format!("the server at {} is not an Izna node of this version", self.base);
        Trouble::new(Exit::Unavailable, what)
            .why(why)
            .fix("give the node's management URL: --node URL or IZNA_NODE")
    }
}
