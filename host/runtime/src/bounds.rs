//! The bounds of one step's memory, and the marks that a step leaves when it ends at a bound.

use wasmtime::ResourceLimiter;

/// The limit that ended a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reached {
    #[error("memory limit of {} reached: the component wanted {}", Bytes(*max), Bytes(*wanted))]
    Memory { max: u64, wanted: u64 },
    #[error("table limit of {max} elements reached: the component wanted {wanted}")]
    Table { max: usize, wanted: usize },
    #[error("cpu limit of {max_ms} ms reached")]
    Cpu { max_ms: u32 },
}

/// Counts the linear memory of all memories of one step, and bounds its tables.
#[derive(Debug)]
pub(crate) struct Bounds {
    memory_bytes_max: u64,
    memory_bytes: u64,
    table_elements_max: usize,
}

impl Bounds {
    pub(crate) fn new(memory_bytes_max: u64, table_elements_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, table_elements_max }
    }

    /// What the memories of the step have now.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl ResourceLimiter for Bounds {
    /// A refused growth stops the guest: one that is told "-1" mostly stops too, but says less
    /// about why.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let wanted = self.memory_bytes.saturating_add(growth);
        if wanted > self.memory_bytes_max {
            return Err(Reached::Memory { max: self.memory_bytes_max, wanted }.into());
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let max = self.table_elements_max;
        if desired > max {
            return Err(Reached::Table { max, wanted: desired }.into());
        }
        Ok(true)
    }
}

/// A count of bytes for a person: in whole MiB or KiB where it is that, else in bytes.
pub(crate) struct Bytes(pub(crate) u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a component with two memories would get the limit twice.
    #[test]
    fn memories_count_together() {
        let mut bounds = Bounds::new(3 << 16, 10);
        assert!(bounds.memory_growing(0, 1 << 16, None).is_ok());
        assert!(bounds.memory_growing(0, 2 << 16, None).is_ok());
        let refused = bounds.memory_growing(1 << 16, 2 << 16, None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "memory limit of 192 KiB reached: the component wanted 256 KiB"
        );
    }

    /// If this failed, limits would be told in figures that nobody configured.
    #[test]
    fn bytes_are_told_in_the_largest_whole_unit() {
        let told: Vec<String> =
            [0, 1023, 1024, 1025, 1 << 20, 65 << 20].map(|bytes| Bytes(bytes).to_string()).into();
        assert_eq!(told, ["0 bytes", "1023 bytes", "1 KiB", "1025 bytes", "1 MiB", "65 MiB"]);
    }
}
