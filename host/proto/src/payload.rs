//! Payloads: the values that a process carries.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    Error, Reader, Unfit, Wire, Writer,
    layout::{Layout, Octets},
    limits::PAYLOAD_BYTES_MAX,
};

/// A value that a process carries, and where its bytes are. Whoever needs the bytes matches on it:
/// there is no way to them that would not show when they may be elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// They are here.
    Inline(Bytes),
}

impl Payload {
    /// How many bytes the value has, wherever they are.
    #[expect(clippy::len_without_is_empty, reason = "a CBOR value is never empty")]
    pub fn len(&self) -> usize {
        let Self::Inline(bytes) = self;
        bytes.len()
    }

    /// Its bytes, which are here.
    pub fn inline(&self) -> &Bytes {
        let Self::Inline(bytes) = self;
        bytes
    }

    /// Its bytes, which are here, without what else there is to it.
    pub fn into_inline(self) -> Bytes {
        let Self::Inline(bytes) = self;
        bytes
    }
}

impl Default for Payload {
    /// No bytes: what stands where a payload was taken out.
    fn default() -> Self {
        Self::Inline(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Inline(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Inline(Bytes::from(bytes))
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Inline(Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Payload {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Inline(Bytes::from_static(bytes))
    }
}

impl Wire for Payload {
    fn write(&self, writer: &mut Writer) {
        let Self::Inline(bytes) = self;
        bytes.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        Bytes::read(reader).map(Self::Inline)
    }

    fn measure(&self) -> Result<usize, Unfit> {
        let Self::Inline(bytes) = self;
        bytes.measure()
    }
}

/// The bytes of a payload.
impl Wire for Bytes {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(self);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.bytes(PAYLOAD_BYTES_MAX)
    }

    fn measure(&self) -> Result<usize, Unfit> {
        Octets(PAYLOAD_BYTES_MAX).measure(self).map_err(|unfit| unfit.of("payload"))
    }
}
