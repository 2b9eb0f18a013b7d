//! Mistakes on the command line, told like all others.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    output,
    trouble::{Exit, Trouble},
};

/// Print what clap has to say: help, or what is wrong and what may have been meant.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    let kind = error.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(Exit::Usage as u8);
    }
    output::error(&trouble(error).to_string());
    ExitCode::from(Exit::Usage as u8)
}

fn trouble(error: &clap::Error) -> Trouble {
    let rendered = error.render().to_string();
    let mut lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first).replace('\'', "`");
    let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
    let what = match (error.kind(), text(error, ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(word)) => format!("unknown command `{word}`"),
        (ErrorKind::MissingRequiredArgument, _) => {
            let missing = text(error, ContextKind::InvalidArg).unwrap_or_default();
            format!("missing argument {missing}")
        }
        _ => first,
    };
    let trouble = Trouble::new(Exit::Usage, what);
    let possible = rendered.lines().map(str::trim).find_map(|line| {
        line.strip_prefix("[possible values: ").and_then(|line| line.strip_suffix(']'))
    });
    match (meant(error), possible, usage) {
        (Some(meant), ..) => trouble.fix(format!("did you mean `{meant}`?")),
        (None, Some(possible), _) => trouble.fix(format!("use one of: {possible}")),
        (None, None, Some(usage)) => trouble.fix(format!("run it as `{}`", usage.trim())),
        (None, None, None) => trouble.fix("see `izna --help`"),
    }
}

/// What may have been meant: of clap's suggestions the one most like what was typed.
fn meant(error: &clap::Error) -> Option<String> {
    let kinds = [
        (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
    ];
    kinds.into_iter().find_map(|(typed, suggested)| {
        let typed = text(error, typed)?;
        match error.get(suggested)? {
            ContextValue::String(text) => Some(text.clone()),
            ContextValue::Strings(texts) => {
                texts.iter().min_by_key(|t| strsim::damerau_levenshtein(&typed, t)).cloned()
            }
            _ => None,
        }
    })
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
