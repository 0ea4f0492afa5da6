//! Changing a machine or a mounted system.

use crate::attribute_child::Writer;
use crate::child;
use crate::files::efi_variable;
use crate::files::replace_file;
use crate::files::root::Root;
use crate::files::temporary;
use crate::image_aside;
use crate::inside;
use crate::interrupt;
use crate::live_space;
use crate::lock;
use crate::machine::{AttributeWriter, EffectError, Lock, Machine, Space, ToolEnd};
use crate::menu;
use cede_model::Entry;
use cede_plan::plan::step;
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// A disk shows its partitions some time after its driver took it, and emulation is slow.
const SETTLES_IN: Duration = Duration::from_secs(20);

/// Images are as large as a few hundred megabytes; more is no initramfs.
const IMAGE_LIMIT: usize = 1 << 30;

impl Root {
    /// Starts a tool; of a mounted system inside it.
    fn start(&self, command: &mut Command) -> std::io::Result<Child> {
        if self.is_live() { command.spawn() } else { inside::spawn(self, command).map_err(std::io::Error::other) }
    }

    /// Runs a tool and gives what it wrote to standard output, to the byte. What it said beside is in how it ended.
    ///
    /// # Errors
    /// It could not be run.
    pub fn ask(&self, argv: &[String]) -> Result<(ToolEnd, Vec<u8>), EffectError> {
        let failed = |error: std::io::Error| EffectError::Tool { tool: argv.join(" "), why: error.to_string() };
        let memory = memfd_create("answer", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let mut answer = std::fs::File::from(memory);
        let start = |command: &mut Command| self.start(command.stdout(answer.try_clone()?));
        let end = self.start_tool(argv, &start, &mut |_| {})?;
        let mut bytes = Vec::new();
        answer.rewind().and_then(|()| answer.read_to_end(&mut bytes)).map_err(failed)?;
        Ok((end, bytes))
    }

    /// Runs a tool as it is.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn run_tool(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        self.start_tool(argv, &|command| self.start(command), line)
    }

    fn start_tool(&self, argv: &[String], start: child::Start<'_>, line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        let (tool, arguments) =
            argv.split_first().ok_or_else(|| EffectError::Tool { tool: String::new(), why: "no tool was named".to_owned() })?;
        let mut command = child::command(tool);
        command
            .args(arguments)
            // Debian's hook of update-initramfs lets it rewrite kernel, image and entry on the boot partition in place, where a power cut
            // leaves half of them. cede puts the image there itself, whole (kernel-install(8)).
            .env("KERNEL_INSTALL_BYPASS", "1");
        let held = lock::for_children(self)?;
        let end = child::run(command, start, line);
        drop(held);
        end
    }
}

impl Machine for Root {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        if path.starts_with(efi_variable::DIRECTORY) {
            return efi_variable::replace(self, path, before, after);
        }
        match (before, after) {
            (Some(before), None) => replace_file::remove_file(self, path, before).map_err(EffectError::from),
            (None, None) => Ok(()),
            (before, Some(after)) => {
                if let Some(parent) = Path::new(path).parent() {
                    self.create_dir_all(parent, 0o755).map_err(EffectError::from)?;
                }
                replace_file::replace_file(self, path, before, after, step::mode(path)).map(|_| ()).map_err(EffectError::from)
            }
        }
    }

    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        if let Some(parent) = Path::new(path).parent() {
            lock::make_private(self, parent)?;
        }
        replace_file::replace_file(self, path, None, bytes, 0o600).map(|_| ()).map_err(EffectError::from)
    }

    fn remove_directory(&self, path: &str) -> Result<(), EffectError> {
        replace_file::remove_dir_if_empty(self, path).map(|_| ()).map_err(EffectError::from)
    }

    fn make_durable(&self, path: &str) -> Result<(), EffectError> {
        replace_file::sync_file(self, path).map_err(EffectError::from)
    }

    fn sweep(&self, path: &str) {
        temporary::sweep(self, Path::new(path));
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        let failed = |error: std::io::Error| EffectError::File(format!("{path}: {error}"));
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = self.open_raw(Path::new(path), flags).map_err(|errno| failed(errno.into()))?;
        let mut file = std::fs::File::from(fd);
        file.write_all(bytes).and_then(|()| file.sync_data()).map_err(failed)
    }

    fn run(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        let images = image_aside::images(self, argv);
        if !images.is_empty() {
            return image_aside::make(self, &images, line);
        }
        let Some(aside) = menu::aside(self, argv) else { return self.run_tool(argv, line) };
        let end = self.run_tool(&aside.argv, line).and_then(|end| if end.success { aside.put(self).map(|()| end) } else { Ok(end) });
        aside.clear(self);
        end
    }

    fn write_attribute(&self, path: &str, value: &str) -> Result<(), EffectError> {
        self.attribute_writer().write(path, value)
    }

    fn attribute_writer(&self) -> Box<dyn AttributeWriter + '_> {
        Box::new(Writer::new(self))
    }

    /// The kernel refuses to open it exclusively then (open(2), `O_EXCL` without `O_CREAT`).
    fn is_claimed(&self, path: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
        self.open_raw(Path::new(path), flags).is_err_and(|errno| errno == rustix::io::Errno::BUSY)
    }

    fn settles_in(&self) -> Duration {
        SETTLES_IN
    }

    fn runs_tools(&self) -> bool {
        self.no_tools().is_none()
    }

    fn no_tools(&self) -> Option<String> {
        if self.is_live() { None } else { self.inside.get_or_init(|| inside::trouble(self)).clone() }
    }

    fn lock(&self) -> Result<Box<dyn Lock>, EffectError> {
        interrupt::watch();
        lock::take(self)
    }

    fn stop_asked(&self) -> Option<&'static str> {
        interrupt::take()
    }

    fn space(&self, path: &str) -> Option<Space> {
        live_space::space(self, Path::new(path))
    }

    fn time(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn image(&self, path: &str) -> Result<Vec<u8>, Entry> {
        match crate::read_host::ReadHost::read(self, path, IMAGE_LIMIT) {
            Entry::File(bytes) => Ok(bytes),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_apart_from_what_was_said_beside_it() {
        let root = Root::open("/").unwrap();
        let ask = |script: &str| root.ask(&["/bin/sh", "-c", script].map(str::to_owned)).unwrap();
        let (end, answer) = ask("printf 'a\\377\\r'; echo warning >&2; printf 'b\\n'; head -c 100000 /dev/zero");
        assert!(end.success && end.output == "warning\n", "{end:?}");
        assert!(answer.starts_with(b"a\xff\rb\n") && answer.len() == 100_005);
        let (end, answer) = ask("echo half; echo why >&2; exit 3");
        assert_eq!((end.success, end.output.as_str(), answer.as_slice()), (false, "why\n", b"half\n".as_slice()));
    }
}
