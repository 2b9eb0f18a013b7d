//! `izna call`: one call of a function, from the shell.

use clap::Args;
use izna_gateway::api;
use serde_json::{Value, json};

use crate::{
    output::{self, Format},
    progress::Progress,
    settings::{Context, Target},
    trouble::{Exit, Trouble},
    wave,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The component, as APP/COMPONENT
    #[arg(value_name = "APP/COMPONENT")]
    component: String,
    /// The function, or a whole call in WAVE: 'interface.function(1, "text")'
    function: String,
    /// The arguments, each as JSON; anything else is passed as a string
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Deadline of the call in milliseconds
    #[arg(long, value_name = "MS", default_value_t = api::call_deadline_ms())]
    deadline: u32,
    /// Allow a second run if the node that runs it is lost
    #[arg(long)]
    idempotent: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Trouble> {
    let Some((app, component)) = arguments.component.split_once('/') else {
        let what = format!("invalid component `{}`", arguments.component);
        return Err(Trouble::new(Exit::Usage, what).fix("use the form APP/COMPONENT"));
    };
    let (function, args) = if arguments.function.contains('(') {
        if let Some(more) = arguments.arguments.first() {
            let what = format!("unexpected argument `{more}` after a complete call");
            return Err(Trouble::new(Exit::Usage, what).fix("put it inside the parentheses"));
        }
        wave::call(&arguments.function)?
    } else {
        let values = arguments.arguments.iter().map(|text| value(text));
        (arguments.function, values.collect::<Result<_, _>>()?)
    };
    let call = api::Call {
        app: app.to_owned(),
        component: component.to_owned(),
        function,
        args,
        deadline_ms: arguments.deadline,
        idempotent: arguments.idempotent,
    };
    let progress = Progress::start(format!("calling {}", call.function));
    let returned: api::Returned = context.client(&arguments.target)?.post("/v1/call", &call)?;
    drop(progress);
    match context.format {
        Format::Json => output::json(&returned),
        Format::Text => match shown(&returned.result) {
            Some(text) => output::text(&format!("{text}\n")),
            None => output::json(&returned.result),
        },
    }
}

/// A word, which the type of its parameter makes a text, a number or something else.
fn word(text: &str) -> Value {
    json!({ "$word": text })
}

/// What a function returned, for a person: a text as it is, a float as WAVE has it.
fn shown(result: &Value) -> Option<&str> {
    let float = || result.as_object().filter(|object| object.len() == 1)?.get("$float")?.as_str();
    result.as_str().or_else(float)
}

/// An argument: JSON where it begins like JSON, else a word.
fn value(text: &str) -> Result<Value, Trouble> {
    match serde_json::from_str(text) {
        Ok(value @ (Value::String(_) | Value::Array(_) | Value::Object(_))) => Ok(value),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_)) => Ok(word(text)),
        Err(error) if text.starts_with(['{', '[', '"']) => {
            let what = format!("invalid JSON in argument `{text}`");
            Err(Trouble::new(Exit::Usage, what).why(error.to_string()))
        }
        Err(_) => Ok(word(text)),
    }
}
