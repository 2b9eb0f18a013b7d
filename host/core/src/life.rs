//! The life of a process between two steps: what its entries become when a step has ended. No node,
//! time or load here.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use izna_proto::{
    App, Call, Callee, ComponentId, ComponentSpec, ENTRIES_MAX, Ended, Entry, Failure, FailureKind,
    Misfit, Outcome, Payload, Process, Run, State, StepEnd, Unfit, check_name,
};

/// What a process is after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Its active entry can run.
    Ready,
    /// The same, and it stays on this node: a local link led there, or back.
    Here,
    /// Its first entry has ended.
    Ended(Outcome),
}

/// Let the active entry end its step with `end`. `app` is the revision that the process began with,
/// if it is still known: without it no more calls can be made.
pub(crate) fn advance(process: &mut Process, end: StepEnd, app: Option<&App>) -> Next {
    match (end, app) {
        (StepEnd::Done(result), app) => finish(process, Ok(result), app),
        (StepEnd::Failed(failure), app) => finish(process, Err(failure), app),
        (_, None) => Next::Ended(Err(unknown_revision(process))),
        (StepEnd::Suspend { call, continuation }, Some(app)) => {
            let (done, next) = match resolve(process, app, call) {
                Ok((callee, next)) => (process.entries.call(callee, continuation), next),
                // The caller learns that its call failed; it may know what to do.
                Err(failure) => {
                    (process.entries.refuse_call(continuation, Err(failure)), Next::Ready)
                }
            };
            done.map_or_else(corrupt, |()| next)
        }
        (StepEnd::Forward(call), Some(app)) => match resolve(process, app, call) {
            Ok((callee, next)) => process.entries.forward(callee).map_or_else(corrupt, |()| next),
            Err(failure) => finish(process, Err(failure), Some(app)),
        },
    }
}

/// The same end if no payload in it is over the limit, else the entry's failure.
pub(crate) fn within(end: StepEnd, bytes_max: usize) -> StepEnd {
    let bytes = match &end {
        StepEnd::Done(result) => result.len(),
        StepEnd::Failed(_) => 0,
        StepEnd::Suspend { call, continuation } => call.input.len().max(continuation.len()),
        StepEnd::Forward(call) => call.input.len(),
    };
    if bytes > bytes_max { StepEnd::Failed(payload_over(bytes, bytes_max)) } else { end }
}

pub(crate) fn payload_over(bytes: usize, bytes_max: usize) -> Failure {
    let message = format!("a payload of {bytes} bytes, over the limit of {bytes_max}");
    Failure::new(FailureKind::Limit, message)
}

/// A function by a name that no other node would take.
pub(crate) fn name_over(unfit: Unfit) -> Failure {
    Failure::new(FailureKind::Limit, format!("the function's {unfit}"))
}

/// The active entry has ended: give the outcome to its caller and drop it.
pub(crate) fn finish(process: &mut Process, outcome: Outcome, app: Option<&App>) -> Next {
    let ended = match process.entries.end(outcome) {
        Ok(Ended::Process(outcome)) => return Next::Ended(outcome),
        Ok(Ended::Entry(ended)) => ended,
        Err(misfit) => return corrupt(misfit),
    };
    let caller = process.entry().map(|entry| &*entry.component).unwrap_or_default();
    let local = app.is_some_and(|app| is_local(app, caller, &ended.component));
    if local { Next::Here } else { Next::Ready }
}

/// Whether calls of `target` by `caller` stay on their node.
fn is_local(app: &App, caller: &str, target: &str) -> bool {
    let links = app.component(caller).map(|spec| spec.links.as_slice()).unwrap_or_default();
    links.iter().any(|link| link.local && *link.target == *target)
}

/// The components that a node must hold beside that of the active entry, because local links lead
/// from it and from those in turn, or led to it. Empty for an app without such links.
pub(crate) fn company(process: &Process, app: &App) -> Vec<ComponentId> {
    let specs = &app.components;
    if !specs.iter().any(|spec| spec.links.iter().any(|link| link.local)) {
        return Vec::new();
    }
    let Some(active) = process.entry() else { return Vec::new() };
    let mut names = Vec::from([&*active.component]);
    let mut entry = active;
    while let Some(caller) = entry.caller().and_then(|id| process.entries.get(id))
        && is_local(app, &caller.component, &entry.component)
    {
        names.push(&caller.component);
        entry = caller;
    }
    let mut at = 0;
    while let Some(spec) = names.get(at).map(|name| app.component(name)) {
        let links = spec.map(|spec| spec.links.as_slice()).unwrap_or_default();
        for link in links.iter().filter(|link| link.local) {
            if !names.contains(&&*link.target) {
                names.push(&link.target);
            }
        }
        at += 1;
    }
    let others = names.iter().skip(1).filter(|name| **name != &*active.component);
    others.filter_map(|name| app.component(name)).map(|spec| spec.id(&app.name)).collect()
}

/// What the active entry's next step is given. The payloads stay in the process too: they are
/// shared, not copied.
pub(crate) fn run(entry: &Entry) -> Option<Run> {
    match &entry.state {
        State::Start { input } => Some(Run::Start { input: input.inline().clone() }),
        State::Resume { continuation, outcome } => Some(Run::Resume {
            continuation: continuation.inline().clone(),
            outcome: outcome.clone().map(Payload::into_inline),
        }),
        State::Waiting { .. } => None,
    }
}

/// The end of a process whose entries do not fit together.
fn corrupt(misfit: Misfit) -> Next {
    Next::Ended(Err(Failure::new(FailureKind::Other, misfit.to_string())))
}

/// What a call by the active entry leads to.
fn resolve(process: &Process, app: &App, call: Call) -> Result<(Callee, Next), Failure> {
    if process.entries.are_full() {
        let message = format!("a chain of calls deeper than {ENTRIES_MAX}");
        return Err(Failure::new(FailureKind::Limit, message));
    }
    check_name(&call.function).map_err(name_over)?;
    let active = process.entry().map(|entry| &*entry.component).unwrap_or_default();
    let spec = app.component(active).ok_or_else(|| unknown_component(app, active))?;
    let link = spec.link(&call.component).ok_or_else(|| unlinked(spec, &call))?;
    let target = app.component(&link.target);
    let target = target.ok_or_else(|| unknown_component(app, &link.target))?;
    let callee = Callee {
        component: target.name.clone(),
        digest: target.digest,
        function: call.function,
        input: call.input,
    };
    Ok((callee, if link.local { Next::Here } else { Next::Ready }))
}

fn unlinked(spec: &ComponentSpec, call: &Call) -> Failure {
    let names: Vec<&str> = spec.links.iter().map(|link| &*link.name).collect();
    let has = if names.is_empty() { String::from("none") } else { names.join(", ") };
    let message = format!(
        "component {} has no link named {:?} to call {}; its links: {has}",
        spec.name, call.component, call.function
    );
    Failure::new(FailureKind::NotFound, message)
}

pub(crate) fn unknown_revision(process: &Process) -> Failure {
    let message =
        format!("revision {} of app {} is not known here any more", process.revision, process.app);
    Failure::new(FailureKind::Unavailable, message)
}

pub(crate) fn unknown_component(app: &App, name: &str) -> Failure {
    let names: Vec<&str> = app.components.iter().map(|component| &*component.name).collect();
    let message =
        format!("app {} has no component {name:?}; its components: {}", app.name, names.join(", "));
    Failure::new(FailureKind::NotFound, message)
}

#[cfg(test)]
mod tests {
    use alloc::{sync::Arc, vec};

    use izna_proto::{
        Digest, Entries, Home, Limits, Link, NodeId, ProcessId, Rest, SlotId, Spread, Trail,
    };

    use super::*;

    fn payload(bytes: &'static [u8]) -> Payload {
        Payload::from(bytes)
    }

    fn component(name: &str, links: &[&str]) -> ComponentSpec {
        ComponentSpec {
            name: Arc::from(name),
            digest: Digest([u8::try_from(name.len()).unwrap(); 32]),
            links: links.iter().map(|name| link(name, false)).collect(),
            limits: Limits::default(),
            grants: Arc::default(),
            spread: Spread::all(),
        }
    }

    fn link(name: &str, local: bool) -> Link {
        Link { name: Arc::from(name), target: Arc::from(name), local }
    }

    fn app() -> App {
        let components = vec![component("a", &["bb"]), component("bb", &["bb", "ghost"])];
        App { name: Arc::from("app"), components, routes: vec![] }
    }

    fn process() -> Process {
        let entries = Entries::new(Callee {
            component: Arc::from("a"),
            digest: Digest([1; 32]),
            function: Arc::from("f"),
            input: payload(b"in"),
        });
        Process {
            id: ProcessId(1),
            app: Arc::from("app"),
            revision: 1,
            attempt: 0,
            hops: 0,
            steps: 0,
            age_us: 0,
            budget_us: 0,
            home: Home { node: NodeId(1), incarnation: 1, slot: SlotId(1) },
            traceparent: None,
            trail: Trail::default(),
            entries,
            left: vec![],
            rest: Rest::default(),
        }
    }

    fn call(component: &str) -> Call {
        let (component, function) = (Arc::from(component), Arc::from("g"));
        Call { component, function, input: payload(b"arg") }
    }

    fn suspend(component: &str) -> StepEnd {
        StepEnd::Suspend { call: call(component), continuation: payload(b"k") }
    }

    /// The entries as a line of text: what the tests compare.
    fn show(process: &Process) -> String {
        let active = process.entry().map(Entry::id);
        let entries: Vec<String> = process
            .entries
            .iter()
            .map(|entry| {
                let mark = if Some(entry.id()) == active { "*" } else { "" };
                let state = match &entry.state {
                    State::Start { .. } => String::from("start"),
                    State::Waiting { .. } => String::from("waiting"),
                    State::Resume { outcome: Ok(value), .. } => {
                        format!("resume({:?})", value.inline())
                    }
                    State::Resume { outcome: Err(failure), .. } => {
                        format!("resume({})", failure.kind)
                    }
                };
                format!("{mark}{}:{state}", entry.component)
            })
            .collect();
        entries.join(" ")
    }

    /// If this fails, calls and returns do not nest: the heart of the platform.
    #[test]
    fn call_and_return() {
        let (app, mut process) = (app(), process());
        assert_eq!(advance(&mut process, suspend("bb"), Some(&app)), Next::Ready);
        assert_eq!(show(&process), "a:waiting *bb:start");
        assert_eq!(advance(&mut process, suspend("bb"), Some(&app)), Next::Ready);
        assert_eq!(show(&process), "a:waiting bb:waiting *bb:start");
        let done = StepEnd::Done(payload(b"x"));
        assert_eq!(advance(&mut process, done, Some(&app)), Next::Ready);
        assert_eq!(show(&process), "a:waiting *bb:resume(b\"x\")");
        let failed = StepEnd::Failed(Failure::new(FailureKind::Failed, "no"));
        assert_eq!(advance(&mut process, failed, Some(&app)), Next::Ready);
        assert_eq!(show(&process), "*a:resume(failed)");
        let done = StepEnd::Done(payload(b"y"));
        assert_eq!(advance(&mut process, done, Some(&app)), Next::Ended(Ok(payload(b"y"))));
    }

    /// If this fails, a local link leads off its node, or back from another, or a node is taken for
    /// one that can run both sides though it holds one.
    #[test]
    fn local_links_stay() {
        let (mut app, mut process) = (app(), process());
        app.components[0].links = vec![link("bb", true)];
        app.components[1].links = vec![link("ccc", true), link("a", false)];
        app.components.push(component("ccc", &["a"]));
        let name = app.name.clone();
        let id = |n: &u8| {
            ComponentId::of(&name, ["", "a", "bb", "ccc"][usize::from(*n)], &Digest([*n; 32]))
        };
        let ids = |lengths: &[u8]| lengths.iter().map(id).collect::<Vec<_>>();
        assert_eq!(company(&process, &app), ids(&[2, 3]));
        assert_eq!(advance(&mut process, suspend("bb"), Some(&app)), Next::Here);
        assert_eq!(company(&process, &app), ids(&[1, 3]));
        assert_eq!(advance(&mut process, suspend("ccc"), Some(&app)), Next::Here);
        assert_eq!(company(&process, &app), ids(&[2, 1]));
        assert_eq!(advance(&mut process, suspend("a"), Some(&app)), Next::Ready);
        // It was called by a link that is not local: those before it may be elsewhere.
        assert_eq!(company(&process, &app), ids(&[2, 3]));
        let done = || StepEnd::Done(Payload::default());
        assert_eq!(advance(&mut process, done(), Some(&app)), Next::Ready);
        assert_eq!(advance(&mut process, done(), Some(&app)), Next::Here);
        assert_eq!(advance(&mut process, done(), Some(&app)), Next::Here);
        assert_eq!(show(&process), "*a:resume(b\"\")");
    }

    /// If this fails, a tail call keeps its caller's entry, and a chain of them grows without end.
    #[test]
    fn forward_takes_the_place() {
        let (app, mut process) = (app(), process());
        for _ in 0..1000 {
            assert_eq!(
                advance(&mut process, StepEnd::Forward(call("bb")), Some(&app)),
                Next::Ready
            );
            assert_eq!(show(&process), "*bb:start");
        }
    }

    /// If this fails, a call that cannot be made ends the process instead of telling the caller.
    #[test]
    fn bad_calls_come_back_as_failures() {
        let (app, mut process) = (app(), process());
        assert_eq!(advance(&mut process, suspend("nobody"), Some(&app)), Next::Ready);
        assert_eq!(show(&process), "*a:resume(not-found)");
        advance(&mut process, suspend("bb"), Some(&app));
        assert_eq!(advance(&mut process, suspend("ghost"), Some(&app)), Next::Ready);
        assert_eq!(show(&process), "a:waiting *bb:resume(not-found)");
    }

    /// If this fails, a process gets an entry that no other node takes.
    #[test]
    fn names_are_limited() {
        let (app, mut process) = (app(), process());
        let call = |length| Call { function: Arc::from("g".repeat(length)), ..call("bb") };
        let suspend = |length| StepEnd::Suspend { call: call(length), continuation: payload(b"k") };
        advance(&mut process, suspend(257), Some(&app));
        assert_eq!(show(&process), "*a:resume(limit)");
        advance(&mut process, suspend(256), Some(&app));
        assert_eq!(show(&process), "a:waiting *bb:start");
        advance(&mut process, StepEnd::Forward(call(257)), Some(&app));
        assert_eq!(show(&process), "*a:resume(limit)");
    }

    /// If this fails, an entry's id comes to mean another entry.
    #[test]
    fn ids_stay() {
        let (app, mut process) = (app(), process());
        let first = process.entry().map(Entry::id);
        advance(&mut process, suspend("bb"), Some(&app));
        let second = process.entry().map(Entry::id);
        assert_eq!(process.entry().and_then(Entry::caller), first);
        advance(&mut process, StepEnd::Forward(self::call("bb")), Some(&app));
        let third = process.entry().map(Entry::id);
        assert_eq!(process.entry().and_then(Entry::caller), first);
        advance(&mut process, StepEnd::Done(payload(b"x")), Some(&app));
        assert_eq!(process.entry().map(Entry::id), first);
        advance(&mut process, suspend("bb"), Some(&app));
        let fourth = process.entry().map(Entry::id);
        let ids = [first, second, third, fourth].map(Option::unwrap);
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(process.entries.get(ids[1]).is_none() && process.entries.get(ids[2]).is_none());
    }

    /// If this fails, endless recursion grows a process without limit.
    #[test]
    fn depth_is_limited() {
        let (app, mut process) = (app(), process());
        for _ in 0..ENTRIES_MAX {
            advance(&mut process, suspend("bb"), Some(&app));
        }
        assert_eq!(process.entries.iter().len(), ENTRIES_MAX);
        assert!(show(&process).ends_with("*bb:resume(limit)"));
    }
}
