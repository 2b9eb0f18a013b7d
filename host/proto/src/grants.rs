//! What a component is given of what is around it, beyond what every component has.

use alloc::{string::String, vec::Vec};

use crate::{Error, Reader, Wire, Writer};

/// The most settings of one sort, and the most hosts.
const GRANTS_MAX: usize = 256;
/// The longest name of a setting, and the longest host, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// The longest value of a setting, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

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

fn write_pairs(pairs: &[(String, String)], writer: &mut Writer) {
    writer.array(pairs.len() * 2);
    for (name, value) in pairs {
        writer.text(name);
        writer.text(value);
    }
}

fn read_pairs(reader: &mut Reader) -> Result<Vec<(String, String)>, Error> {
    let length = reader.enter(GRANTS_MAX * 2)?;
    let mut pairs = Vec::new();
    for _ in 0..length / 2 {
        pairs.push((reader.text(NAME_BYTES_MAX)?, reader.text(VALUE_BYTES_MAX)?));
    }
    if length % 2 == 1 {
        return Err(Error::Shape { at: reader.offset(), expected: "settings in pairs" });
    }
    reader.leave();
    Ok(pairs)
}

impl Wire for Grants {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        write_pairs(&self.env, writer);
        write_pairs(&self.config, writer);
        writer.array(self.hosts.len());
        self.hosts.iter().for_each(|host| writer.text(host));
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            let (env, config) = (read_pairs(r)?, read_pairs(r)?);
            let length = r.enter(GRANTS_MAX)?;
            let mut hosts = Vec::new();
            for _ in 0..length {
                hosts.push(r.text(NAME_BYTES_MAX)?);
            }
            r.leave();
            Ok(Self { env, config, hosts })
        })
    }
}
