//! Apps as the cluster knows them: what a deploy leaves in the app table of every node.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{ComponentId, Digest, Error, Grants, Reader, Spread, Wire, Writer, process::read_name};

/// Which deploy of an app: rises with each, so that the newest wins wherever two meet.
pub type Revision = u64;

/// The most components or routes of one app.
const PARTS_MAX: usize = 256;
/// The longest path of a route, in bytes.
const PATH_BYTES_MAX: usize = 2048;
/// The most methods of a route.
pub const METHODS_MAX: usize = 16;
/// The longest name of a method, in bytes.
pub const METHOD_BYTES_MAX: usize = 32;

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

impl Wire for TableEntry {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        writer.text(&self.name);
        writer.unsigned(self.revision);
        writer.option(self.app.as_ref(), |app, writer| {
            writer.array(2);
            writer.list(&app.components);
            writer.list(&app.routes);
        });
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            let name = read_name(r)?;
            let revision = r.unsigned()?;
            let app = r.option(|r| {
                r.tuple(2, |r| {
                    let components = r.list(PARTS_MAX)?;
                    Ok(App { name: name.clone(), components, routes: r.list(PARTS_MAX)? })
                })
            })?;
            Ok(Self { name, revision, app })
        })
    }
}

impl Wire for ComponentSpec {
    fn write(&self, writer: &mut Writer) {
        writer.array(7);
        writer.text(&self.name);
        self.digest.write(writer);
        writer.list(&self.links);
        writer.unsigned(self.limits.memory_bytes_max);
        writer.unsigned(self.limits.cpu_ms_max);
        self.grants.write(writer);
        self.spread.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(7, |r| {
            let name = read_name(r)?;
            let digest = Digest::read(r)?;
            let links = r.list(PARTS_MAX)?;
            let limits = Limits { memory_bytes_max: r.unsigned()?, cpu_ms_max: r.narrow()? };
            let grants = Arc::new(Grants::read(r)?);
            let spread = Spread::read(r)?;
            Ok(Self { name, digest, links, limits, grants, spread })
        })
    }
}

impl Wire for Link {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        writer.text(&self.name);
        writer.text(&self.target);
        writer.boolean(self.local);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            Ok(Self { name: read_name(r)?, target: read_name(r)?, local: r.boolean()? })
        })
    }
}

/// Methods are written only where there are some.
impl Wire for Route {
    fn write(&self, writer: &mut Writer) {
        writer.array(if self.methods.is_empty() { 5 } else { 6 });
        writer.text(&self.path);
        writer.text(&self.component);
        writer.text(&self.function);
        writer.unsigned(self.deadline_ms);
        writer.boolean(self.idempotent);
        if !self.methods.is_empty() {
            writer.array(self.methods.len());
            self.methods.iter().for_each(|method| writer.text(method));
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        let length = reader.enter(6)?;
        let mut route = Self {
            path: reader.text(PATH_BYTES_MAX)?,
            component: read_name(reader)?,
            function: read_name(reader)?,
            deadline_ms: reader.narrow()?,
            idempotent: reader.boolean()?,
            methods: Vec::new(),
        };
        if length == 6 {
            let count = reader.enter(METHODS_MAX)?;
            let method = |_| Ok(Arc::from(reader.text(METHOD_BYTES_MAX)?));
            route.methods = (0..count).map(method).collect::<Result<_, Error>>()?;
            reader.leave();
        }
        reader.leave();
        Ok(route)
    }
}
