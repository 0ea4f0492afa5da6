//! `cede hook`: libvirt has devices given to a guest when it starts, and taken back when it ends.

use super::bind;
use super::verify::{operations, settled};
use crate::cli::{BindArgs, Global, HookArgs, HookCommand, HookEvent, NowArgs, ReleaseArgs};
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::render::plan::print_plan;
use crate::source;
use crate::ui::{GOOD, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::apply::{Applied, apply};
use cede_host::{Machine, ReadHost, Root, Scope, observe};
use cede_model::Host;
use cede_model::pci::PciAddress;
use cede_plan::hook::{self, HookWish};
use cede_plan::journal::Verb;
use cede_plan::shell_word::quoted;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Seconds that a guest's start waits until nobody uses its devices any more.
const WAIT: u32 = 30;

/// How often it is looked whether what lies over a driver can be taken off.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Definitions of guests are a few pages long.
const DEFINITION_LIMIT: usize = 10 << 20;

const SYSTEMCTL: &str = "/usr/bin/systemctl";
const DISPLAY_MANAGER: &str = "display-manager.service";

/// Writes a guest's hook, or does what it is for.
///
/// # Errors
/// See the exit codes.
pub fn run(command: &HookCommand, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    match command {
        HookCommand::Install { domain, addresses, how } => operation_ui::answer("hook", global.json, ui, |ui, view| {
            let root = open(global)?;
            let wish = HookWish {
                domain: domain.clone(),
                addresses: addresses.clone(),
                program: program("libvirt")?,
                accepted: how.accepted.clone(),
                display_manager: how.display_manager,
            };
            install(&root, &wish, global, ui, view)
        }),
        HookCommand::Run { domain, event, how } => act(domain, *event, how, global, ui),
    }
}

fn install(root: &Root, wish: &HookWish, global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    settled(root, global)?;
    let plan = hook::plan(&look(root, &wish.domain), wish);
    if !plan.refused.is_empty() {
        return operation_ui::refused(ui, &plan, view);
    }
    if plan.is_empty() {
        return operation_ui::nothing(ui, "the guest has this hook already");
    }
    view.planned(&plan);
    print_plan(ui, &plan, global.verbose)?;
    require_root()?;
    if !global.yes && !confirmed(ui, "\nWrite this hook?")? {
        return operation_ui::declined(ui, view);
    }
    ui.flush()?;
    let applied =
        apply(root, &plan, Verb::Hook, &mut |event| operation_ui::show(ui, &event)).map_err(|error| operation_ui::failed(&error))?;
    operation_ui::finish(ui, &applied, &format!("start the guest {}; `journalctl -t cede-hook` tells how it went", wish.domain), view)?;
    // Nothing waits for the next start of this machine.
    Ok(Exit::Fine)
}

/// The end of an operation that took a hook away.
///
/// # Errors
/// Those of the stream.
pub fn ended(applied: &Applied, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    view.applied(applied, "nothing more: the hook is gone");
    writeln!(ui.out(), "\n{} (operation {}): the guest starts without cede", paint(GOOD, "the hook is gone"), applied.number)?;
    Ok(Exit::Fine)
}

fn open(global: &Global) -> Result<Root, CommandError> {
    let root = if global.host.is_some() { None } else { Some(source::open_root(global)?) };
    root.filter(Root::is_live)
        .ok_or_else(|| CommandError::usage("a hook is for the machine that it is asked on").hint("`cede plan ADDR` works for every host"))
}

/// The running system, with what libvirt has of the guest.
fn look(root: &Root, domain: &str) -> Host {
    let mut capture = observe(root, Scope::Runtime);
    capture.insert(hook::LIBVIRT, ReadHost::probe(root, hook::LIBVIRT));
    let own = hook::path(domain).into_iter().flat_map(|path| [path, hook::definition(domain)]);
    for path in own.chain(hook::sources()) {
        let entry = ReadHost::read(root, &path, DEFINITION_LIMIT);
        capture.insert(path, entry);
    }
    Host::from_capture(capture)
}

/// The path of cede itself. Root will run it, so nobody else may be able to put something else there.
///
/// # Errors
/// Somebody else may.
pub fn program(who: &str) -> Result<String, CommandError> {
    let unknown = |error| CommandError::unreadable(format!("the path of cede itself: {error}"));
    let path = std::env::current_exe().map_err(unknown)?;
    // In a directory with the sticky bit only the owner puts something else in the place of a file.
    let is_safe = |mode: u32| mode & 0o022 == 0 || mode & 0o041_000 == 0o041_000;
    let is_roots = |part: &Path| part.symlink_metadata().is_ok_and(|found| found.uid() == 0 && is_safe(found.mode()));
    match path.ancestors().find(|part| !is_roots(part)) {
        None => Ok(path.to_string_lossy().into_owned()),
        Some(part) => Err(CommandError::new(
            Exit::Refused,
            format!("{who} would run {} as root, and others than root can change {}", path.display(), part.display()),
        )
        .hint(install_hint(&path))),
    }
}

fn install_hint(path: &Path) -> String {
    let from = cede_plan::shell_word::quoted(&path.to_string_lossy());
    format!("`sudo install {from} /usr/local/bin/cede`, then run it from there")
}

/// What libvirt's event asks for. What fails here keeps a guest from starting; what a guest leaves is tidied up whatever happens.
fn act(domain: &str, event: HookEvent, how: &HookArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let root = open(global)?;
    require_root()?;
    let own = Global { yes: true, ..Global::at_the_host() };
    let addresses = meant(&root, domain);
    if event == HookEvent::Prepare {
        let addresses = addresses?;
        if how.display_manager {
            systemctl(&root, "stop")?;
        }
        let now = NowArgs { wait: Some(WAIT), timeout: WAIT, dry_run: false };
        let arguments = BindArgs { addresses, vfs: None, persist: false, accepted: how.accepted.clone(), now };
        let free = if how.display_manager { take_off(&root, &arguments.addresses) } else { Ok(()) };
        let result = free.and_then(|()| bind::bind(&arguments, &own, ui));
        if how.display_manager && !matches!(result, Ok(Exit::Fine)) {
            give_display_back(&root, &arguments.addresses)?;
        }
        return result;
    }
    let now = NowArgs { wait: None, timeout: WAIT, dry_run: false };
    let known = addresses.as_deref().unwrap_or_default().to_vec();
    let result = addresses.and_then(|addresses| bind::release_for_now(&ReleaseArgs { addresses, now }, &own, ui));
    if how.display_manager {
        give_display_back(&root, &known)?;
    }
    result
}

/// Takes off what lies over the driver of these functions; sessions that just ended may hold it for a while.
fn take_off(root: &Root, addresses: &[PciAddress]) -> Result<(), CommandError> {
    let start = Instant::now();
    loop {
        let problem = hook::taken_off(&running(root), addresses).iter().find_map(|argv| tool(root, argv).err());
        match problem {
            None => return Ok(()),
            Some(error) if start.elapsed() > Duration::from_secs(WAIT.into()) => {
                return Err(error.hint("`sudo fuser -v /dev/nvidia* /dev/dri/*` shows who holds it"));
            }
            Some(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Puts back what was taken off and starts the display manager, whatever comes of the first.
fn give_display_back(root: &Root, addresses: &[PciAddress]) -> Result<(), CommandError> {
    let problem = hook::put_back(&running(root), addresses).iter().filter_map(|argv| tool(root, argv).err()).next();
    systemctl(root, "start")?;
    problem.map_or(Ok(()), Err)
}

fn running(root: &Root) -> Host {
    Host::from_capture(observe(root, Scope::Runtime))
}

/// The functions that the hook in force gives, each still where and what it was.
fn meant(root: &Root, domain: &str) -> Result<Vec<PciAddress>, CommandError> {
    let host = look(root, domain);
    let list = operations(&host)?;
    let hook = hook::of(&list, domain).ok_or_else(|| {
        CommandError::new(Exit::Refused, format!("no hook of `{domain}` is in force"))
            .hint("`cede log` lists what is; `cede hook install` makes one")
    })?;
    let strangers = hook::strangers(&host, &hook.plan.devices);
    match strangers.is_empty() {
        true => Ok(hook.plan.devices.iter().map(|device| device.address).collect()),
        false => Err(CommandError::new(Exit::Changed, strangers.join("; "))
            .hint(format!("`sudo cede undo {}`, then `cede hook install {domain} ADDR` for the one that is meant", hook.number))),
    }
}

fn systemctl(machine: &dyn Machine, verb: &str) -> Result<(), CommandError> {
    tool(machine, &[SYSTEMCTL, verb, DISPLAY_MANAGER].map(str::to_owned))
}

fn tool(machine: &dyn Machine, argv: &[String]) -> Result<(), CommandError> {
    let shown = argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let failed = |why: String| CommandError::new(Exit::Problems, format!("{shown}: {why}"));
    let end = machine.run(argv, &mut |_| {}).map_err(|error| failed(error.to_string()))?;
    if end.success { Ok(()) } else { Err(failed(format!("{} {}", end.status, end.output.trim()))) }
}
