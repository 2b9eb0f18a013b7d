//! `izna deploy` and `izna undeploy`.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use izna_gateway::api;

use crate::{
    client::Client,
    commands::build,
    link::Link,
    manifest::{self, Component, Manifest},
    output::{self, Format},
    progress::Progress,
    quantity::Size,
    settings::{Context, Target},
    trouble::{Exit, Trouble},
};

pub(crate) const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The manifest, or the folder that it is in
    #[arg(value_name = "DIR|izna.toml", default_value = ".")]
    manifest: PathBuf,
    /// Nodes that hold the components, overriding the manifest
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    nodes: Option<Vec<String>>,
    /// Skip the build commands of the components
    #[arg(long)]
    no_build: bool,
    /// Seconds to wait until all holders are ready; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Undeploy {
    /// The app
    app: String,
    #[command(flatten)]
    target: Target,
}

/// Whether stopping now would leave something behind.
static ACTIVATED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Trouble> {
    let mut manifest = manifest::read(&manifest::find(&arguments.manifest)?)?;
    if let Some(nodes) = &arguments.nodes {
        for component in &mut manifest.components {
            component.nodes = Some(nodes.clone());
        }
    }
    let client = context.client(&arguments.target)?;
    answer_interrupts();
    if !arguments.no_build {
        build::build(&manifest)?;
    }
    let wait = Duration::from_secs(arguments.wait);
    let status = deploy(&client, &manifest, wait)?;
    match context.format {
        Format::Json => output::json(&status),
        Format::Text => output::text(&shown(&status)),
    }
}

/// Ctrl-C ends the program with what it left behind, if anything.
fn answer_interrupts() {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let heard = runtime.map(|runtime| runtime.block_on(tokio::signal::ctrl_c()));
        if matches!(heard, Ok(Ok(()))) {
            let left = match ACTIVATED.load(Ordering::Relaxed) {
                true => "interrupted while waiting; the new revision is deployed",
                false => "interrupted; nothing was deployed",
            };
            output::error(left);
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    // Without the thread, Ctrl-C just ends the program.
    let _ = thread::Builder::new().name("interrupt".into()).spawn(wait);
}

/// Send the components, deploy the app, and wait until its holders are ready.
pub(crate) fn deploy(
    client: &Client,
    manifest: &Manifest,
    wait: Duration,
) -> Result<api::AppStatus, Trouble> {
    // All files are read before the first is sent: a missing one costs nothing.
    let files = manifest.components.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut components = Vec::new();
    for (component, bytes) in manifest.components.iter().zip(files) {
        components.push(send(client, component, &bytes)?);
    }
    let routes = manifest.routes.iter().cloned().map(|route| api::AppRoute {
        path: route.path,
        component: route.component,
        function: route.function,
        deadline_ms: route.deadline_ms,
        idempotent: route.idempotent,
        methods: route.methods,
    });
    let app = api::App { name: manifest.app.clone(), components, routes: routes.collect() };
    let path = format!("/v1/apps/{}", manifest.app);
    let deployed: api::Deployed = client.put(&path, &app)?;
    ACTIVATED.store(true, Ordering::Relaxed);
    await_holders(client, &app, deployed.revision, wait)
}

fn read(component: &Component) -> Result<Bytes, Trouble> {
    fs::read(&component.source).map(Bytes::from).map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Trouble::file("read", &component.source, &error).at(component.at.clone());
        }
        let file = component.source.display();
        let what = format!("component `{}`: file not found: {file}", component.name);
        let trouble = Trouble::new(Exit::NoInput, what).at(component.at.clone());
        match &component.build {
            Some(build) => trouble.fix(format!("build it with `{build}`")),
            None => trouble.fix("build it, or add build = \"COMMAND\" to the manifest"),
        }
    })
}

fn send(
    client: &Client,
    component: &Component,
    bytes: &Bytes,
) -> Result<api::AppComponent, Trouble> {
    let _progress = Progress::start(format!("compiling {}", component.name));
    let artifact = client.admit(bytes).map_err(|trouble| match trouble.exit() {
        Exit::Data => trouble.at(component.at.clone()),
        _ => trouble,
    })?;
    check_memory(component, &artifact.description)?;
    Ok(api::AppComponent {
        name: component.name.clone(),
        digest: artifact.digest,
        links: component.links.iter().map(|(own, link)| (own.clone(), sent(link))).collect(),
        memory_bytes_max: component.memory.0,
        cpu_ms_max: component.cpu_ms,
        env: component.env.clone(),
        config: component.config.clone(),
        allowed_outbound_hosts: component.allowed_outbound_hosts.clone(),
        nodes: component.nodes.clone(),
        added: Vec::new(),
        removed: Vec::new(),
        zone: component.zone.clone(),
        labels: component.labels.clone(),
        adopt: component.adopt,
    })
}

/// Check that an instance can begin at all.
fn check_memory(component: &Component, is: &api::Description) -> Result<(), Trouble> {
    let (initial, max) = (Size(is.memory_bytes), component.memory);
    if initial <= max {
        return Ok(());
    }
    let name = &component.name;
    let what = format!("component `{name}` starts with {initial} of memory, its limit is {max}");
    let fix = format!("set limits = {{ memory = \"{initial}\" }} or more");
    Err(Trouble::new(Exit::Data, what).at(component.at.clone()).fix(fix))
}

fn sent(link: &Link) -> api::AppLink {
    api::AppLink { component: link.component.clone(), local: link.local }
}

fn await_holders(
    client: &Client,
    app: &api::App,
    revision: u64,
    wait: Duration,
) -> Result<api::AppStatus, Trouble> {
    let _progress = Progress::start("deploying");
    let began = Instant::now();
    loop {
        let status: api::AppStatus = client.get(&format!("/v1/apps/{}", app.name))?;
        if status.revision != revision || !same_code(&status.app, app) {
            return Err(superseded(&status, revision));
        }
        let is_open = |component: &&api::Component| {
            let nowhere = component.holders.is_empty() && component.zones.is_empty();
            nowhere || component.held_as_wanted() < component.wanted
        };
        let open = status.components.iter().find(is_open);
        let Some(open) = open.filter(|_| !wait.is_zero()) else { return Ok(status) };
        if began.elapsed() > wait {
            let what = format!("component `{}` is not ready on all its nodes", open.name);
            let why = match &open.trouble {
                Some(trouble) => trouble.clone(),
                None => format!(
                    "ready on {} of {} nodes after {} s: {}",
                    open.held_as_wanted(),
                    open.wanted,
                    wait.as_secs(),
                    open.holders.join(", ")
                ),
            };
            let fix = "the app is deployed, others may serve it; see `izna apps` and `izna nodes`";
            return Err(Trouble::new(Exit::TryAgain, what).why(why).fix(fix));
        }
        thread::sleep(POLL);
    }
}

fn same_code(one: &api::App, other: &api::App) -> bool {
    let code = |app: &api::App| -> BTreeMap<String, String> {
        let components = app.components.iter();
        components.map(|c| (c.name.clone(), c.digest.clone())).collect()
    };
    code(one) == code(other)
}

/// A deploy at another node, of which this one had not heard, came out on top.
pub(crate) fn superseded(status: &api::AppStatus, revision: u64) -> Trouble {
    let name = &status.app.name;
    let what = format!("revision {revision} of app `{name}` was superseded immediately");
    let why = format!("revision {} was deployed through another node meanwhile", status.revision);
    let fix = "deploy again if yours should be the newest; see `izna apps`";
    Trouble::new(Exit::TryAgain, what).why(why).fix(fix)
}

pub(crate) fn shown(status: &api::AppStatus) -> String {
    let mut said = format!("Deployed {}, revision {}\n", status.app.name, status.revision);
    for component in &status.components {
        let holders = component.holders.join(", ");
        said += &format!("  {} on {holders}\n", component.name);
    }
    for route in &status.app.routes {
        said += &format!("  {}{}\n", status.url, route.path);
    }
    said
}

pub(crate) fn undeploy(context: &Context, arguments: &Undeploy) -> Result<(), Trouble> {
    let path = format!("/v1/apps/{}", arguments.app);
    izna_gateway::deploy::check_name("app name", &arguments.app)
        .map_err(|error| Trouble::new(Exit::Usage, error))?;
    let undeployed: api::Deployed = context.client(&arguments.target)?.delete(&path)?;
    match context.format {
        Format::Json => output::json(&undeployed),
        Format::Text => output::text(&format!("Undeployed {}\n", undeployed.name)),
    }
}
