//! `izna components` and `izna component`: who holds what, and why; adding and removing holders by
//! hand.

use clap::{Args, Subcommand};
use izna_gateway::api;

use crate::{
    commands::encode,
    output::{self, Format, table},
    settings::{Context, Target},
    trouble::{Exit, Trouble},
};

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let a node hold a component from now on
    Add(Assign),
    /// Let a node hold a component no longer
    Remove(Assign),
    /// Make a component of a core module
    New(encode::Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct Assign {
    /// The component, as APP/COMPONENT; one word where both have the same name
    component: String,
    /// The name of the node
    #[arg(value_name = "NODE")]
    name: String,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn list(context: &Context, arguments: &List) -> Result<(), Trouble> {
    let components: Vec<api::Component> =
        context.client(&arguments.target)?.get("/v1/components")?;
    if context.format == Format::Json {
        return output::json(&components);
    }
    let mut rows = Vec::new();
    for component in &components {
        let name = format!("{}/{}", component.app, component.name);
        for (n, reason) in component.reasons.iter().enumerate() {
            let name = if n == 0 { name.clone() } else { String::new() };
            let why = reason.why.clone().unwrap_or_default();
            rows.push(vec![name, reason.node.clone(), reason.reason.clone(), why]);
        }
        if component.reasons.is_empty() {
            rows.push(vec![name, "none".into(), String::new(), String::new()]);
        }
        if let Some(trouble) = &component.trouble {
            rows.push(vec![String::new(), "here".into(), "not ready".into(), trouble.clone()]);
        }
    }
    output::text(&table(&["COMPONENT", "NODE", "HELD", "WHY"], &rows))
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Trouble> {
    let (assign, holds) = match command {
        Command::Add(assign) => (assign, true),
        Command::Remove(assign) => (assign, false),
        Command::New(arguments) => return encode::run(arguments),
    };
    let (app, component) = match assign.component.split_once('/') {
        Some((app, component)) => (app, component),
        None => (assign.component.as_str(), assign.component.as_str()),
    };
    for (what, name) in [("an app", app), ("a component", component)] {
        izna_gateway::deploy::check_name(what, name)
            .map_err(|error| Trouble::new(Exit::Usage, error.to_string()))?;
    }
    let asked = api::Assign { node: assign.name.clone(), holds };
    let path = format!("/v1/components/{app}/{component}");
    let deployed: api::Deployed = context.client(&assign.target)?.post(&path, &asked)?;
    match context.format {
        Format::Json => output::json(&deployed),
        Format::Text => {
            let does = if holds { "holds" } else { "does not hold" };
            output::text(&format!(
                "{} {does} {app}/{component} from revision {} on\n",
                assign.name, deployed.revision
            ))
        }
    }
}
