//! Apps and their deploys: which components there are, where, and in which code.

use std::sync::Arc;

use izna_core::{Change, Input};
use izna_proto::{App, ComponentSpec, Digest, Limits, Link, Spread};
use rand::RngExt;

use crate::{World, clients, event::Event, program::component_name, world::node_id};

/// An app as its developer knows it.
#[derive(Debug, Clone)]
pub(crate) struct AppModel {
    pub(crate) name: Arc<str>,
    components: Vec<ComponentModel>,
}

#[derive(Debug, Clone)]
struct ComponentModel {
    /// Which build of its code.
    version: u16,
    spread: Spread,
}

impl AppModel {
    fn app(&self, number: usize) -> App {
        let names: Vec<Arc<str>> =
            (0u32..).map(component_name).take(self.components.len()).collect();
        let link =
            |name: &Arc<str>| Link { name: name.clone(), target: name.clone(), local: false };
        let links: Vec<Link> = names.iter().map(link).collect();
        let components = self.components.iter().zip(&names).enumerate();
        let components = components.map(|(at, (component, name))| ComponentSpec {
            name: name.clone(),
            digest: digest(number, at, component.version),
            links: links.clone(),
            limits: Limits::default(),
            grants: Arc::default(),
            spread: component.spread.clone(),
        });
        App { name: self.name.clone(), components: components.collect(), routes: Vec::new() }
    }
}

fn digest(app: usize, component: usize, version: u16) -> Digest {
    let mut bytes = [0; 32];
    let word = (app as u64) << 32 | (component as u64) << 16 | u64::from(version);
    let mixed = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..16].copy_from_slice(&word.to_be_bytes());
    Digest(bytes)
}

impl World {
    pub(crate) fn plan_deploys(&mut self) {
        for app in 0..self.options.apps {
            let components = (0..self.options.components)
                .map(|_| ComponentModel { version: 0, spread: self.spread() })
                .collect();
            let name = Arc::from(format!("app-{app}"));
            self.apps.push(AppModel { name, components });
            self.queue.push(300_000, Event::Deploy { app, undeploy: false });
        }
        let per_second = self.options.deploys_per_second;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        let count = (per_second * self.options.faults_ms as f64 / 1000.0).ceil() as usize;
        for _ in 0..count {
            let (at, app) = (self.within_faults(), self.random.random_range(0..self.options.apps));
            let undeploy = self.options.undeploys && self.random.random_bool(0.3);
            self.queue.push(at, Event::Deploy { app, undeploy });
            if self.random.random_bool(0.2) {
                // Someone else does the same at another node at the same time.
                self.queue.push(at, Event::Deploy { app, undeploy: false });
            }
        }
    }

    fn spread(&mut self) -> Spread {
        if self.options.holders == 0 || self.random.random_bool(0.2) {
            return Spread::all();
        }
        let holders = clients::sample(&mut self.random, self.nodes.len(), self.options.holders);
        Spread::nodes(holders.into_iter().map(node_id).collect())
    }

    /// Someone deploys the app in new code, or undeploys it.
    pub(crate) fn deploy(&mut self, number: usize, undeploy: bool) {
        let there = |n: &usize| self.nodes[*n].core.as_ref().is_some_and(|core| !core.draining());
        let there: Vec<usize> =
            (0..self.nodes.len()).filter(there).filter(|n| !self.nodes[*n].paused).collect();
        if there.is_empty() {
            return;
        }
        let n = there[self.random.random_range(0..there.len())];
        if undeploy {
            self.seen.count("undeploy");
            let name = self.apps[number].name.clone();
            return self.input(n, Input::Change { request: 0, change: Change::Undeploy(name) });
        }
        self.deploy_at(n, number);
    }

    fn deploy_at(&mut self, n: usize, number: usize) {
        self.seen.count("deploy");
        if self.now > 300_000 {
            for at in 0..self.apps[number].components.len() {
                let (new, moved) = (self.random.random_bool(0.6), self.random.random_bool(0.4));
                let spread = moved.then(|| self.spread());
                let component = &mut self.apps[number].components[at];
                component.version += u16::from(new);
                if let Some(spread) = spread {
                    component.spread = spread;
                }
            }
        }
        let app = self.apps[number].app(number);
        let digests = app.components.iter().map(|component| component.digest);
        self.nodes[n].artifacts.extend(digests);
        self.input(n, Input::Change { request: 0, change: Change::Deploy(app) });
    }

    /// So that every app is there in the end. A deploy at a node that has not heard of the latest
    /// one loses to that, so it is made where the latest is known.
    pub(crate) fn last_deploys(&mut self) {
        for app in 0..self.apps.len() {
            let name = self.apps[app].name.clone();
            let revision = |n: &usize| {
                let core = self.nodes[*n].core.as_ref().filter(|core| !core.draining());
                core?.table().find(|line| line.name == name).map(|line| line.revision)
            };
            let latest = (0..self.nodes.len()).max_by_key(revision);
            if let Some(n) = latest {
                self.deploy_at(n, app);
            }
        }
    }
}
