//! What a message may hold: the limits of every field, for who writes it and who reads it alike.
//!
//! A limit is not raised while a version with the lower one is spoken.

/// The longest frame: one message without its length.
pub const FRAME_BYTES_MAX: usize = 20 << 20;
/// The longest frame before the other side has said who it is.
pub const HELLO_BYTES_MAX: usize = 4096;
/// The largest payload, continuation, or piece of an artifact, whatever a node's own limit.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// What a newer version says of a process or an entry is kept up to so many bytes.
pub const REST_BYTES_MAX: usize = 64 << 10;
/// The deepest chain of calls.
pub const ENTRIES_MAX: usize = 64;
/// The longest trail that a process keeps; later nodes are not noted.
pub const TRAIL_MAX: usize = 64;
/// The most nodes that a process leaves between two steps.
pub const LEFT_MAX: usize = 4;
/// The longest name of an app, component, function or link, and the longest trace context.
pub const NAME_BYTES_MAX: usize = 256;
/// The longest word for a sort of failure.
pub(crate) const WORD_BYTES_MAX: usize = 32;
/// The longest failure message; longer ones are cut.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The longest key of cluster memory with its app's name.
pub const KEY_BYTES_MAX: usize = 2048;
/// The most components, apps, nodes or processes that one message lists.
pub const LIST_MAX: usize = 65_536;
/// The most components that one message tells demands of: there are more, a later one tells them.
pub const DEMANDS_MAX: usize = 1024;
/// The longest name of a node.
pub const NODE_NAME_BYTES_MAX: usize = 64;
/// The most features that a greeting names.
pub const FEATURES_MAX: usize = 32;
/// The longest name of a feature.
pub const FEATURE_BYTES_MAX: usize = 32;
/// The longest address.
pub(crate) const ADDRESS_BYTES_MAX: usize = 64;
/// The most components or routes of one app, and links of a component.
pub const PARTS_MAX: usize = 256;
/// The longest path of a route.
pub const PATH_BYTES_MAX: usize = 2048;
/// The most methods of a route.
pub const METHODS_MAX: usize = 16;
/// The longest name of a method.
pub const METHOD_BYTES_MAX: usize = 32;
/// The most settings of one sort, and the most hosts, that a component is granted.
pub const GRANTS_MAX: usize = 256;
/// The longest name of a setting, and the longest host.
pub const SETTING_BYTES_MAX: usize = 512;
/// The longest value of a setting.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// The most nodes that a spread names.
pub const NODES_MAX: usize = 256;
/// The most labels of a node, or that a component needs.
pub const LABELS_MAX: usize = 32;
/// The longest label, and the longest name of a zone.
pub const LABEL_BYTES_MAX: usize = 64;
/// The nodes by which a zone may be entered, as one bulletin tells them.
pub const DOORS_MAX: usize = 8;
/// Components in one bulletin: with all else they fit into 1200 bytes.
pub const LINES_MAX: usize = 22;
/// Other zones of which one bulletin tells how far they are.
pub const PATHS_MAX: usize = 64;

/// Why no reader takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A field over its limit.
    #[error("{field} has a size of {size}, over the limit of {max}")]
    Over {
        /// Which.
        field: &'static str,
        /// Its size in bytes or elements.
        size: u64,
        /// The largest that a reader takes.
        max: u64,
    },
    /// Fields that do not fit together.
    #[error("{0}")]
    Misfit(&'static str),
}

impl Unfit {
    /// A size over its limit, of a field to be named.
    pub(crate) fn over(size: usize, max: usize) -> Self {
        Self::Over { field: "", size: size as u64, max: max as u64 }
    }

    /// The same of this field, if it is not one of another inside.
    pub(crate) fn of(self, field: &'static str) -> Self {
        match self {
            Self::Over { field: "", size, max } => Self::Over { field, size, max },
            other => other,
        }
    }
}

/// Check that a name of an app, component, function or link is one that may be sent.
///
/// # Errors
/// When it is too long.
pub fn check_name(name: &str) -> Result<(), Unfit> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Unfit::over(name.len(), NAME_BYTES_MAX).of("name"));
    }
    Ok(())
}
