//! TeX formulas to SVG and PNG. Knows nothing of HTTP or of caches.
//!
//! The images hold the glyphs as paths, so whoever shows them needs no fonts. The glyphs are of the
//! KaTeX fonts, which are under the SIL Open Font License 1.1.

use izna_sdk::{Bytes, Failure, Result};
use ratex_layout::{LayoutOptions, layout, to_display_list, validate_layout};
use ratex_render::{RenderOptions, render_to_png};
use ratex_svg::{SvgOptions, render_to_svg};
use ratex_types::display_item::DisplayList;

// Fonts, the parser's tables and a large image have room in the arena.
izna_sdk::component! { arena = 8 * 1024 * 1024; svg, png }

const SIZE: f64 = 32.0;
const SIZE_MIN: f64 = 6.0;
const SIZE_MAX: f64 = 200.0;
const FORMULA_BYTES_MAX: usize = 2 * 1024;
/// Four bytes each: what a node grants a component by default would not hold many more.
const PIXELS_MAX: f64 = 4_000_000.0;

/// An SVG document. `size` is the height of the type, in CSS pixels.
fn svg(formula: String, size: Option<f64>) -> Result<String> {
    let size = checked(size)?;
    let document = render_to_svg(
        &drawing(&formula)?,
        &SvgOptions {
            font_size: size,
            padding: padding(size),
            stroke_width: size / 27.0,
            embed_glyphs: true,
            font_dir: String::new(),
        },
    );
    Ok(in_pixels(document))
}

/// A PNG image, on white. `size` is the height of the type, in pixels.
fn png(formula: String, size: Option<f64>) -> Result<Bytes> {
    let size = checked(size)?;
    let list = drawing(&formula)?;
    let width = list.width * size + 2.0 * padding(size);
    let height = (list.height + list.depth) * size + 2.0 * padding(size);
    // Also refuses what is not a number.
    let fits = width * height <= PIXELS_MAX;
    if !fits {
        let image = format!("the image would be {width:.0} x {height:.0} pixels");
        return Err(Failure::Failed(format!("{image}; at most {PIXELS_MAX} in all")));
    }
    let options = RenderOptions {
        font_size: size as f32,
        padding: padding(size) as f32,
        ..RenderOptions::default()
    };
    Ok(render_to_png(&list, &options).map(Bytes::from)?)
}

fn checked(size: Option<f64>) -> Result<f64> {
    let size = size.unwrap_or(SIZE);
    if (SIZE_MIN..=SIZE_MAX).contains(&size) {
        Ok(size)
    } else {
        Err(Failure::Failed(format!("size {size} is not in {SIZE_MIN} to {SIZE_MAX}")))
    }
}

/// Room around the formula: accents and large operators may reach over their box.
fn padding(size: f64) -> f64 {
    size / 8.0
}

fn drawing(formula: &str) -> Result<DisplayList> {
    if formula.len() > FORMULA_BYTES_MAX {
        let length = formula.len();
        let text = format!("the formula has {length} bytes; at most {FORMULA_BYTES_MAX}");
        return Err(Failure::Failed(text));
    }
    let nodes = ratex_parser::parse(formula).map_err(|error| match error.loc {
        Some(at) => format!("position {}: {}", at.start + 1, error.message),
        None => error.message,
    })?;
    let root = layout(&nodes, &LayoutOptions::default());
    validate_layout(&root)?;
    Ok(to_display_list(&root))
}

/// The crate gives width and height in points, but the size is in pixels.
fn in_pixels(document: String) -> String {
    match document.split_once('>') {
        Some((head, rest)) => format!("{}>{rest}", head.replace("pt\"", "\"")),
        None => document,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().message().to_owned()
    }

    /// A browser without KaTeX's fonts would show other glyphs, or none.
    #[test]
    fn svg_needs_no_fonts() {
        let formula =
            r"\int_{-\infty}^{\infty} e^{-x^2}\,dx = \sqrt{\pi} \in \mathbb{R} \text{ so}";
        let image = svg(formula.into(), None).unwrap();
        assert!(image.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox="), "{image}");
        assert!(image.contains("<path") && !image.contains("<text"), "{image}");
        let (head, _) = image.split_once('>').unwrap();
        assert!(!head.contains("pt\""), "{head}");
    }

    /// The page could not say what is wrong with a formula, and where.
    #[test]
    fn errors_name_the_position() {
        let unknown = failure(svg(r"a + \nosuch".into(), None));
        assert_eq!(unknown, r"position 5: Undefined control sequence: \nosuch");
        let open = failure(svg(r"\frac{1}{".into(), None));
        assert_eq!(open, "position 10: Unexpected end of input in a macro argument");
    }

    /// Limits would be found by a trap.
    #[test]
    fn sizes_are_bounded() {
        assert_eq!(failure(svg("x".into(), Some(1000.0))), "size 1000 is not in 6 to 200");
        assert_eq!(failure(svg("x".into(), Some(f64::NAN))), "size NaN is not in 6 to 200");
        let wide = failure(png("x".repeat(2000), Some(200.0)));
        assert!(wide.contains("at most 4000000 in all"), "{wide}");
        let long = failure(svg("x".repeat(20_000), None));
        assert_eq!(long, "the formula has 20000 bytes; at most 2048");
        let deep = failure(svg("{".repeat(500) + &"}".repeat(500), None));
        assert_eq!(deep, "Recursion limit exceeded");
    }

    /// PNG would be something else, or as large as memory.
    #[test]
    fn png_is_png() {
        let image = png(r"e^{i\pi}+1=0".into(), Some(40.0)).unwrap();
        assert!(image.starts_with(b"\x89PNG\r\n"));
    }
}
