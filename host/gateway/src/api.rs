//! The JSON of the management API: what `/v1/...` takes and gives. Clients use the same types.
//!
//! | request | takes | gives |
//! |---|---|---|
//! | `GET /v1/nodes` | | `[Node]` |
//! | `GET /v1/zones` | | `[Zone]` |
//! | `GET /v1/apps` | | `[AppStatus]` |
//! | `GET /v1/apps/{name}` | | `AppStatus` |
//! | `PUT /v1/apps/{name}` | `App` | `Deployed` |
//! | `DELETE /v1/apps/{name}` | | `Deployed` |
//! | `GET /v1/components` | | `[Component]` |
//! | `POST /v1/components/{app}/{component}` | `Assign` | `Deployed` |
//! | `GET /v1/processes?limit=` | | `[Process]` |
//! | `POST /v1/artifacts` | the bytes of a component | `Artifact` |
//! | `POST /v1/call` | `Call` | `Returned` |
//! | `POST /v1/drain` | | `Drained` |
//!
//! Whatever goes wrong is answered with an `ErrorBody` and a status of 400 or more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What every error is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: Error,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A word for programs.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// The process, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// A node, as the asked one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its id, made from the name.
    pub id: String,
    /// `here`, or how the asked node sees it: `live`, `avoided`, `closed` or `unlinked`.
    pub state: String,
    /// Its count of restarts.
    pub incarnation: u64,
    /// Where its peer links are, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its load as last told.
    pub load: Load,
    /// How many components it holds.
    pub components: usize,
    /// The name of its zone.
    pub zone: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// There and back, as measured, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
}

/// A zone, as the asked node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its id, or `here`.
    pub id: String,
    /// Whether the asked node speaks for it.
    pub speaks: bool,
    /// Since when nothing was heard of it, in milliseconds.
    pub silent_ms: u64,
    /// One way there, as measured, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_us: Option<u64>,
    /// What the way carries, as measured, in bytes a millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_ms: Option<u64>,
    /// Nodes by which it may be entered; of the own zone, nodes that are alive.
    pub doors: usize,
    /// Components of which its room is known; of the own zone, those held here.
    pub components: usize,
}

/// How loaded a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How long a step that arrives now is expected to wait, in microseconds.
    pub wait_us: u32,
    /// Cores that nothing runs on.
    pub idle: u16,
    /// Usable cores times speed, in thousandths.
    pub capacity_milli: u32,
    /// Steps that run or wait to run.
    pub queued: u32,
    /// Busy share of the cores, in thousandths.
    pub cpu_permille: u16,
    /// Used share of memory, in thousandths.
    pub memory_permille: u16,
    /// Used share of the network, in thousandths.
    pub network_permille: u16,
    /// Whether it takes new processes.
    pub accepting: bool,
}

impl From<izna_proto::Load> for Load {
    fn from(load: izna_proto::Load) -> Self {
        Self {
            wait_us: load.wait_us,
            idle: load.idle,
            capacity_milli: load.capacity_milli,
            queued: load.queued,
            cpu_permille: load.cpu_permille,
            memory_permille: load.memory_permille,
            network_permille: load.network_permille,
            accepting: load.accepting,
        }
    }
}

/// An app to deploy: a manifest with every component replaced by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Its name.
    pub name: String,
    /// Its components.
    pub components: Vec<AppComponent>,
    /// Its routes.
    #[serde(default)]
    pub routes: Vec<AppRoute>,
}

/// A component of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppComponent {
    /// Its name in the app.
    pub name: String,
    /// Its code, as `sha256:...`; an artifact that the node already took.
    pub digest: String,
    /// Whom it may call, under which names.
    #[serde(default)]
    pub links: BTreeMap<String, AppLink>,
    /// Linear memory of one step, in bytes.
    pub memory_bytes_max: u64,
    /// CPU time of one step, in milliseconds.
    pub cpu_ms_max: u32,
    /// Its environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it finds in `wasi:config`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// The hosts that it may send requests to: `[http://|https://]HOST[:PORT|:*]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_outbound_hosts: Vec<String>,
    /// The names of the nodes that hold it; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<String>>,
    /// Nodes that somebody added to these; a deploy begins without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Nodes that somebody removed; a deploy begins without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The zone that its holders are in; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Labels that its holders have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether idle nodes take it in when its holders are full.
    #[serde(default = "yes")]
    pub adopt: bool,
}

fn yes() -> bool {
    true
}

/// Whom a component may call under a name. In JSON the component's name alone, or an object if
/// there is more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AppLinkText", into = "AppLinkText")]
pub struct AppLink {
    /// The component's name in the app.
    pub component: String,
    /// Whether it runs on the node of its caller.
    pub local: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AppLinkText {
    Component(String),
    Link {
        component: String,
        #[serde(default)]
        local: bool,
    },
}

impl From<AppLinkText> for AppLink {
    fn from(text: AppLinkText) -> Self {
        match text {
            AppLinkText::Component(component) => Self { component, local: false },
            AppLinkText::Link { component, local } => Self { component, local },
        }
    }
}

impl From<AppLink> for AppLinkText {
    fn from(AppLink { component, local }: AppLink) -> Self {
        match local {
            false => Self::Component(component),
            true => Self::Link { component, local },
        }
    }
}

/// A path that leads to a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRoute {
    /// The path; `{name}` takes one segment, `{*name}` the rest; `/...` at its end takes what is
    /// before it and all under that.
    pub path: String,
    /// The component.
    pub component: String,
    /// The function; empty for a component that takes requests by `wasi:http`.
    #[serde(default)]
    pub function: String,
    /// How long a request may take, in milliseconds.
    pub deadline_ms: u32,
    /// Whether any request of it may be run again when its process is lost.
    #[serde(default)]
    pub idempotent: bool,
    /// The methods that it takes, such as `GET`, which has `HEAD` with it. When none is named:
    /// `GET` and `POST` for a function of a direct component, any for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

/// An app and how far the cluster is with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The app.
    pub app: App,
    /// Which deploy of it.
    pub revision: u64,
    /// Its components and who holds them.
    pub components: Vec<Component>,
    /// Where the asked node's gateway serves its routes: `http://address`.
    pub url: String,
}

/// A component and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// The app.
    pub app: String,
    /// Its name in the app.
    pub name: String,
    /// Its code.
    pub digest: String,
    /// The names of the nodes that are ready to run it.
    pub holders: Vec<String>,
    /// For each of them, why it holds it.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// How many nodes that are alive should hold it.
    pub wanted: usize,
    /// The other zones that tell that they hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Why the asked node cannot hold it, where it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The reason of a holder that the deploy names.
pub const DEPLOYED: &str = "deployed";
/// The reason of a holder that somebody added.
pub const BY_HAND: &str = "by hand";

impl Component {
    /// How many of the nodes that should hold it are ready to run it. Others may be, too.
    pub fn held_as_wanted(&self) -> usize {
        let wanted = |reason: &&Reason| [DEPLOYED, BY_HAND].contains(&reason.reason.as_str());
        self.reasons.iter().filter(wanted).count()
    }
}

/// Why a node holds a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The node.
    pub node: String,
    /// [`DEPLOYED`], [`BY_HAND`], `adopted`, or `until others have it`.
    pub reason: String,
    /// Of an adopted one, the figures of the decision, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A node that is to hold a component, or not to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// The name of the node.
    pub node: String,
    /// Whether it is to hold the component.
    pub holds: bool,
}

/// A process that the asked node holds or waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub id: String,
    /// The app.
    pub app: String,
    /// The component that runs or will run.
    pub component: String,
    /// The function.
    pub function: String,
    /// `running`, `queued`, `leaving` and so on.
    pub state: String,
    /// Time since its birth, in milliseconds.
    pub age_ms: u64,
    /// How many steps it has run.
    pub steps: u32,
    /// How often it has migrated.
    pub hops: u32,
    /// Why it is where it is, or goes where it goes: the last decision, in figures.
    #[serde(default)]
    pub why: String,
}

/// A component that a node took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is named by from now on.
    pub digest: String,
    /// What is in it.
    pub description: Description,
}

/// What a component is and needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// How it is called: `explicit`, `direct` or `http`.
    pub kind: String,
    /// Its size, in bytes.
    pub bytes: usize,
    /// What it asks for.
    pub imports: Vec<Interface>,
    /// What it provides.
    pub exports: Vec<Interface>,
    /// The memory that its core modules begin with, in bytes.
    pub memory_bytes: u64,
    /// Its core modules.
    pub modules: u32,
    /// Its largest function, in bytes.
    pub function_bytes: u64,
    /// The languages and tools that made it, as `language: Rust`.
    pub producers: Vec<String>,
}

/// One import or export of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name with its version, or the name of a single function.
    pub name: String,
    /// Its functions as in WIT.
    pub functions: Vec<String>,
    /// Of an import, whether the platform provides it; another one is a call of a component.
    #[serde(default)]
    pub granted: bool,
    /// What the platform gives for it, where that is not all that it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<String>,
    /// What of it cannot be called across components, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
}

/// What came of a deploy or an undeploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// The app.
    pub name: String,
    /// Which deploy this is.
    pub revision: u64,
}

/// A call to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The app.
    pub app: String,
    /// The component.
    pub component: String,
    /// The function.
    pub function: String,
    /// The arguments; see [`crate::json`].
    #[serde(default)]
    pub args: Vec<serde_json::Value>,
    /// How long it may take, in milliseconds.
    #[serde(default = "call_deadline_ms")]
    pub deadline_ms: u32,
    /// Whether it may be run again when its process is lost.
    #[serde(default)]
    pub idempotent: bool,
}

/// How long a call may take unless it says otherwise.
pub fn call_deadline_ms() -> u32 {
    30_000
}

/// What a call returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// The process that it was.
    pub process: String,
    /// The node of each step, in order.
    pub nodes: Vec<String>,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
    /// The result; see [`crate::json`].
    pub result: serde_json::Value,
}

/// The node takes nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The node.
    pub node: String,
    /// Whether nothing is left on it.
    pub empty: bool,
}
