//! Apps as the cluster knows them: what a deploy leaves in the app table of every node.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{
    ComponentId, Digest, Error, Grants, Reader, Spread, Unfit, Wire, Writer,
    layout::{Added, Layout, Many, Maybe, Plain, Text, field, record},
    limits::{METHOD_BYTES_MAX, METHODS_MAX, NAME_BYTES_MAX, PARTS_MAX, PATH_BYTES_MAX},
};

/// Which deploy of an app: rises with each, so that the newest wins wherever two meet.
pub type Revision = u64;

/// One revision of an app, with everything resolved: what runs, who may call whom, which paths lead
/// in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: Arc<str>,
    /// Its components, by name.
    pub components: Vec<ComponentSpec>,
    /// Its routes.
    pub routes: Vec<Route>,
}

/// A component of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSpec {
    /// Its name in the app.
    pub name: Arc<str>,
    /// Its code.
    pub digest: Digest,
    /// Whom it may call.
    pub links: Vec<Link>,
    /// What one step of it may use.
    pub limits: Limits,
    /// What it is given beside that.
    pub grants: Arc<Grants>,
    /// Which nodes hold it.
    pub spread: Spread,
}

/// A name under which a component calls another of its app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The name that the caller uses.
    pub name: Arc<str>,
    /// The component's name in the app.
    pub target: Arc<str>,
    /// Whether the callee runs on the node of its caller.
    pub local: bool,
}

/// What one step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory_bytes_max: u64,
    /// CPU time, in milliseconds.
    pub cpu_ms_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes_max: 64 << 20, cpu_ms_max: 1000 }
    }
}

/// A path that leads to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A path; `{name}` takes one segment, `{*name}` the rest.
    pub path: String,
    /// The component.
    pub component: Arc<str>,
    /// The function, called with the HTTP request as its one argument.
    pub function: Arc<str>,
    /// How long a request may take, in milliseconds.
    pub deadline_ms: u32,
    /// Whether any request of it may be run again when its process is lost; otherwise only those of
    /// idempotent methods.
    pub idempotent: bool,
    /// The methods that it takes; none named: those that its function's kind has.
    pub methods: Vec<Arc<str>>,
}

/// One line of the app table: an app's newest revision, or that it was undeployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// The app.
    pub name: Arc<str>,
    /// Which deploy, or undeploy, this is.
    pub revision: Revision,
    /// The app, or none once it was undeployed.
    pub app: Option<App>,
}

impl App {
    /// The component of that name.
    pub fn component(&self, name: &str) -> Option<&ComponentSpec> {
        self.components.iter().find(|component| &*component.name == name)
    }
}

impl ComponentSpec {
    /// What it is known by in an app of this name.
    pub fn id(&self, app: &str) -> ComponentId {
        ComponentId::of(app, &self.name, &self.digest)
    }

    /// Its link of that name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| &*link.name == name)
    }
}

/// The app's name is the line's.
impl Wire for TableEntry {
    fn write(&self, w: &mut Writer) {
        w.array(3);
        NAME.write(&self.name, w);
        self.revision.write(w);
        Maybe(Plain).write(&self.app, w);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.record(|r, left| {
            let name: Arc<str> = field(&NAME, r, left)?;
            let revision = field(&Plain, r, left)?;
            let app: Option<App> = field(&Maybe(Plain), r, left)?;
            let app = app.map(|app| App { name: name.clone(), ..app });
            Ok(Self { name, revision, app })
        })
    }

    fn measure(&self) -> Result<usize, Unfit> {
        let name = NAME.measure(&self.name).map_err(|unfit| unfit.of("name"))?;
        Ok(1 + name + self.revision.measure()? + Maybe(Plain).measure(&self.app)?)
    }
}

const NAME: Text = Text(NAME_BYTES_MAX);

record! {
    App { components: Many(PARTS_MAX, Plain), routes: Many(PARTS_MAX, Plain) }
    beside { name: Arc::from("") }
}

record! {
    ComponentSpec {
        name: NAME,
        digest: Plain,
        links: Many(PARTS_MAX, Plain),
        limits: Plain,
        grants: Plain,
        spread: Plain,
    }
}

record! {
    Limits { memory_bytes_max: Plain, cpu_ms_max: Plain }
}

record! {
    Link { name: NAME, target: NAME, local: Plain }
}

record! {
    Route {
        path: Text(PATH_BYTES_MAX),
        component: NAME,
        function: NAME,
        deadline_ms: Plain,
        idempotent: Plain,
        methods: Added(Many(METHODS_MAX, Text(METHOD_BYTES_MAX))),
    }
}
