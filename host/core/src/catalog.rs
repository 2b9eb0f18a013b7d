//! The catalog: which apps, revisions and components there are, the app table of the documents. Every
//! node has it; the highest revision of an app wins wherever two meet, so the order in which news
//! arrives does not matter.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::cmp::Ordering;

use bytes::Bytes;
use izna_proto::{App, ComponentId, ComponentSpec, Digest, Revision, TableEntry, Wire};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    effects::Effects,
    io::{Assignment, Change, Output},
    sabotage::Sabotage,
    table_error::TableError,
    time::{Duration, Time},
};

/// Superseded revisions of one app that are kept, for a while, for the processes that began with
/// them...
const REVISIONS_MAX: usize = 64;
/// ...and their bytes. The newest of them is kept whatever its length.
const REVISIONS_BYTES_MAX: usize = 4 << 20;
/// An undeployed app is remembered as that for this long before another may have its place: nodes
/// that were away meanwhile would bring it back.
const UNDEPLOYED_FOR: Duration = Duration::from_secs(3600);

/// The most bytes of one line.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Check that other nodes, and this one after a restart, can read a line that is made here.
fn check(entry: &TableEntry) -> Result<(), TableError> {
    let line = entry.to_bytes();
    let (bytes, max) = (line.len(), LINE_BYTES_MAX);
    if bytes > max {
        return Err(TableError::Large { bytes, max });
    }
    TableEntry::from_bytes(line).map(drop).map_err(TableError::Unreadable)
}

/// The app table of a node.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    apps: BTreeMap<Arc<str>, Line>,
    /// A sum over names and revisions: equal tables have equal sums.
    sum: u64,
}

#[derive(Debug)]
struct Line {
    newest: TableEntry,
    /// What it adds to the sum over the table.
    sum: u64,
    /// Since when it is the newest here.
    since: Time,
    /// Superseded revisions, oldest first.
    old: Vec<Superseded>,
}

#[derive(Debug)]
struct Superseded {
    since: Time,
    revision: Revision,
    app: App,
    bytes: usize,
}

impl Line {
    fn supersede(&mut self, now: Time, entry: TableEntry) {
        self.sum = line_sum(&entry);
        let old = core::mem::replace(&mut self.newest, entry);
        self.since = now;
        let (revision, bytes) = (old.revision, old.to_bytes().len());
        if let Some(app) = old.app {
            self.old.push(Superseded { since: now, revision, app, bytes });
        }
        let mut bytes: usize = self.old.iter().map(|old| old.bytes).sum();
        while self.old.len() > REVISIONS_MAX || (bytes > REVISIONS_BYTES_MAX && self.old.len() > 1)
        {
            bytes -= self.old.remove(0).bytes;
        }
    }
}

impl Catalog {
    /// What a change makes of an app: the line, when every node can take it. It is not taken in yet.
    pub(crate) fn line(&self, change: Change) -> Result<TableEntry, TableError> {
        let entry = match change {
            Change::Deploy(app) => self.next(app.name.clone(), Some(app)),
            Change::Undeploy(name) => {
                if self.entry(&name).is_none_or(|entry| entry.app.is_none()) {
                    return Err(TableError::Unknown { app: name, component: None });
                }
                self.next(name, None)
            }
            Change::Assign { app: name, component, node, assignment } => {
                let app = self.entry(&name).and_then(|entry| entry.app.clone());
                let app = app.filter(|app| app.component(&component).is_some());
                let Some(app) = app else {
                    return Err(TableError::Unknown { app: name, component: Some(component) });
                };
                let holds = assignment == Assignment::Holds;
                let assigned = |spec: ComponentSpec| match spec.name == component {
                    true => ComponentSpec { spread: spec.spread.with(node, holds), ..spec },
                    false => spec,
                };
                let components = app.components.into_iter().map(assigned).collect();
                self.next(name, Some(App { components, ..app }))
            }
        };
        check(&entry)?;
        Ok(entry)
    }

    /// Take in a line, wherever it comes from, and have it kept; false if it is no news, or there is
    /// no room.
    pub(crate) fn take(&mut self, fx: &mut Effects, entry: &TableEntry) -> bool {
        let apps_max = fx.config.apps_max;
        if let Some(name) = self.make_room(fx.now, entry, apps_max) {
            fx.put(Output::Forget(name));
        }
        if fx.sabotaged(Sabotage::MergeOlder) {
            self.force(fx.now, entry);
            fx.put(Output::Store(entry.clone()));
        }
        let is_news = self.merge(fx.now, entry.clone(), apps_max);
        if is_news {
            fx.put(Output::Store(entry.clone()));
        }
        is_news
    }

    /// A defect: take in a line, news or not.
    fn force(&mut self, now: Time, entry: &TableEntry) {
        if let Some(line) = self.apps.get_mut(&entry.name) {
            self.sum ^= line.sum;
            line.supersede(now, entry.clone());
            self.sum ^= line.sum;
        }
    }

    /// Take in a line that was kept.
    pub(crate) fn restore(&mut self, fx: &Effects, entry: TableEntry) {
        self.merge(fx.now, entry, fx.config.apps_max);
    }

    /// Take in a line; false if it is no news.
    fn merge(&mut self, now: Time, entry: TableEntry, apps_max: usize) -> bool {
        let full = self.apps.len() >= apps_max;
        match self.apps.get_mut(&entry.name) {
            // Two deploys of one revision at two nodes: the greater bytes win everywhere alike.
            Some(line) if !newer(&entry, &line.newest) => return false,
            Some(line) => {
                self.sum ^= line.sum;
                line.supersede(now, entry);
                self.sum ^= line.sum;
            }
            None if full => return false,
            None => {
                let sum = line_sum(&entry);
                self.sum ^= sum;
                let line = Line { newest: entry, sum, since: now, old: Vec::new() };
                self.apps.insert(line.newest.name.clone(), line);
            }
        }
        true
    }

    /// Make room in a full table for a new app: one that was undeployed long ago is forgotten. Gives
    /// its name.
    ///
    /// The first by name, and for one that was undeployed itself only one before it: so tables that
    /// differ come to have the same ones, whoever forgot which first.
    fn make_room(&mut self, now: Time, entry: &TableEntry, apps_max: usize) -> Option<Arc<str>> {
        if self.apps.len() < apps_max || self.apps.contains_key(&entry.name) {
            return None;
        }
        let is_over =
            |line: &&Line| line.newest.app.is_none() && now.since(line.since) >= UNDEPLOYED_FOR;
        let name = self.apps.values().find(is_over)?.newest.name.clone();
        if entry.app.is_none() && entry.name < name {
            return None;
        }
        let line = self.apps.remove(&name)?;
        self.sum ^= line.sum;
        Some(name)
    }

    fn next(&self, name: Arc<str>, app: Option<App>) -> TableEntry {
        let revision =
            self.apps.get(&name).map_or(1, |line| line.newest.revision.saturating_add(1));
        TableEntry { name, revision, app }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&TableEntry> {
        self.apps.get(name).map(|line| &line.newest)
    }

    /// The app as of `revision`, if it is still known here.
    pub(crate) fn app(&self, name: &str, revision: Revision) -> Option<&App> {
        let line = self.apps.get(name)?;
        if line.newest.revision == revision {
            return line.newest.app.as_ref();
        }
        line.old.iter().find(|old| old.revision == revision).map(|old| &old.app)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.apps.values().map(|line| &line.newest)
    }

    /// The error that says that there is no room.
    pub(crate) fn full(&self, max: usize) -> TableError {
        let undeployed = self.entries().filter(|entry| entry.app.is_none()).count();
        TableError::Full { undeployed, max }
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn summary(&self) -> Vec<(Arc<str>, Revision)> {
        self.entries().map(|entry| (entry.name.clone(), entry.revision)).collect()
    }

    /// The lines that a node with this summary lacks, and whether it has lines that are news here.
    pub(crate) fn compare(&self, summary: &[(Arc<str>, Revision)]) -> (Vec<TableEntry>, bool) {
        let theirs: BTreeMap<_, _> = summary.iter().map(|(name, rev)| (name, *rev)).collect();
        let lacks = |entry: &&TableEntry| {
            theirs.get(&entry.name).is_none_or(|revision| *revision < entry.revision)
        };
        let missing = self.entries().filter(lacks).cloned().collect();
        let news = summary
            .iter()
            .any(|(name, revision)| self.entry(name).is_none_or(|own| own.revision < *revision));
        (missing, news)
    }

    /// Forget revisions that no process can still need.
    pub(crate) fn expire(&mut self, fx: &Effects) {
        self.forget(fx.now, fx.config.retain_revision);
    }

    fn forget(&mut self, now: Time, retain: Duration) {
        for line in self.apps.values_mut() {
            line.old.retain(|old| now.since(old.since) < retain);
        }
    }

    /// The components of the newest revisions, each with the app it is of.
    pub(crate) fn components(&self) -> impl Iterator<Item = (&App, &ComponentSpec)> {
        let apps = self.entries().filter_map(|entry| entry.app.as_ref());
        apps.flat_map(|app| app.components.iter().map(move |component| (app, component)))
    }

    /// The component of that id, if a newest revision has it.
    pub(crate) fn component(&self, id: ComponentId) -> Option<(&App, &ComponentSpec)> {
        self.components().find(|(app, component)| component.id(&app.name) == id)
    }

    /// Whether an app has this component in its newest revision.
    pub(crate) fn knows(&self, digest: &Digest) -> bool {
        let mut apps = self.entries().filter_map(|entry| entry.app.as_ref());
        apps.any(|app| app.components.iter().any(|component| component.digest == *digest))
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        assert!(self.apps.len() <= fx.config.apps_max, "too many apps");
        let sum = self.apps.values().fold(0, |sum, line| sum ^ line.sum);
        assert_eq!(self.sum, sum, "the sum over the app table is wrong");
    }

    /// The components of older revisions, that processes may still need.
    pub(crate) fn superseded(&self) -> BTreeSet<ComponentId> {
        let old = self.apps.values().flat_map(|line| &line.old);
        old.flat_map(|old| old.app.components.iter().map(|c| c.id(&old.app.name))).collect()
    }
}

fn newer(entry: &TableEntry, than: &TableEntry) -> bool {
    let bytes = |entry: &TableEntry| -> Bytes { entry.to_bytes() };
    match entry.revision.cmp(&than.revision) {
        Ordering::Equal => entry != than && bytes(entry) > bytes(than),
        order => order.is_gt(),
    }
}

fn line_sum(entry: &TableEntry) -> u64 {
    xxh3_64(&entry.to_bytes())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn entry(name: &str, revision: Revision, deployed: bool) -> TableEntry {
        let name: Arc<str> = Arc::from(name);
        let app = App { name: name.clone(), components: vec![], routes: vec![] };
        TableEntry { name, revision, app: deployed.then_some(app) }
    }

    /// If this fails, nodes that hear of deploys in another order end with other tables.
    #[test]
    fn order_does_not_matter() {
        let lines =
            [entry("a", 1, true), entry("a", 2, false), entry("b", 1, true), entry("a", 2, true)];
        let mut sums = Vec::new();
        for shift in 0..lines.len() {
            let mut table = Catalog::default();
            for line in lines.iter().cycle().skip(shift).take(lines.len()) {
                table.merge(Time::default(), line.clone(), 10);
            }
            sums.push(table.sum());
        }
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    }

    /// If this fails, anti-entropy does not bring two tables together.
    #[test]
    fn compare_finds_what_each_lacks() {
        let mut table = Catalog::default();
        table.merge(Time::default(), entry("a", 2, true), 10);
        table.merge(Time::default(), entry("b", 1, true), 10);
        let (missing, news) = table.compare(&[(Arc::from("a"), 1), (Arc::from("c"), 1)]);
        let names: Vec<&str> = missing.iter().map(|entry| &*entry.name).collect();
        assert_eq!((names, news), (vec!["a", "b"], true));
        assert!(!table.compare(&table.summary()).1);
    }

    /// If this fails, the table grows without limit, or a full one takes no redeploys.
    #[test]
    fn apps_are_limited() {
        let mut table = Catalog::default();
        assert!(table.merge(Time::default(), entry("a", 1, true), 1));
        assert!(!table.merge(Time::default(), entry("b", 1, true), 1));
        assert!(table.merge(Time::default(), entry("a", 2, true), 1));
    }

    /// If this fails, a cluster takes no new app once so many were undeployed, or an app that was
    /// undeployed comes back from a node that was away.
    #[test]
    fn undeployed_apps_make_room() {
        let (begin, hour) = (Time::default(), Time::from_micros(3_600_000_000));
        let tables = |names: &[&str]| {
            let mut table = Catalog::default();
            for name in names {
                table.merge(begin, entry(name, 2, false), 2);
            }
            table
        };
        let mut table = tables(&["b", "c"]);
        let full = TableError::Full { undeployed: 2, max: 2 };
        assert_eq!(table.full(2), full);
        let new = entry("new", 1, true);
        assert_eq!(table.make_room(begin, &new, 2), None, "too early");
        assert_eq!(table.make_room(hour, &entry("b", 3, true), 2), None, "it has a place");
        assert_eq!(table.make_room(hour, &entry("a", 2, false), 2), None, "it was undeployed too");
        assert_eq!(table.make_room(hour, &new, 3), None, "it is not full");
        assert_eq!(table.make_room(hour, &new, 2).as_deref(), Some("b"));
        assert!(table.merge(hour, new.clone(), 2));
        // Another node had only the other of them.
        let mut other = tables(&["b"]);
        other.merge(begin, new, 2);
        let late = entry("c", 2, false);
        assert_eq!(other.make_room(hour, &late, 2).as_deref(), Some("b"));
        other.merge(hour, late, 2);
        assert_eq!(other.sum(), table.sum());
        assert_eq!(table.make_room(hour, &entry("b", 2, false), 2), None);
    }

    /// If this fails, an app that is deployed often loses the requests that are under way, or its
    /// old revisions fill the memory.
    #[test]
    fn old_revisions_are_bounded() {
        let mut table = Catalog::default();
        let now = Time::default();
        for revision in 1..=100 {
            table.merge(now, entry("a", revision, true), 10);
        }
        let known = |table: &Catalog| (1..=100).filter(|r| table.app("a", *r).is_some()).count();
        assert_eq!(known(&table), 1 + REVISIONS_MAX);
        assert!(table.app("a", 36).is_some());
        for revision in 101..=110 {
            let mut large = entry("a", revision, true);
            if let Some(app) = &mut large.app {
                let route = izna_proto::Route {
                    path: "x".repeat(1 << 20),
                    component: Arc::from("a"),
                    function: Arc::from("f"),
                    deadline_ms: 1,
                    idempotent: false,
                    methods: Vec::new(),
                };
                app.routes = vec![route];
            }
            table.merge(now, large, 10);
        }
        assert!(table.app("a", 107).is_some() && table.app("a", 106).is_none());
    }

    /// If this fails, a process that began with an old revision cannot go on, or old code is kept
    /// for ever.
    #[test]
    fn old_revisions_are_kept_for_a_while() {
        let mut table = Catalog::default();
        table.merge(Time::default(), entry("a", 1, true), 10);
        table.merge(Time::default(), entry("a", 2, true), 10);
        assert!(table.app("a", 1).is_some());
        table.forget(Time::from_micros(1_000_000), Duration::from_secs(1));
        assert!(table.app("a", 1).is_none());
    }
}
