//! `izna nodes`, `zones`, `apps`, `ps` and `drain`: what a node says of the cluster and of itself.

use clap::Args;
use izna_gateway::api;

use crate::{
    output::{self, Format, table},
    progress::Progress,
    settings::{Context, Target},
    trouble::Trouble,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Processes {
    /// Maximum number of processes to list
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Show the last placement decision of each process, with its figures
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn nodes(context: &Context, arguments: &Arguments) -> Result<(), Trouble> {
    let nodes: Vec<api::Node> = context.client(&arguments.target)?.get("/v1/nodes")?;
    if context.format == Format::Json {
        return output::json(&nodes);
    }
    let percent = |permille: u16| format!("{}%", permille / 10);
    let row = |node: &api::Node| {
        let load = &node.load;
        vec![
            node.name.clone(),
            match node.state.as_str() {
                "here" if !load.accepting => "here, not accepting".to_owned(),
                state => state.to_owned(),
            },
            node.address.clone().unwrap_or_default(),
            format!("{:.1}", f64::from(load.capacity_milli) / 1000.0),
            percent(load.cpu_permille),
            percent(load.memory_permille),
            load.queued.to_string(),
            format!("{:.1}ms", f64::from(load.wait_us) / 1000.0),
            node.components.to_string(),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    let titles =
        ["NODE", "STATE", "ADDRESS", "CORES", "CPU", "MEMORY", "QUEUED", "WAIT", "COMPONENTS"];
    output::text(&table(&titles, &rows))
}

pub(crate) fn zones(context: &Context, arguments: &Arguments) -> Result<(), Trouble> {
    let zones: Vec<api::Zone> = context.client(&arguments.target)?.get("/v1/zones")?;
    if context.format == Format::Json {
        return output::json(&zones);
    }
    let row = |zone: &api::Zone| {
        vec![
            zone.name.clone(),
            match (zone.id.as_str(), zone.speaks) {
                ("here", true) => "here, leader".to_owned(),
                ("here", false) => "here".to_owned(),
                _ => format!("last heard {} ms ago", zone.silent_ms),
            },
            zone.hop_us.map_or(String::new(), |hop_us| format!("{:.1}ms", hop_us as f64 / 1000.0)),
            zone.bytes_per_ms.map_or(String::new(), |rate| format!("{:.1}MB/s", rate as f64 / 1e3)),
            zone.doors.to_string(),
            zone.components.to_string(),
        ]
    };
    let rows: Vec<_> = zones.iter().map(row).collect();
    output::text(&table(&["ZONE", "STATE", "LATENCY", "RATE", "NODES", "COMPONENTS"], &rows))
}

pub(crate) fn apps(context: &Context, arguments: &Arguments) -> Result<(), Trouble> {
    let apps: Vec<api::AppStatus> = context.client(&arguments.target)?.get("/v1/apps")?;
    if context.format == Format::Json {
        return output::json(&apps);
    }
    let row = |status: &api::AppStatus, component: &api::Component| {
        let routes = status.app.routes.iter().filter(|route| route.component == component.name);
        vec![
            status.app.name.clone(),
            status.revision.to_string(),
            component.name.clone(),
            component.digest.chars().take("sha256:".len() + 12).collect(),
            format!("{}/{}", component.holders.len(), component.wanted),
            routes.map(|route| route.path.as_str()).collect::<Vec<_>>().join(" "),
        ]
    };
    let rows: Vec<_> = apps
        .iter()
        .flat_map(|status| status.components.iter().map(move |component| row(status, component)))
        .collect();
    let titles = ["APP", "REVISION", "COMPONENT", "DIGEST", "READY", "ROUTES"];
    output::text(&table(&titles, &rows))
}

pub(crate) fn processes(context: &Context, arguments: &Processes) -> Result<(), Trouble> {
    let path = format!("/v1/processes?limit={}", arguments.limit);
    let processes: Vec<api::Process> = context.client(&arguments.target)?.get(&path)?;
    if context.format == Format::Json {
        return output::json(&processes);
    }
    let row = |process: &api::Process| {
        vec![
            process.id.clone(),
            process.app.clone(),
            process.component.clone(),
            process.function.clone(),
            process.state.clone(),
            format!("{}ms", process.age_ms),
            process.steps.to_string(),
            process.hops.to_string(),
        ]
    };
    let mut rows: Vec<_> = processes.iter().map(row).collect();
    let mut titles =
        vec!["PROCESS", "APP", "COMPONENT", "FUNCTION", "STATE", "AGE", "STEPS", "HOPS"];
    if arguments.why {
        titles.push("WHY");
        rows.iter_mut().zip(&processes).for_each(|(row, process)| row.push(process.why.clone()));
    }
    output::text(&table(&titles, &rows))
}

pub(crate) fn drain(context: &Context, arguments: &Arguments) -> Result<(), Trouble> {
    let progress = Progress::start("draining");
    let drained: api::Drained = context.client(&arguments.target)?.post("/v1/drain", &())?;
    drop(progress);
    match context.format {
        Format::Json => output::json(&drained),
        Format::Text => output::text(&match drained.empty {
            true => format!("{} accepts no new work and is empty\n", drained.node),
            false => format!("{} accepts no new work, but is not empty yet\n", drained.node),
        }),
    }
}
