//! One file for each command, or for a few that are alike.

pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod cluster;
pub(crate) mod compile;
pub(crate) mod component;
pub(crate) mod deploy;
pub(crate) mod dev;
pub(crate) mod encode;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod node;
pub(crate) mod shell;
