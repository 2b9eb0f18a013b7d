//! The program `izna`: commands and configuration. What runs is in `izna-node`, what speaks HTTP in
//! `izna-gateway`; here they are put together and spoken to.

mod allocator;
mod bridge;
mod client;
mod commands;
mod document;
mod link;
mod log;
mod manifest;
mod output;
mod progress;
mod quantity;
mod requests;
mod settings;
mod sources;
mod trouble;
mod usage;
mod wave;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    build, call, cluster, compile, component, deploy, dev, inspect, list, new, node, shell,
};
use settings::Global;
use trouble::Trouble;

/// Services as WebAssembly components on a cluster of equal nodes
#[derive(Debug, Parser)]
#[command(name = "izna", version, max_term_width = 100, infer_long_args = true)]
struct Izna {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a cluster's authority and the identities of its nodes
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Run a node until it is told to stop
    #[command(after_help = node::AFTER_HELP)]
    Node(Box<node::Arguments>),
    /// Deploy an app, or a new revision of it
    Deploy(deploy::Arguments),
    /// Undeploy an app
    Undeploy(deploy::Undeploy),
    /// Call a function of a component and print its result
    Call(call::Arguments),
    /// List the nodes of the cluster
    Nodes(list::Arguments),
    /// List the zones of the cluster and their distance
    Zones(list::Arguments),
    /// List the apps that are deployed
    Apps(list::Arguments),
    /// List the components with their holders and the reasons
    Components(component::List),
    /// Add and remove holders of a component; convert core modules
    #[command(subcommand)]
    Component(component::Command),
    /// List the processes that a node holds or waits for
    Ps(list::Processes),
    /// Stop accepting work on a node and hand over its processes
    Drain(list::Arguments),
    /// Show what a component needs and provides, and whether it can be deployed
    Inspect(inspect::Arguments),
    /// Create a new app in a new directory
    New(new::Arguments),
    /// Build the components of an app
    Build(build::Arguments),
    /// Run one node with the app of this directory; rebuild and redeploy on every change
    Dev(dev::Arguments),
    /// Print shell completions
    Completions(shell::Arguments),
    /// Compile a component from the standard input: what a node starts to do so apart from itself
    #[command(hide = true)]
    Compile(compile::Arguments),
    /// Print the JSON schema of izna.toml
    #[command(hide = true)]
    Schema,
}

fn main() -> ExitCode {
    allocator::set_limits();
    let izna = match Izna::try_parse() {
        Ok(izna) => izna,
        Err(error) => return usage::explain(&error),
    };
    match run(izna) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            output::last_error(trouble.to_string());
            ExitCode::from(trouble.exit() as u8)
        }
    }
}

fn run(Izna { global, command }: Izna) -> Result<(), Trouble> {
    let context = global.resolve()?;
    match command {
        Command::Cluster(command) => cluster::run(&context, command),
        Command::Node(arguments) => node::run(&context, *arguments),
        Command::Deploy(arguments) => deploy::run(&context, &arguments),
        Command::Undeploy(arguments) => deploy::undeploy(&context, &arguments),
        Command::Call(arguments) => call::run(&context, arguments),
        Command::Nodes(arguments) => list::nodes(&context, &arguments),
        Command::Zones(arguments) => list::zones(&context, &arguments),
        Command::Apps(arguments) => list::apps(&context, &arguments),
        Command::Components(arguments) => component::list(&context, &arguments),
        Command::Component(command) => component::run(&context, &command),
        Command::Ps(arguments) => list::processes(&context, &arguments),
        Command::Drain(arguments) => list::drain(&context, &arguments),
        Command::Inspect(arguments) => inspect::run(&context, &arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Completions(arguments) => shell::run(&arguments),
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Schema => output::text(&manifest::schema()),
    }
}
