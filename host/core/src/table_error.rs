//! Why a change of an app is refused.

use alloc::{format, string::String, sync::Arc};

/// Why a deploy, an undeploy or an assignment leaves no line in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is no such app, or it has no such component.
    #[error("{} is not deployed", named(app, component.as_deref()))]
    Unknown {
        /// The app.
        app: Arc<str>,
        /// The component, where the change is about one.
        component: Option<Arc<str>>,
    },
    /// It has no room for one more app.
    #[error(
        "the app table is full: {max} apps, {undeployed} undeployed, which make room in an hour"
    )]
    Full {
        /// The apps in it that were undeployed.
        undeployed: usize,
        /// The most apps that it takes.
        max: usize,
    },
    /// The line is too long.
    #[error("the app takes {bytes} bytes in the app table, over the limit of {max}")]
    Large {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// No node could read the line, this one after a restart included.
    #[error("the app is over a limit of the app table")]
    Unreadable(#[source] izna_proto::Error),
}

fn named(app: &str, component: Option<&str>) -> String {
    component.map_or_else(|| app.into(), |component| format!("{app}/{component}"))
}
