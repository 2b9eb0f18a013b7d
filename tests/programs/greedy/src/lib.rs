//! Imports an interface that nobody grants: it must be refused at deploy, by the interface's name.

// By `wit-bindgen rust wit --world thief`, version 0.61.1.
#[allow(clippy::all, unused_imports, reason = "generated")]
#[rustfmt::skip]
mod thief;

izna_sdk::component! { steal }

fn steal(name: String) -> izna_sdk::Result<String> {
    Ok(thief::acme::secret::vault::open(&name))
}
