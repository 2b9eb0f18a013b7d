//! What a component is given of what is around it, beyond what every component has.

use alloc::{string::String, vec::Vec};

use crate::{
    layout::{Many, Text, record},
    limits::{GRANTS_MAX, SETTING_BYTES_MAX, VALUE_BYTES_MAX},
};

/// What a component is granted by its app's manifest. What is not here it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Its environment variables.
    pub env: Vec<(String, String)>,
    /// What it finds in `wasi:config`.
    pub config: Vec<(String, String)>,
    /// The hosts that it may send requests to.
    pub hosts: Vec<String>,
}

impl Grants {
    /// The bytes of all names, values and hosts.
    pub fn bytes(&self) -> usize {
        let pairs = self.env.iter().chain(&self.config);
        let pairs: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
        pairs + self.hosts.iter().map(String::len).sum::<usize>()
    }
}

const SETTINGS: Many<(Text, Text)> =
    Many(GRANTS_MAX, (Text(SETTING_BYTES_MAX), Text(VALUE_BYTES_MAX)));

record! {
    Grants {
        env: SETTINGS,
        config: SETTINGS,
        hosts: Many(GRANTS_MAX, Text(SETTING_BYTES_MAX)),
    }
}
