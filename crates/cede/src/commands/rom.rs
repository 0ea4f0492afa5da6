//! `cede rom`.

use super::print_json;
use crate::cli::{Global, RomArgs};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::{Table, counted, wrapped};
use crate::source;
use crate::ui::{BAD, GOOD, Ui, WARN, paint};
use crate::view::rom::{ImageView, RomView};
use cede_host::Scope;
use cede_host::option_rom::{self, ROM_LIMIT, RomError};
use cede_model::pci::OptionRom;
use cede_model::pci::PciDevice;
use cede_plan::shell_word::quoted;
use std::io::{Read, Write};
use std::path::Path;

/// Reads an option ROM of a device or of a file, says what is in it, and saves it.
///
/// # Errors
/// It cannot be read or saved.
pub fn run(arguments: &RomArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let device = device(arguments, global)?;
    let (bytes, is_shadow) = match (&arguments.check, &device) {
        (Some(path), _) => (read_file(path)?, None),
        (None, Some(device)) => read_device(device, global).map(|(bytes, shadow)| (bytes, Some(shadow)))?,
        (None, None) => {
            return Err(CommandError::usage("no device and no file was named").hint("`cede rom ADDR`, or `cede rom --check FILE`"));
        }
    };
    let rom = OptionRom::read(&bytes);
    let mut view = RomView::new(&rom, bytes.len());
    view.shadow = is_shadow;
    if let Some(device) = &device {
        view.compare(&rom, device);
    }
    let good = view.faults.is_empty() && view.for_device != Some(false) && view.strangers.is_empty() && view.shadow != Some(true);
    let saved = arguments.output.as_deref().filter(|_| !rom.images.is_empty());
    if let Some(path) = saved {
        save(path, bytes.get(rom.start..).unwrap_or_default(), ui)?;
    }
    if global.json && saved.is_none_or(|path| path != Path::new("-")) {
        print_json(ui, &view)?;
    } else {
        show(ui, &view, arguments, global)?;
    }
    Ok(if good { Exit::Fine } else { Exit::Problems })
}

fn device(arguments: &RomArgs, global: &Global) -> Result<Option<PciDevice>, CommandError> {
    let Some(address) = arguments.address else { return Ok(None) };
    let host = source::load(global, Scope::Devices)?;
    source::require_functions(&host)?;
    let missing = || CommandError::usage(format!("there is no PCI function at {address}")).hint("`cede devices` lists them");
    host.device(address).cloned().map(Some).ok_or_else(missing)
}

fn read_device(device: &PciDevice, global: &Global) -> Result<(Vec<u8>, bool), CommandError> {
    let address = device.address;
    if global.host.is_some() {
        return Err(CommandError::usage("a capture holds no option ROMs").hint(format!("sudo cede rom {address} (on that host)")));
    }
    if global.root.is_none() && !rustix::process::geteuid().is_root() {
        return Err(CommandError::unreadable("only root can read an option ROM").hint(format!("sudo cede rom {address}")));
    }
    let saved = option_rom::read(&source::open_root(global)?, device).map_err(|error| failed(&error))?;
    Ok((saved.bytes, saved.is_shadow))
}

fn failed(error: &RomError) -> CommandError {
    let message = error.to_string();
    match error {
        RomError::InUse(_) => CommandError::new(Exit::Refused, message).hint("`virsh shutdown DOMAIN`, then run the same command again"),
        RomError::Hidden(address, _) => CommandError::unreadable(message)
            .hint(format!("boot another display first, or download the ROM of this very card and run `cede rom {address} --check FILE`")),
        RomError::Asleep(address, _) => CommandError::unreadable(message)
            .hint(format!("echo on > /sys/bus/pci/devices/{address}/power/control, look at `dmesg`, and run the same command again")),
        RomError::None(_) | RomError::File(..) | RomError::Read(_) => {
            CommandError::unreadable(message).hint("most devices work without one: `cede handoff ADDR --to libvirt`")
        }
    }
}

/// A file that is no larger than any option ROM.
///
/// # Errors
/// It cannot be read, or is no such file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, CommandError> {
    let failed = |error: std::io::Error| CommandError::unreadable(format!("{}: {error}", path.display()));
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(CommandError::unreadable(format!("{}: not a regular file", path.display())));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(ROM_LIMIT as u64 + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() > ROM_LIMIT {
        return Err(CommandError::unreadable(format!("{}: larger than any option ROM (16 MiB)", path.display())));
    }
    Ok(bytes)
}

/// An existing file is never written over: it may be the only good copy.
fn save(path: &Path, rom: &[u8], ui: &mut Ui) -> Result<(), CommandError> {
    if path == Path::new("-") {
        return Ok(ui.bytes(rom)?);
    }
    let failed = |error: std::io::Error| {
        CommandError::usage(format!("{}: {error}", path.display())).hint("name a file that does not exist yet: `-o FILE`")
    };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(rom).and_then(|()| file.sync_all()).map_err(failed)
}

/// With the ROM itself on standard output, what is said of it is talk.
fn show(ui: &mut Ui, view: &RomView, arguments: &RomArgs, global: &Global) -> Result<(), CommandError> {
    let width = ui.width();
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    let mut text = Vec::new();
    describe(&mut text, view, width)?;
    if let Some(path) = arguments.output.as_deref().filter(|_| !to_stdout && !view.images.is_empty()) {
        let trimmed = if view.start > 0 { format!(", without the first {}", counted(view.start, "byte")) } else { String::new() };
        wrapped(&mut text, "", &format!("saved as {}{trimmed}", path.display()), width)?;
    }
    if let Some(next) = next(view, arguments) {
        writeln!(text, "\nNext: {}", global.command(&next, arguments.check.is_none() && arguments.output.is_none()))?;
    }
    if to_stdout {
        ui.err().write_all(&text)?
    } else {
        ui.out().write_all(&text)?
    }
    Ok(())
}

fn describe(text: &mut Vec<u8>, view: &RomView, width: Option<usize>) -> Result<(), CommandError> {
    let (style, verdict) = match (view.faults.is_empty(), view.for_device, view.shadow) {
        (false, ..) => (BAD, "damaged"),
        (true, Some(false), _) => (BAD, "made for another device"),
        (true, ..) if !view.strangers.is_empty() => (BAD, "made for another device in part"),
        (true, _, Some(true)) => (WARN, "a copy in memory, not the card's own"),
        _ => (GOOD, "whole"),
    };
    let of = view.device.as_ref().map(|device| format!(" of {device}")).unwrap_or_default();
    writeln!(text, "option ROM{of}: {}, {}, {}", paint(style, verdict), counted(view.images.len(), "image"), counted(view.length, "byte"))?;
    let mut table = Table::new(2, 2);
    for image in &view.images {
        table.row([
            &format!("{:#x}", image.offset),
            &counted(image.length, "byte"),
            &kind(image),
            &format!("{}:{}", image.vendor, image.device),
        ]);
    }
    table.print(text, width)?;
    for fault in view.faults.iter().chain(&view.strangers) {
        wrapped(text, "  ", fault, width)?;
    }
    for remark in remarks(view) {
        wrapped(text, "", &remark, width)?;
    }
    Ok(())
}

fn kind(image: &ImageView) -> String {
    match (image.code.as_str(), &image.machine, image.checksum) {
        ("uefi", Some(machine), _) => format!("UEFI, {machine}{}", if image.compressed == Some(true) { ", compressed" } else { "" }),
        ("legacy", _, Some(true)) => "legacy BIOS, checksum good".to_owned(),
        ("legacy", _, Some(false)) => "legacy BIOS, checksum WRONG".to_owned(),
        ("legacy", ..) => "legacy BIOS, no checksum".to_owned(),
        (code, ..) => format!("code type {code}"),
    }
}

fn remarks(view: &RomView) -> Vec<String> {
    let mut list = Vec::new();
    if view.shadow == Some(true) {
        list.push("firmware copied it to 0xc0000 for the boot display, at most 128 KiB without UEFI part, and its code may have changed it: for the card's own, boot another display first and read it again".to_owned());
    }
    if view.start > 0 {
        let what = if view.header == "nvidia_flash" { "the header of NVIDIA's flash image" } else { "something else" };
        list.push(format!("the first {} bytes are {what}: a guest needs the ROM without them", view.start));
    }
    if !view.uefi_driver && !view.images.is_empty() {
        list.push(
            "no UEFI driver for x86-64 is in it: a guest with OVMF gets no picture or network boot from it before its own driver runs"
                .to_owned(),
        );
    }
    if view.trailing > 0 && view.faults.is_empty() {
        list.push(format!("{} bytes follow the last image: padding, or data of the maker", view.trailing));
    }
    list
}

fn next(view: &RomView, arguments: &RomArgs) -> Option<String> {
    let usable = !view.images.is_empty() && view.faults.is_empty() && view.for_device != Some(false);
    let device = view.device.as_deref();
    let check = arguments.check.as_ref().map(|path| quoted(&path.to_string_lossy()));
    let output = arguments.output.as_ref().map(|path| quoted(&path.to_string_lossy()));
    match (check, output) {
        (Some(check), None) if view.start > 0 && usable => {
            Some(format!("rom {}--check {check} -o trimmed.rom", device.map(|device| format!("{device} ")).unwrap_or_default()))
        }
        (None, None) if usable => device.map(|device| format!("rom {device} -o {device}.rom")),
        _ => None,
    }
}
