//! Who may change the host, and what was asked before.

use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::ui::Ui;

/// Changing the host is for root.
///
/// # Errors
/// The user is another.
pub fn require_root() -> Result<(), CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Refused, "only root can change the host; nothing was changed").hint("run the same command with sudo"))
}

/// Asks; refuses where nobody can answer.
///
/// # Errors
/// Standard input is no terminal.
pub fn confirmed(ui: &mut Ui, question: &str) -> Result<bool, CommandError> {
    let answer = ui.ask(question)?;
    answer.ok_or_else(|| {
        CommandError::new(Exit::Refused, "nobody can answer: standard input is no terminal; nothing was changed")
            .hint("add --yes to go on without asking")
    })
}
