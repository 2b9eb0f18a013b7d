//! `izna dev`: one node of its own cluster with the app of this folder, built and deployed again at
//! every change. What fails to build is shown, and the last good revision goes on.

use std::{
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use clap::Args;
use izna_gateway::Limits;
use izna_node::{Authority, Identity};
use izna_proto::Traits;
use izna_runtime::Allowance;
use notify::{Event, EventKind, RecursiveMode, Watcher};

use crate::{
    bridge,
    client::Client,
    commands::{
        build, deploy,
        node::{self, Plan, Stop},
    },
    manifest,
    output::{self, Format},
    trouble::{Exit, Trouble},
};

/// Changes that come within this are one change.
const SETTLE: Duration = Duration::from_millis(200);
const READY_WAIT: Duration = Duration::from_secs(60);
/// Folders that change while an app is built and run, at any depth.
const NOT_WATCHED: [&str; 7] =
    [".izna", ".git", "target", "node_modules", "__pycache__", "Cargo.lock", "package-lock.json"];

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
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let file = manifest::find(&arguments.manifest)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    node::log(&arguments.log, Format::Text)?;
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
    };
    node::runtime()?.block_on(async {
        let mut stop = Stop::new()?;
        let running = plan.start().await?;
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
        };
        running.finish(&mut stop).await;
        end
    })
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
    let watch = Arc::new(Watch { folder: folder.to_path_buf(), built: Mutex::default() });
    let watching = Arc::clone(&watch);
    let watched = |error: notify::Error| {
        let what = format!("cannot watch {}", folder.display());
        Trouble::new(Exit::Unavailable, what).why(error.to_string())
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| watching.matters(&event)) {
            let _ = told.send(());
        }
    })
    .map_err(watched)?;
    watcher.watch(folder, RecursiveMode::Recursive).map_err(watched)?;
    let mut deployed = false;
    loop {
        match build_and_deploy(&client, file, &watch) {
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
        if !changed(&changes) {
            return Ok(());
        }
        output::error("Something changed");
    }
}

fn build_and_deploy(client: &Client, file: &Path, watch: &Watch) -> Result<String, Trouble> {
    let mut manifest = manifest::read(file)?;
    // There is one node here, whatever the manifest says of others.
    for component in &mut manifest.components {
        component.nodes = None;
        (component.zone, component.labels) = (None, Vec::new());
    }
    let built = manifest.components.iter().filter(|component| component.build.is_some());
    let names = built.filter_map(|component| component.source.file_name().map(Into::into));
    *watch.built.lock().unwrap_or_else(PoisonError::into_inner) = names.collect();
    build::build(&manifest)?;
    deploy::deploy(client, &manifest, READY_WAIT).map(|status| deploy::shown(&status))
}

/// What is watched.
struct Watch {
    folder: PathBuf,
    /// The names of the files that builds make: they change without their author.
    built: Mutex<Vec<OsString>>,
}

impl Watch {
    /// Whether a change is one of the author's.
    fn matters(&self, event: &Event) -> bool {
        let changes = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)
        );
        changes && event.paths.iter().any(|path| self.is_authors(path))
    }

    fn is_authors(&self, path: &Path) -> bool {
        let path = path.strip_prefix(&self.folder).unwrap_or(path);
        let mut parts = path.components().map(|part| part.as_os_str());
        let built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        !parts.any(|part| NOT_WATCHED.iter().any(|folder| part == *folder))
            && !built.iter().any(|built| path.file_name() == Some(built))
    }
}

/// Wait for a change and until it has settled; false when the watch has ended.
fn changed(changes: &Receiver<()>) -> bool {
    if changes.recv().is_err() {
        return false;
    }
    loop {
        match changes.recv_timeout(SETTLE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}
