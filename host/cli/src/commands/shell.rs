//! `izna completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Izna, output, trouble::Trouble};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Izna::command(), "izna", &mut script);
    output::text(&String::from_utf8_lossy(&script))
}
