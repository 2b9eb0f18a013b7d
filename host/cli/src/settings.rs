//! Settings: by flag, then by `IZNA_*`, then by file, then by default. Flags and variables are
//! clap's; here is the file, and who wins.

use std::{
    collections::BTreeSet,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use izna_gateway::{Limits, PAYLOAD_BYTES_MAX};
use izna_node::Tune;
use izna_runtime::PartsMax;
use serde::Deserialize;

use crate::{
    client::Client,
    document::Document,
    output::Format,
    quantity::Size,
    trouble::{Exit, Trouble, nearest},
};

/// What the variables of `izna node` begin with.
const PREFIX: &str = "IZNA_NODE_";

/// Where a node is managed unless it is told otherwise.
pub(crate) const MANAGE_DEFAULT: &str = "127.0.0.1:9070";

/// The flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// A TOML file with settings; flags and IZNA_* variables override it
    #[arg(long, global = true, value_name = "FILE", env = "IZNA_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Output format
    #[arg(long, global = true, value_name = "FORMAT", env = "IZNA_OUTPUT", hide_env_values = true)]
    output: Option<Format>,
}

/// Which node a command speaks to.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Management URL of the node [default: http://127.0.0.1:9070]
    #[arg(long = "node", value_name = "URL", env = "IZNA_NODE", hide_env_values = true)]
    pub(crate) url: Option<String>,
}

/// What every command knows.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) format: Format,
    pub(crate) file: File,
}

/// A settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    output: Option<Format>,
    client: ClientFile,
    pub(crate) node: NodeFile,
    pub(crate) limits: LimitsFile,
}

/// What commands that speak to a node are told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClientFile {
    node: Option<String>,
}

/// What `izna node` is told; the same names as its flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NodeFile {
    pub(crate) identity: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) manage: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) multicast: Option<String>,
    pub(crate) interface: Option<IpAddr>,
    pub(crate) seed: Option<Vec<String>>,
    pub(crate) zone: Option<String>,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) cores: Option<u16>,
    pub(crate) warm_max: Option<u16>,
    pub(crate) label: Option<Vec<String>>,
    pub(crate) adopt_max: Option<usize>,
    pub(crate) unneeded_ms: Option<u64>,
    pub(crate) live_steps_max: Option<u16>,
    pub(crate) instances_max: Option<u32>,
    pub(crate) memories_max: Option<u32>,
    pub(crate) tables_max: Option<u32>,
    pub(crate) table_elements_max: Option<u32>,
    pub(crate) body_max: Option<Size>,
    pub(crate) requests_max: Option<usize>,
    pub(crate) connections_max: Option<usize>,
    pub(crate) share_compiled: bool,
    pub(crate) compile_memory_max: Option<Size>,
    pub(crate) compile_seconds_max: Option<u32>,
    pub(crate) record: Option<PathBuf>,
    pub(crate) log: Option<String>,
    pub(crate) log_format: Option<Format>,
}

/// How components spread by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adoption {
    pub(crate) adopt_max: Option<usize>,
    pub(crate) unneeded_ms: Option<u64>,
}

impl Adoption {
    /// Put these settings in place of core's defaults.
    pub(crate) fn resolve(&self) -> Result<Tune, Trouble> {
        let (components, unneeded_ms) = (self.adopt_max, self.unneeded_ms);
        let within = |name: &str, value: Option<u64>, max: u64| match value {
            Some(value) => check(name, value, (0, max)),
            None => Ok(()),
        };
        within("adopt_max", components.map(|count| count as u64), 100_000)?;
        within("unneeded_ms", unneeded_ms, 86_400_000)?;
        Ok(Box::new(move |core| {
            if let Some(components) = components {
                core.adopted_max = components;
            }
            if let Some(unneeded_ms) = unneeded_ms {
                core.unneeded_after = Duration::from_millis(unneeded_ms);
            }
        }))
    }
}

/// What the gateway takes from clients, beside what has a flag.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsFile {
    #[serde(skip)]
    pub(crate) body_max: Option<Size>,
    #[serde(skip)]
    pub(crate) requests_max: Option<usize>,
    #[serde(skip)]
    pub(crate) connections_max: Option<usize>,
    pub(crate) headers: Option<Size>,
    pub(crate) header_count: Option<usize>,
    pub(crate) uri: Option<Size>,
    pub(crate) header_timeout_ms: Option<u64>,
    pub(crate) body_timeout_ms: Option<u64>,
    pub(crate) write_timeout_ms: Option<u64>,
    pub(crate) idle_timeout_ms: Option<u64>,
}

impl NodeFile {
    /// What a component may consist of.
    pub(crate) fn parts(&self) -> PartsMax {
        let default = PartsMax::default();
        PartsMax {
            instances_max: self.instances_max.unwrap_or(default.instances_max),
            memories_max: self.memories_max.unwrap_or(default.memories_max),
            tables_max: self.tables_max.unwrap_or(default.tables_max),
            table_elements_max: self.table_elements_max.unwrap_or(default.table_elements_max),
        }
    }
}

/// Check that each variable `IZNA_NODE_*` is one that some command reads.
pub(crate) fn check_variables(command: &clap::Command) -> Result<(), Trouble> {
    let mut known = BTreeSet::new();
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        known.extend(command.get_arguments().filter_map(|argument| argument.get_env()));
        commands.extend(command.get_subcommands());
    }
    let known: Vec<&str> = known.into_iter().filter_map(|name| name.to_str()).collect();
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut wrong = set.filter(|name| name.starts_with(PREFIX) && !known.contains(&name.as_str()));
    let Some(name) = wrong.next() else { return Ok(()) };
    let trouble = Trouble::new(Exit::Config, format!("unknown environment variable {name}"));
    Err(match nearest(&name, known) {
        Some(meant) => trouble.fix(format!("did you mean {meant}?")),
        None => trouble.fix("unset it; `izna node --help` lists the options"),
    })
}

impl Global {
    /// What holds for all commands.
    pub(crate) fn resolve(self) -> Result<Context, Trouble> {
        let file = match &self.config {
            Some(path) => Document::read(path)?.parse(Exit::Config)?,
            None => File::default(),
        };
        let format = self.output.or(file.output).unwrap_or_default();
        Ok(Context { format, file })
    }
}

impl Context {
    /// The node that a command speaks to.
    pub(crate) fn client(&self, target: &Target) -> Result<Client, Trouble> {
        let url = target.url.as_ref().or(self.file.client.node.as_ref());
        Client::new(url.map_or(&format!("http://{MANAGE_DEFAULT}"), |url| url))
    }
}

impl LimitsFile {
    /// The gateway's limits, with those that are set here in place of the defaults.
    pub(crate) fn resolve(&self) -> Result<Limits, Trouble> {
        let mut limits = Limits::default();
        for (name, max, given, slot) in [
            // A larger one no process could carry.
            ("body_max", PAYLOAD_BYTES_MAX as u64, self.body_max, &mut limits.body_bytes_max),
            ("headers", 1 << 20, self.headers, &mut limits.header_bytes_max),
            ("uri", 64 << 10, self.uri, &mut limits.uri_bytes_max),
        ] {
            if let Some(size) = given {
                check(name, size, (Size(64), Size(max)))?;
                *slot = usize::try_from(size.0).unwrap_or(usize::MAX);
            }
        }
        for (name, max, given, slot) in [
            ("header_count", 1000, self.header_count, &mut limits.headers_max),
            ("requests_max", 1 << 20, self.requests_max, &mut limits.requests_max),
            ("connections_max", 1 << 20, self.connections_max, &mut limits.connections_max),
        ] {
            if let Some(count) = given {
                check(name, count, (1, max))?;
                *slot = count;
            }
        }
        for (name, given, slot) in [
            ("header_timeout_ms", self.header_timeout_ms, &mut limits.header_timeout),
            ("body_timeout_ms", self.body_timeout_ms, &mut limits.body_timeout),
            ("write_timeout_ms", self.write_timeout_ms, &mut limits.write_timeout),
            ("idle_timeout_ms", self.idle_timeout_ms, &mut limits.idle_timeout),
        ] {
            if let Some(ms) = given {
                check(name, ms, (10, 3_600_000))?;
                *slot = Duration::from_millis(ms);
            }
        }
        Ok(limits)
    }
}

fn check<T: PartialOrd + Display>(name: &str, value: T, (min, max): (T, T)) -> Result<(), Trouble> {
    if (&min..=&max).contains(&&value) {
        return Ok(());
    }
    let what = format!("invalid {name} {value}: expected {min} to {max}");
    Err(Trouble::new(Exit::Config, what))
}
