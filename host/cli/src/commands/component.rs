//! `izna components` and `izna component`: who holds what, and why; adding and removing holders by
//! hand.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use izna_gateway::api;

use crate::{
    client::Client,
    commands::{
        deploy::{POLL, superseded},
        encode,
    },
    output::{self, Format, table},
    progress::Progress,
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
    /// Add a node to the holders of a component
    Add(Assign),
    /// Remove a node from the holders of a component
    Remove(Assign),
    /// Convert a core module to a component
    New(encode::Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct Assign {
    /// The component as APP/COMPONENT, or one name if both are the same
    component: String,
    /// The name of the node
    #[arg(value_name = "NODE")]
    name: String,
    /// Seconds to wait until the node has applied the change; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
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
    for (what, name) in [("app name", app), ("component name", component)] {
        izna_gateway::deploy::check_name(what, name)
            .map_err(|error| Trouble::new(Exit::Usage, error))?;
    }
    let client = context.client(&assign.target)?;
    let asked = api::Assign { node: assign.name.clone(), holds };
    let path = format!("/v1/components/{app}/{component}");
    let deployed: api::Deployed = client.post(&path, &asked)?;
    let change = Change { app, component, asked: &asked, revision: deployed.revision };
    let awaited = change.wait(&client, Duration::from_secs(assign.wait))?;
    match context.format {
        Format::Json => output::json(&deployed),
        Format::Text => {
            let (name, revision) = (&assign.name, deployed.revision);
            let does = match (awaited, holds) {
                (true, true) => "holds",
                (true, false) => "no longer holds",
                (false, true) => "will hold",
                (false, false) => "will no longer hold",
            };
            output::text(&format!("{name} {does} {app}/{component} as of revision {revision}\n"))
        }
    }
}

/// A holder that was added or removed.
struct Change<'a> {
    app: &'a str,
    component: &'a str,
    asked: &'a api::Assign,
    revision: u64,
}

impl Change<'_> {
    /// Wait until the node does as it should. False if that was not waited for: with a wait of zero,
    /// or because the node cannot be seen from here. It is silent, drains or is not linked, or it is
    /// of another zone, and tells only its own what it holds.
    fn wait(&self, client: &Client, wait: Duration) -> Result<bool, Trouble> {
        let _progress = Progress::start("waiting for the node");
        let began = Instant::now();
        loop {
            let status: api::AppStatus = client.get(&format!("/v1/apps/{}", self.app))?;
            if !self.is_in(&status.app) {
                return Err(superseded(&status, self.revision));
            }
            let nodes: Vec<api::Node> = client.get("/v1/nodes")?;
            let here = nodes.iter().find(|node| node.state == "here");
            let node = nodes.iter().find(|node| node.name == self.asked.node);
            let Some((here, node)) = here.zip(node) else { return Ok(false) };
            let is_seen = ["here", "live"].contains(&node.state.as_str()) && here.zone == node.zone;
            if wait.is_zero() || !is_seen {
                return Ok(false);
            }
            let component = status.components.iter().find(|c| c.name == self.component);
            let holds = component.is_some_and(|c| c.holders.contains(&self.asked.node));
            if holds == self.asked.holds {
                return Ok(true);
            }
            if began.elapsed() > wait {
                // What is wrong is known of the asked node alone.
                let trouble = component.and_then(|c| c.trouble.as_deref());
                return Err(self.late(wait, trouble.filter(|_| node.name == here.name)));
            }
            thread::sleep(POLL);
        }
    }

    /// Whether this is what the app says of the node.
    fn is_in(&self, app: &api::App) -> bool {
        let node = &self.asked.node;
        let Some(component) = app.components.iter().find(|c| c.name == self.component) else {
            return false;
        };
        let is_named = component.nodes.as_ref().is_none_or(|nodes| nodes.contains(node));
        let holds =
            (is_named || component.added.contains(node)) && !component.removed.contains(node);
        holds == self.asked.holds
    }

    fn late(&self, wait: Duration, trouble: Option<&str>) -> Trouble {
        let (node, app, component) = (&self.asked.node, self.app, self.component);
        let state = if self.asked.holds { "does not hold" } else { "still holds" };
        let what = format!("{node} {state} {app}/{component} after {} s", wait.as_secs());
        let why = trouble.unwrap_or("the node reported no reason; see its log");
        let fix = format!(
            "revision {} is deployed and the node keeps trying; see `izna components`",
            self.revision
        );
        Trouble::new(Exit::TryAgain, what).why(why).fix(fix)
    }
}
