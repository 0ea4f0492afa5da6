//! Changing a machine or a mounted system.

use crate::files::file_error::FileError;
use crate::files::replace_file;
use crate::files::root::Root;
use crate::files::temporary;
use crate::machine::{EffectError, Lock, Machine, ToolEnd};
use cede_model::Entry;
use rustix::fs::{Mode, OFlags};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where our own state is kept; for root alone.
const STATE: &str = "/var/lib/cede";

/// Images are as large as a few hundred megabytes; more is no initramfs.
const IMAGE_LIMIT: usize = 1 << 30;

/// A tool's output is kept up to this size, to explain a failure.
const OUTPUT_LIMIT: usize = 4 << 20;

fn effect(error: FileError) -> EffectError {
    match error {
        FileError::Changed { .. } => EffectError::Changed(error.to_string()),
        FileError::NoSpace { .. } => EffectError::NoSpace(error.to_string()),
        other => EffectError::File(other.to_string()),
    }
}

/// The lock is the open file: the kernel drops it with the process, so none is ever stale.
struct FileLock(#[expect(dead_code, reason = "it is held, not read")] std::fs::File);

impl Lock for FileLock {}

impl Machine for Root {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        match (before, after) {
            (Some(before), None) => replace_file::remove_file(self, path, before).map_err(effect),
            (None, None) => Ok(()),
            (before, Some(after)) => {
                if let Some(parent) = Path::new(path).parent() {
                    self.create_dir_all(parent, 0o755).map_err(effect)?;
                }
                replace_file::replace_file(self, path, before, after, 0o644).map(|_| ()).map_err(effect)
            }
        }
    }

    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        if let Some(parent) = Path::new(path).parent() {
            self.create_dir_all(parent, 0o700).map_err(effect)?;
        }
        replace_file::replace_file(self, path, None, bytes, 0o600).map(|_| ()).map_err(effect)
    }

    fn remove_directory(&self, path: &str) -> Result<(), EffectError> {
        replace_file::remove_dir_if_empty(self, path).map(|_| ()).map_err(effect)
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
        let (tool, arguments) =
            argv.split_first().ok_or_else(|| EffectError::Tool { tool: String::new(), why: "no tool was named".to_owned() })?;
        let failed = |error: std::io::Error| EffectError::Tool { tool: tool.clone(), why: error.to_string() };
        let (mut ours, theirs) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(tool);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            // Debian's hook of update-initramfs lets it rewrite kernel, image and entry on the boot partition in place, where a power cut
            // leaves half of them. cede puts the image there itself, whole (kernel-install(8)).
            .env("KERNEL_INSTALL_BYPASS", "1")
            .current_dir("/");
        command.stdin(Stdio::null()).stdout(theirs.try_clone().map_err(failed)?).stderr(theirs);
        let mut child = command.spawn().map_err(failed)?;
        // The command keeps our copies of the writing end; with them open the reader would never see the end.
        drop(command);
        let output = follow(&mut ours, line);
        let status = child.wait().map_err(failed)?;
        Ok(ToolEnd { success: status.success(), status: status.to_string(), output })
    }

    fn runs_tools(&self) -> bool {
        self.is_live()
    }

    fn lock(&self) -> Result<Box<dyn Lock>, EffectError> {
        self.create_dir_all(STATE, 0o700).map_err(effect)?;
        let failed = |errno: rustix::io::Errno| EffectError::File(format!("{STATE}/lock: {errno}"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = self.open_raw_with_mode(Path::new(&format!("{STATE}/lock")), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let file = std::fs::File::from(fd);
        match file.try_lock() {
            Ok(()) => Ok(Box::new(FileLock(file))),
            Err(std::fs::TryLockError::WouldBlock) => Err(EffectError::Locked),
            Err(std::fs::TryLockError::Error(error)) => Err(EffectError::File(format!("{STATE}/lock: {error}"))),
        }
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

/// Hands on each line and keeps the text.
fn follow(pipe: &mut impl Read, line: &mut dyn FnMut(&str)) -> String {
    let mut output = String::new();
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while reader.by_ref().take(1 << 16).read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&bytes);
        line(text.trim_end_matches(['\n', '\r']));
        if output.len() < OUTPUT_LIMIT {
            output.push_str(&text);
        }
        bytes.clear();
    }
    output
}
