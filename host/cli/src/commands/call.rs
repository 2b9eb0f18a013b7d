//! `izna call`: one call of a function, from the shell.

use clap::Args;
use izna_gateway::api;
use serde_json::Value;

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
        Format::Text => match returned.result {
            Value::String(text) => output::text(&(text + "\n")),
            result => output::json(&result),
        },
    }
}

/// An argument: JSON where it begins like JSON, else the text itself.
fn value(text: &str) -> Result<Value, Trouble> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if text.starts_with(['{', '[', '"']) => {
            let what = format!("invalid JSON in argument `{text}`");
            Err(Trouble::new(Exit::Usage, what).why(error.to_string()))
        }
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}
