//! What a held process is called within its node.

/// A process that this node holds, by its place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(pub u64);
