//! `izna dev`: one node of its own cluster with the app of this folder, built and deployed again at
//! every change. What fails to build is shown, and the last good revision goes on.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use izna_gateway::Limits;
use izna_node::{Authority, Identity};
use izna_proto::Traits;
use izna_runtime::{Allowance, PartsMax};
use notify::{Event, EventKind, RecursiveMode, Watcher};

use crate::{
    bridge,
    client::Client,
    commands::{
        build, deploy,
        node::{self, Plan, Stop},
    },
    log::Log,
    manifest,
    output::{self, Format},
    sources::Sources,
    trouble::{Exit, Trouble},
};

/// Changes that come within this of each other are one change, but not for ever.
const SETTLE: Duration = Duration::from_millis(200);
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// The most files that are named.
const NAMED_MAX: usize = 3;
const READY_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The manifest, or the folder that it is in
    #[arg(value_name = "DIR|izna.toml", default_value = ".")]
    manifest: PathBuf,
    /// Address for clients (HTTP); port 0 chooses a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Management address of the node
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9070")]
    manage: SocketAddr,
    /// Log filter of levels and targets
    #[arg(long, value_name = "FILTER", default_value = "warn,guest=trace,access=debug")]
    log: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let file = manifest::find(&arguments.manifest)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let log = Log::start(&arguments.log, Format::Text)?;
    let state = folder.join(".izna");
    let plan = Plan {
        identity: own_identity(&state)?,
        data: state.join("dev-data"),
        listen: arguments.listen,
        manage: arguments.manage,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        multicast: None,
        seeds: Vec::new(),
        advertise: None,
        cores: None,
        traits: Traits::default(),
        tune: None,
        record: None,
        shares_code: false,
        allowance: Allowance::default(),
        limits: Limits::default(),
        warm_max: None,
        live_steps_max: None,
        parts: PartsMax::default(),
    };
    let runtime = node::runtime()?;
    let ended = runtime.block_on(async {
        let mut stop = Stop::new()?;
        let running = plan.start(&log).await?;
        let url = format!("http://{}", running.gateway.manage_address());
        output::text(&format!("Serving http://{}\n", running.gateway.address()))?;
        let (done, mut ended) = tokio::sync::oneshot::channel();
        let follow = move || {
            let _ = done.send(follow(&url, &file, &folder));
        };
        thread::Builder::new().name("dev".into()).spawn(follow).map_err(|error| {
            Trouble::new(Exit::Software, "cannot start a thread").why(error.to_string())
        })?;
        let end = tokio::select! {
            () = stop.asked() => Ok(()),
            end = &mut ended => end.unwrap_or(Ok(())),
            why = running.node.stopped() => Err(node::failed(why)),
        };
        running.finish(&mut stop).await;
        end
    });
    runtime.shutdown_background();
    ended
}

/// The identity of the one node, made when it is not there or no longer good.
fn own_identity(state: &Path) -> Result<Identity, Trouble> {
    let path = state.join("dev-cluster").join("dev.identity");
    if let Ok(identity) = Identity::load(&path) {
        return Ok(identity);
    }
    let folder = state.join("dev-cluster");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Trouble::file("replace", &folder, &error));
        }
        _ => {}
    }
    let trouble = |error| bridge::identity(&error);
    let authority = Authority::create(&folder, "dev").map_err(trouble)?;
    let path = authority.issue("dev").and_then(|bundle| bundle.write(&folder)).map_err(trouble)?;
    Identity::load(&path).map_err(trouble)
}

/// Build and deploy now and at every change, until the watch ends.
fn follow(url: &str, file: &Path, folder: &Path) -> Result<(), Trouble> {
    let client = Client::new(url)?;
    let (told, changes) = mpsc::channel();
    let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let mut sources = Sources::new(folder);
    let watched = |error: notify::Error| {
        let what = format!("cannot watch {}", folder.display());
        Trouble::new(Exit::Unavailable, what).why(error.to_string())
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let changes = |kind: &EventKind| !matches!(kind, EventKind::Access(_));
        if let Some(event) = event.ok().filter(|event| changes(&event.kind)) {
            let _ = told.send(event.paths);
        }
    })
    .map_err(watched)?;
    watcher.watch(folder, RecursiveMode::Recursive).map_err(watched)?;
    let mut deployed = false;
    loop {
        match build_and_deploy(&client, file) {
            Ok(said) => {
                deployed = true;
                output::text(&said)?;
            }
            Err(trouble) => {
                output::error(&trouble.to_string());
                output::error(match deployed {
                    true => "The last good revision keeps running; waiting for changes",
                    false => "Nothing is deployed yet; waiting for changes",
                });
            }
        }
        let mut changed = sources.doubtful(settled(&changes, Vec::new()));
        while changed.is_empty() {
            let Ok(first) = changes.recv() else { return Ok(()) };
            changed = sources.changed(settled(&changes, first));
        }
        output::error(&format!("Changed: {}", named(&changed)));
    }
}

/// The paths of all events until there is none for a while.
fn settled(changes: &Receiver<Vec<PathBuf>>, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let began = Instant::now();
    while began.elapsed() < SETTLE_MAX {
        let Ok(more) = changes.recv_timeout(SETTLE) else { break };
        paths.extend(more);
    }
    paths
}

fn named(changed: &[PathBuf]) -> String {
    let names = changed.iter().take(NAMED_MAX).map(|path| path.display().to_string());
    let mut names: Vec<String> = names.collect();
    if changed.len() > NAMED_MAX {
        names.push(format!("{} more", changed.len() - NAMED_MAX));
    }
    names.join(", ")
}

fn build_and_deploy(client: &Client, file: &Path) -> Result<String, Trouble> {
    let mut manifest = manifest::read(file)?;
    // There is one node here, whatever the manifest says of others.
    for component in &mut manifest.components {
        component.nodes = None;
        (component.zone, component.labels) = (None, Vec::new());
    }
    build::build(&manifest)?;
    deploy::deploy(client, &manifest, READY_WAIT).map(|status| deploy::shown(&status))
}
