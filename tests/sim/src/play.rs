//! Playing a recording: a fresh core is told what the recorded one was told, and is to put out the
//! same.

use std::fmt;

use bytes::Bytes;
use izna_core::{
    Config, Core, Time,
    record::{Event, Recording, Trace},
};

use crate::check::guarded;

/// How much of an input's text is shown, in characters.
const INPUT_TEXT_MAX: usize = 2000;

/// What came of playing a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Inputs and ticks that were played.
    pub inputs: u64,
    /// What they put out.
    pub outputs: u64,
    /// The recording ends inside an item: its node was killed.
    pub is_cut: bool,
    /// Where the core first put out something else.
    pub difference: Option<Difference>,
}

/// An input of which something else came than was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The how manieth.
    pub number: u64,
    /// When, in microseconds since the core began.
    pub at_us: i64,
    /// What the core was told.
    pub input: String,
    /// What was recorded, as far as it is kept.
    pub recorded: Vec<String>,
    /// What came now.
    pub now: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, at_us, input, recorded, now } = self;
        writeln!(f, "input {number}, at {:.3} ms: {input}", *at_us as f64 / 1000.0)?;
        for (what, outputs) in [("recorded", recorded), ("now", now)] {
            writeln!(f, "{what}: {} outputs", outputs.len())?;
            for (nth, output) in outputs.iter().enumerate() {
                let differs = recorded.get(nth) != now.get(nth);
                writeln!(f, "{} {output}", if differs { "  *" } else { "   " })?;
            }
        }
        Ok(())
    }
}

/// Play a recording. `change` may change the settings that it was made with.
///
/// # Errors
/// When it cannot be read: at which byte.
pub fn play(bytes: Bytes, change: impl FnOnce(&mut Config)) -> Result<Played, izna_proto::Error> {
    let mut recording = Recording::new(bytes)?;
    let (mut config, began) = recording.core();
    change(&mut config);
    let mut core = Core::new(config, began);
    let mut played = Played { inputs: 0, outputs: 0, is_cut: false, difference: None };
    while let Some(event) = recording.event()? {
        played.inputs += 1;
        played.difference = told(&mut core, event, began, &mut played);
        if played.difference.is_some() {
            break;
        }
    }
    played.is_cut = recording.is_cut();
    Ok(played)
}

/// Tell a core what happened; what is other than recorded.
fn told(core: &mut Core, event: Event, began: Time, played: &mut Played) -> Option<Difference> {
    let Event { now, input, outputs: recorded } = event;
    let text = input.as_ref().map_or_else(|| String::from("a tick"), short);
    let mut outputs = Vec::new();
    let contradiction = guarded(|| {
        match input {
            Some(input) => core.handle(now, input),
            None => core.tick(now),
        }
        outputs.extend(std::iter::from_fn(|| core.poll()));
    });
    played.outputs += outputs.len() as u64;
    let traces: Vec<Trace> = outputs.iter().map(Trace::of).collect();
    let recorded = recorded.unwrap_or_else(|| traces.clone());
    if contradiction.is_ok() && recorded == traces {
        return None;
    }
    let texts = |traces: Vec<Trace>| -> Vec<String> {
        traces.into_iter().map(|trace| format!("{:016x} {}", trace.digest, trace.text)).collect()
    };
    let mut now_texts = texts(traces);
    now_texts.extend(contradiction.err().map(|text| format!("a contradiction: {text}")));
    Some(Difference {
        number: played.inputs,
        at_us: now.as_micros() - began.as_micros(),
        input: text,
        recorded: texts(recorded),
        now: now_texts,
    })
}

fn short(input: &impl fmt::Debug) -> String {
    let text = format!("{input:?}");
    match text.char_indices().nth(INPUT_TEXT_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
