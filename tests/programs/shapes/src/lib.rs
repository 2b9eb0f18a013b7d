//! Gives values whose JSON looks like something else. Plain `wit-bindgen`: nothing of Izna is in it.

use core::hint::black_box;

wit_bindgen::generate!({ world: "shapes", path: "wit" });

use exports::demo::shapes::api::{Chance, Flag, Guest, Job, Letter, Reply};

struct Shapes;

impl Guest for Shapes {
    fn a_flag() -> Flag {
        Flag { ok: false }
    }

    fn a_chance() -> Chance {
        Chance { err: None }
    }

    fn a_letter() -> Letter {
        Letter { status: 1, body: "hello".into(), subject: "greetings".into() }
    }

    fn a_job() -> Job {
        Job { status: 404, body: b"<p>".to_vec() }
    }

    fn a_reply(n: u32) -> Reply {
        [Reply::Ok(7), Reply::Later(7)].into_iter().nth(n as usize).unwrap_or(Reply::Err(7))
    }

    fn check(n: u32) -> Result<(), ()> {
        if n == 0 { Ok(()) } else { Err(()) }
    }

    fn maybe(n: u32) -> Result<String, ()> {
        if n == 0 { Ok("fine".into()) } else { Err(()) }
    }

    fn greet(name: String) -> String {
        format!("hello {name}")
    }

    fn count(tags: Vec<String>) -> u32 {
        tags.len() as u32
    }

    fn sum(n: Vec<u32>) -> u32 {
        n.iter().sum()
    }

    fn number(x: f64) -> f64 {
        x
    }

    fn infinity() -> f64 {
        f64::INFINITY
    }

    fn length(b: Vec<u8>) -> u32 {
        b.len() as u32
    }

    fn spin(n: u32) -> u32 {
        (0..n).flat_map(|turn| (0..1_000_000).map(move |step| turn ^ step)).fold(0, |sum, next| {
            black_box(sum ^ next)
        })
    }
}

export!(Shapes);
