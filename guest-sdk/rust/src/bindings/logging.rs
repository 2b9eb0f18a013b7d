//! `wasi:logging/logging@0.1.0-draft`, by hand: one function, and its type for the component.

// The function, as the canonical ABI has it: a level, and two texts.
#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "wasi:logging/logging@0.1.0-draft")]
unsafe extern "C" {
    #[link_name = "log"]
    fn import(level: i32, context: *const u8, context_len: usize, text: *const u8, text_len: usize);
}

/// Log a line; `level` is 0 for `trace` to 5 for `critical`.
#[cfg(target_family = "wasm")]
pub fn log(level: i32, text: &str) {
    let context = "";
    // SAFETY: both texts live until the function returns, and it keeps neither.
    unsafe { import(level, context.as_ptr(), context.len(), text.as_ptr(), text.len()) }
}

// What makes the linker take the section below wherever the function above is used.
#[cfg(target_family = "wasm")]
#[used]
static TYPE_IS_USED: fn() = use_type;

#[cfg(target_family = "wasm")]
#[inline(never)]
fn use_type() {}

#[cfg(target_family = "wasm")]
#[unsafe(link_section = "component-type:izna-sdk:wasi:logging@0.1.0-draft:imports")]
#[used]
static TYPE: [u8; 225] = *b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07\xac\x01\x01A\x02\x01A\x02\
\x01B\x04\x01m\x06\x05trace\x05debug\x04info\x04warn\x05error\x08critical\x04\0\x05le\
vel\x03\0\0\x01@\x03\x05level\x01\x07contexts\x07messages\x01\0\x04\0\x03log\x01\x02\x03\
\0 wasi:logging/logging@0.1.0-draft\x05\0\x04\0 wasi:logging/imports@0.1.0-draft\x04\0\
\x0b\x0d\x01\0\x07imports\x03\0\0";
