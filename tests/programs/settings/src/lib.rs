//! Tells what it is granted. Plain `wit-bindgen`: nothing of Izna is in it.

wit_bindgen::generate!({ world: "granted", path: "wit", generate_all });

use exports::demo::settings::settings::Guest;
use wasi::cli::environment;
use wasi::config::{runtime, store};
use wasi::filesystem::preopens;
use wasi::logging::logging::{Level, log};

struct Settings;

impl Guest for Settings {
    fn environment() -> Vec<(String, String)> {
        environment::get_environment()
    }

    fn get(key: String) -> (Option<String>, u32) {
        let found = store::get(&key).unwrap_or_default();
        let older = runtime::get(&key).unwrap_or_default();
        let same = u32::from(older.is_some() && older == found);
        (found, same)
    }

    fn all() -> Vec<(String, String)> {
        store::get_all().unwrap_or_default()
    }

    fn log(message: String) {
        log(Level::Warn, "settings", &message);
        log(Level::Debug, "", &message);
    }

    fn folders() -> u32 {
        preopens::get_directories().len() as u32
    }
}

export!(Settings);
