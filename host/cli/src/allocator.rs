//! What the allocator gives back to the system.

/// Blocks from this size on are the system's again when they are freed, and so is the free end of a
/// heap. Left to itself glibc raises both limits to what was once freed: a node that took a
/// component of some megabytes in would keep twenty that it never needs again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: libc::c_int = 1 << 20;

/// Set the limits, once, before there are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's settings have no safe interface")]
pub(crate) fn set_limits() {
    // SAFETY: `mallopt` takes two numbers and is called before there is a second thread. Where it
    // fails all stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn set_limits() {}
