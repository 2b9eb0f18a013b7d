//! What the names and settings of an app may look like: rules that need to know nothing else.

use izna_proto::{LABEL_BYTES_MAX, METHOD_BYTES_MAX};

const NAME_BYTES_MAX: usize = 64;
const TYPED_NAME_BYTES_MAX: usize = 256;
const SETTING_NAME_BYTES_MAX: usize = 256;
/// All that is granted to all components of an app, in bytes: it is on every node, in memory.
pub const GRANTS_BYTES_MAX: usize = 64 << 10;

/// Check a name that goes into paths, logs and tables; `what` it is, such as `app name`, goes into
/// the error.
///
/// # Errors
/// When it has other characters than letters, digits and `-_.`, none, or too many.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    check(what, name, "-_.", NAME_BYTES_MAX, "letters, digits, `-`, `_` or `.`")
}

/// Check the name of a function of a direct component, or of a link to its interface. These have a
/// package and a version: `demo:tex/render@1.0.0.svg`.
///
/// # Errors
/// When it is not such a name, or too long.
pub fn check_typed_name(what: &str, name: &str) -> Result<(), String> {
    check(what, name, "-_.:/@$+", TYPED_NAME_BYTES_MAX, "letters, digits or `-_.:/@$+`")
}

/// Check a label, or the name of a zone.
///
/// # Errors
/// When it is no name, or longer than beacons have room for.
pub fn check_label(what: &str, label: &str) -> Result<(), String> {
    check(what, label, "-_.", LABEL_BYTES_MAX, "letters, digits, `-`, `_` or `.`")
}

fn check(what: &str, name: &str, signs: &str, max: usize, rule: &str) -> Result<(), String> {
    let good = |char: char| char.is_ascii_alphanumeric() || signs.contains(char);
    if !name.is_empty() && name.len() <= max && name.chars().all(good) {
        return Ok(());
    }
    let shown: String = name.chars().take(max).collect();
    let shown = shown.escape_debug();
    Err(format!("invalid {what} `{shown}`: expected 1 to {max} {rule}"))
}

/// Check a method that a route names.
///
/// # Errors
/// When no request could have it.
pub fn check_method(method: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    let fits = (1..=METHOD_BYTES_MAX).contains(&method.len());
    match fits && method.bytes().all(good) && !["CONNECT", "TRACE"].contains(&method) {
        true => Ok(()),
        false => {
            let shown = method.escape_debug();
            Err(format!("invalid method `{shown:.32}`: expected a method, such as `GET`"))
        }
    }
}

/// Check a setting for itself. The error goes on after the sort's name, which is `env` or `config`.
///
/// # Errors
/// When no component could read it back as it stands there.
pub fn check_setting(sort: &str, key: &str, value: &str) -> Result<(), String> {
    let shown: String = key.chars().take(64).collect::<String>().escape_debug().to_string();
    if key.is_empty() || key.len() > SETTING_NAME_BYTES_MAX {
        let rule = format!("expected a name of 1 to {SETTING_NAME_BYTES_MAX} bytes");
        return Err(format!("`{shown}`: {rule}"));
    }
    if sort == "env" && (key.contains(['=', '\0']) || value.contains('\0')) {
        return Err(format!("`{shown}`: environment variables cannot contain `=` or NUL"));
    }
    if value.len() > GRANTS_BYTES_MAX {
        let bytes = value.len();
        return Err(format!("`{shown}`: {bytes} bytes exceed the limit of {GRANTS_BYTES_MAX}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a name would break a table, a log or a path, or a mistake would be a riddle.
    #[test]
    fn names_are_checked() {
        assert!(check_name("app name", "a-1_b.c").is_ok());
        assert!(check_typed_name("function name", "demo:tex/render@1.0.0-rc.1+2.svg").is_ok());
        for bad in ["", "a b", "a/b", "ü", "a\n"] {
            assert!(check_name("app name", bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            check_label("zone name", "a b").unwrap_err(),
            "invalid zone name `a b`: expected 1 to 64 letters, digits, `-`, `_` or `.`"
        );
        assert!(check_name("app name", &"a".repeat(65)).unwrap_err().len() < 200);
        assert!(check_typed_name("function name", &"a".repeat(257)).is_err());
    }

    /// If this failed, a route would wait for requests that nobody can make.
    #[test]
    fn methods_are_checked() {
        assert!(check_method("GET").is_ok() && check_method("VERSION-CONTROL").is_ok());
        for bad in ["", "get", "G T", "TRACE", "CONNECT", &"A".repeat(33)] {
            assert!(check_method(bad).is_err(), "{bad:?}");
        }
    }

    /// If this failed, a component would find other settings than its author wrote.
    #[test]
    fn settings_are_checked() {
        assert!(
            check_setting("env", "A", "=").is_ok() && check_setting("config", "a=b", "").is_ok()
        );
        for (key, value) in [("", ""), ("A=B", ""), ("A", "\0"), (&"a".repeat(257), "")] {
            assert!(check_setting("env", key, value).is_err(), "{key:?} {value:?}");
        }
        assert!(check_setting("config", "a", &"x".repeat(GRANTS_BYTES_MAX + 1)).is_err());
    }
}
