//! Cluster memory: the volatile key-value space that all nodes share. A cache: any value may be
//! gone the next time.
//!
//! Keys are the app's own; no app sees another's. A component that never calls these functions does
//! not import the interface. In native builds a map of the calling thread stands in, for tests.

use std::fmt;

/// Why cluster memory did not answer. A component should go on without the value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The key or the value is over this limit, in bytes.
    TooLarge(u64),
    /// The node that keeps this key did not answer in time.
    Unavailable,
    /// A case that this version of the SDK does not know.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::TooLarge(limit) => write!(formatter, "key or value over {limit} bytes"),
            Error::Unavailable => formatter.write_str("cluster memory did not answer in time"),
            Error::Other(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// The value of `key`, or none when it was never put, was dropped or was lost.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    place::get(key)
}

/// Keep `value` under `key`, in place of what was there.
pub fn put(key: &str, value: &[u8]) -> Result<(), Error> {
    place::put(key, value)
}

/// Forget `key`.
pub fn remove(key: &str) -> Result<(), Error> {
    place::remove(key)
}

#[cfg(target_family = "wasm")]
mod place {
    use super::Error;
    use crate::bindings::memory::izna::memory::store;

    pub(super) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        store::get(key).map_err(Error::from)
    }

    pub(super) fn put(key: &str, value: &[u8]) -> Result<(), Error> {
        store::put(key, value).map_err(Error::from)
    }

    pub(super) fn remove(key: &str) -> Result<(), Error> {
        store::remove(key).map_err(Error::from)
    }

    impl From<store::Error> for Error {
        fn from(error: store::Error) -> Self {
            match error {
                store::Error::TooLarge(limit) => Error::TooLarge(limit),
                store::Error::Unavailable => Error::Unavailable,
                store::Error::Other(text) => Error::Other(text),
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod place {
    use super::Error;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static VALUES: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(VALUES.with_borrow(|values| values.get(key).cloned()))
    }

    pub(super) fn put(key: &str, value: &[u8]) -> Result<(), Error> {
        VALUES.with_borrow_mut(|values| values.insert(key.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(super) fn remove(key: &str) -> Result<(), Error> {
        VALUES.with_borrow_mut(|values| values.remove(key));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Components could not be tested natively.
    #[test]
    fn the_native_stand_in_keeps_and_forgets() {
        assert_eq!(get("a"), Ok(None));
        put("a", b"1").unwrap();
        assert_eq!(get("a"), Ok(Some(b"1".to_vec())));
        remove("a").unwrap();
        assert_eq!(get("a"), Ok(None));
    }
}
