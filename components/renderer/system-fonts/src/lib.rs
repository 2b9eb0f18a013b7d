//! No system fonts: what the renderer's crates use of `system-fonts`, for a place that has no file
//! system.

use std::path::PathBuf;

/// The kind of font to look for.
pub enum FontStyle {
    /// Without serifs.
    Sans,
}

/// A region of the world, by its writing.
#[derive(Debug)]
pub enum FontRegion {
    /// The only one here.
    Unknown,
}

/// A font that was found; none ever is.
pub struct FoundFont {
    /// The family's name.
    pub family: String,
    /// Where it is.
    pub source: FoundFontSource,
}

/// Where a font is.
pub enum FoundFontSource {
    /// A file.
    Path(PathBuf),
    /// The font itself. Here because its user says what to do with all that is no path.
    Bytes(Vec<u8>),
}

/// No fonts.
pub fn find_for_system_locale(_: FontStyle) -> (Option<String>, FontRegion, Vec<FoundFont>) {
    (None, FontRegion::Unknown, Vec::new())
}
