//! Formulas to ask for, as requests. They are of one size, so that each takes about as long as any
//! other.

use crate::http;

/// How many the second series of the paper asks for.
const KNOWN: u64 = 50;

/// A formula that nobody has asked for with another number.
pub fn different(number: u64) -> Vec<u8> {
    request(&formula(&format!("a_{{{number:06}}}")))
}

/// One of fifty formulas, at random.
pub fn known(number: u64) -> Vec<u8> {
    // The multiplier of a generator with a full period: the upper bits are as good as random.
    let random = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    request(&formula(&format!("k_{{{:06}}}", random % KNOWN)))
}

fn formula(name: &str) -> String {
    let integral = r"\frac{e^{-x^2/2\sigma^2}}{\sqrt{2\pi\sigma^2}}\,dx";
    let sum = r"\sum_{n=0}^{\infty} \frac{(-1)^n}{n!}";
    let term = r"\left( \frac{x_n + y_n}{\sqrt{1+z_n^2}} \right)^{2n+1}";
    let rows = r"\alpha & \beta & \gamma \\ \delta & \epsilon & \zeta \\ \eta & \theta & \iota";
    let matrix = format!(r"\begin{{pmatrix}} {rows} \end{{pmatrix}}");
    format!(r"\int_{{{name}}}^{{\infty}} {integral} = {sum} {term} + {matrix}")
}

fn request(formula: &str) -> Vec<u8> {
    let mut path = String::from("/tex?f=");
    for byte in formula.bytes() {
        if byte.is_ascii_alphanumeric() {
            path.push(byte.into());
        } else {
            path += &format!("%{byte:02X}");
        }
    }
    http::request("GET", &path, &[], &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// If this fails, "all different" measures the cache.
    #[test]
    fn different_ones_differ_and_are_of_one_size() {
        let all: std::collections::BTreeSet<_> = (0..1000).map(different).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|request| request.len() == different(0).len()));
    }

    /// If this fails, some of the fifty are asked for far more often than others.
    #[test]
    fn fifty_are_asked_for_about_as_often() {
        let mut counts = BTreeMap::new();
        (0..50_000).map(known).for_each(|request| *counts.entry(request).or_insert(0) += 1);
        assert_eq!(counts.len(), 50);
        assert!(counts.values().all(|count| (700..1300).contains(count)), "{:?}", counts.values());
    }
}
