//! An allocator that grows no memory in ordinary steps.
//!
//! Every step has a fresh instance, and growing its memory costs more than instantiating it: the
//! runtime must change the protection of pages, which stops the node's other threads too. So the
//! heap begins in an arena that is part of the module's initial memory. Pages of it that are not
//! touched cost nothing. When it is full, memory grows.
//!
//! [`component!`](crate::component!) installs it, with an arena of [`ARENA_BYTES`], or of as many
//! bytes as it is told:
//!
//! ```
//! # fn draw() -> izna_sdk::Result<()> { Ok(()) }
//! izna_sdk::component! { arena = 8 * 1024 * 1024; draw }
//! # fn main() {}
//! ```
//!
//! Without the feature `allocator`, which is on by default, and in native builds it installs none.

/// The arena's usual size.
pub const ARENA_BYTES: usize = 2 * 1024 * 1024;

#[cfg(feature = "allocator")]
#[doc(hidden)]
#[macro_export]
macro_rules! __allocator {
    ($bytes:expr) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            static ARENA: $crate::allocator::Arena<{ $bytes }> = $crate::allocator::Arena::new();

            #[global_allocator]
            static ALLOCATOR: $crate::allocator::Allocator =
                $crate::allocator::Allocator::new(&ARENA);
        };
    };
}

#[cfg(not(feature = "allocator"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __allocator {
    ($bytes:expr) => {};
}

#[cfg(target_family = "wasm")]
pub use wasm::{Allocator, Arena};

#[cfg(target_family = "wasm")]
mod wasm {
    use core::arch::wasm32::memory_grow;
    use dlmalloc::{Allocator as Source, Dlmalloc};
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::{Cell, UnsafeCell};
    use std::fmt;
    use std::ptr::null_mut;

    const PAGE: usize = 64 * 1024;

    /// Zeroed bytes in the module's initial memory.
    #[repr(C, align(16))]
    pub struct Arena<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

    // SAFETY: a guest has one thread.
    unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

    impl<const BYTES: usize> Arena<BYTES> {
        /// An arena; it must be a static of its own, so that it takes no room in the module's file.
        pub const fn new() -> Self {
            Arena(UnsafeCell::new([0; BYTES]))
        }
    }

    impl<const BYTES: usize> Default for Arena<BYTES> {
        fn default() -> Self {
            Arena::new()
        }
    }

    impl<const BYTES: usize> fmt::Debug for Arena<BYTES> {
        fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            write!(formatter, "Arena of {BYTES} bytes")
        }
    }

    /// dlmalloc over an arena, then over grown memory.
    pub struct Allocator(UnsafeCell<Dlmalloc<Pages>>);

    // SAFETY: a guest has one thread.
    unsafe impl Sync for Allocator {}

    impl Allocator {
        /// An allocator that takes from `arena` first. No two may share one.
        pub const fn new<const BYTES: usize>(arena: &'static Arena<BYTES>) -> Self {
            let pages = Pages { arena: arena.0.get().cast(), unused: Cell::new(BYTES) };
            Allocator(UnsafeCell::new(Dlmalloc::new_with_allocator(pages)))
        }
    }

    impl fmt::Debug for Allocator {
        fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("Allocator")
        }
    }

    // SAFETY: dlmalloc keeps the contract of `GlobalAlloc`, and one thread never enters it twice.
    unsafe impl GlobalAlloc for Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            unsafe { (*self.0.get()).free(pointer, layout.size(), layout.align()) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            unsafe { (*self.0.get()).realloc(pointer, layout.size(), layout.align(), size) }
        }
    }

    /// Where dlmalloc gets its segments: the arena once, whole, then grown memory.
    struct Pages {
        arena: *mut u8,
        unused: Cell<usize>,
    }

    // SAFETY: a guest has one thread.
    unsafe impl Send for Pages {}

    // SAFETY: what is handed out is zeroed, is never handed out again, and is never taken back.
    unsafe impl Source for Pages {
        fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
            let unused = self.unused.get();
            if size <= unused {
                self.unused.set(0);
                return (self.arena, unused, 0);
            }
            let pages = size.div_ceil(PAGE);
            match memory_grow(0, pages) {
                usize::MAX => (null_mut(), 0, 0),
                end => ((end * PAGE) as *mut u8, pages * PAGE, 0),
            }
        }

        fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
            null_mut()
        }

        fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
            false
        }

        fn free(&self, _: *mut u8, _: usize) -> bool {
            false
        }

        fn can_release_part(&self, _: u32) -> bool {
            false
        }

        fn allocates_zeros(&self) -> bool {
            true
        }

        fn page_size(&self) -> usize {
            PAGE
        }
    }
}
