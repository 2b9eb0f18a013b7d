//! `izna cluster`: who belongs to a cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use izna_node::Authority;
use serde_json::json;

use crate::{
    bridge,
    output::{self, Format},
    settings::Context,
    trouble::{Exit, Trouble},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the authority of a new cluster; whoever has its files can add nodes
    Init(Init),
    /// Create the identity of a node, the file that `izna node` needs
    AddNode(AddNode),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory for the authority's files
    #[arg(default_value = ".izna/cluster")]
    dir: PathBuf,
    /// Display name of the cluster
    #[arg(long, default_value = "izna")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct AddNode {
    /// The node's name
    name: String,
    /// Directory of the authority's files
    #[arg(long, value_name = "DIR", default_value = ".izna/cluster", env = "IZNA_CLUSTER")]
    #[arg(hide_env_values = true)]
    cluster: PathBuf,
    /// Directory for the identity [default: that of the authority]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Replace an identity that was issued before; that one stays valid
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(context: &Context, command: Command) -> Result<(), Trouble> {
    match command {
        Command::Init(arguments) => init(context, &arguments),
        Command::AddNode(arguments) => add_node(context, &arguments),
    }
}

fn init(context: &Context, Init { dir, name }: &Init) -> Result<(), Trouble> {
    let authority = Authority::create(dir, name).map_err(|error| bridge::identity(&error))?;
    let (cluster, shown) = (authority.cluster().to_string(), dir.display().to_string());
    match context.format {
        Format::Json => output::json(&json!({ "cluster": cluster, "directory": shown })),
        Format::Text => output::text(&format!(
            "Created the authority of cluster {cluster} in {shown}\n\
             Keep it secret, and add nodes with `izna cluster add-node NAME`\n"
        )),
    }
}

fn add_node(context: &Context, arguments: &AddNode) -> Result<(), Trouble> {
    let trouble = |error| bridge::identity(&error);
    let authority = Authority::open(&arguments.cluster).map_err(trouble)?;
    let bundle = authority.issue(&arguments.name).map_err(trouble)?;
    let to = arguments.to.as_ref().unwrap_or(&arguments.cluster);
    let path = to.join(format!("{}.identity", arguments.name));
    if path.exists() && !arguments.replace {
        let what = format!("{} already exists; it was not changed", path.display());
        let why = "two running nodes must not have the same name";
        let fix = "choose another name, or --replace: the node that has it must be stopped first";
        return Err(Trouble::new(Exit::CannotCreate, what).why(why).fix(fix));
    }
    let path = bundle.write(to);
    let path = path.map_err(trouble)?.display().to_string();
    match context.format {
        Format::Json => output::json(&json!({ "node": arguments.name, "identity": path })),
        Format::Text => output::text(&format!(
            "Created the identity of node {} in {path}\n\
             Run it with `izna node --identity {path}`\n",
            arguments.name
        )),
    }
}
