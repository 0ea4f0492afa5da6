//! Keeps two runs apart, and a run from the tools that a killed one left behind.

use crate::files::root::Root;
use crate::machine::{EffectError, Lock};
use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, fstat};
use rustix::process::geteuid;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where our own state is kept; for root alone.
pub(crate) const STATE: &str = "/var/lib/cede";

/// The lock is the open file: the kernel drops it with the process, so none is ever stale. What is written in it is only for people.
struct FileLock(#[expect(dead_code, reason = "it is held, not read")] File);

impl Lock for FileLock {}

/// Takes the lock.
///
/// # Errors
/// Another run has it, or a tool of a killed run is still at work.
pub(crate) fn take(root: &Root) -> Result<Box<dyn Lock>, EffectError> {
    let mut file = open(root, "lock", OFlags::CLOEXEC)?;
    let free = try_lock(&file, "lock", FlockOperation::NonBlockingLockExclusive)?;
    let holder = Holder::read(&mut file);
    if !free {
        return Err(EffectError::Locked(holder.map(|holder| format!(" ({}, pid {})", holder.command, holder.pid)).unwrap_or_default()));
    }
    let tools = open(root, "tools", OFlags::CLOEXEC)?;
    if !try_lock(&tools, "tools", FlockOperation::NonBlockingLockExclusive)? {
        let found = holders(&tools);
        // A daemon that a tool started has left the session; it makes nothing of ours.
        let at_work: Vec<&Found> = found.iter().filter(|one| holder.as_ref().is_none_or(|run| run.session == one.session)).collect();
        if found.is_empty() || !at_work.is_empty() {
            return Err(EffectError::ToolAtWork(describe(&at_work)));
        }
    }
    // Whoever finds it taken is told by whom; nothing rests on it.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(Holder::me().as_bytes()));
    Ok(Box::new(FileLock(file)))
}

/// One unit's turn at a start of the machine; it ends when this is dropped.
pub struct Turn(#[expect(dead_code, reason = "it is held, not read")] File);

/// Waits until no other unit of ours is at work. systemd starts them all at once, and each has a journal of its own to write.
///
/// # Errors
/// The file that they take turns by cannot be made.
pub fn take_turn(root: &Root) -> Result<Turn, EffectError> {
    let file = open(root, "at-start", OFlags::CLOEXEC)?;
    try_lock(&file, "at-start", FlockOperation::LockExclusive)?;
    Ok(Turn(file))
}

/// An open file that children inherit, locked: as long as one of them lives, others see that it is taken.
///
/// # Errors
/// It cannot be made.
pub(crate) fn for_children(root: &Root) -> Result<File, EffectError> {
    let file = open(root, "tools", OFlags::empty())?;
    try_lock(&file, "tools", FlockOperation::NonBlockingLockShared)?;
    Ok(file)
}

/// Makes a directory of ours, for root alone; what is missing above our own is as everywhere.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_private(root: &Root, dir: &Path) -> Result<(), EffectError> {
    let above = Path::new(STATE).parent().map_or(Ok(Vec::new()), |above| root.create_dir_all(above, 0o755));
    above.and_then(|_| root.create_dir_all(dir, 0o700)).map_err(|error| EffectError::File(error.to_string()))?;
    keep_private(root, dir)
}

/// Closes a directory of ours that stands open to others; one that somebody else owns is not used: he could write into the journal what `undo`
/// then writes into the boot configuration.
fn keep_private(root: &Root, dir: &Path) -> Result<(), EffectError> {
    let failed = |errno: rustix::io::Errno| EffectError::File(format!("{}: {errno}", dir.display()));
    let open = |path: &Path| root.open_raw(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC);
    let ours = open(dir).map_err(failed)?;
    let found = fstat(&ours).map_err(failed)?;
    let me = geteuid().as_raw();
    // In the tree of a container every owner is shifted, that of `/` too.
    let of_top = || open(Path::new("/")).and_then(fstat).is_ok_and(|top| top.st_uid == found.st_uid);
    if found.st_uid != 0 && found.st_uid != me && !of_top() {
        let (dir, owner) = (dir.display(), found.st_uid);
        return Err(EffectError::File(format!(
            "{dir} belongs to user {owner}, who can write anything into the journal; look at it (`cede log -v`), then `sudo chown -R root: {STATE}`"
        )));
    }
    if found.st_mode & 0o077 != 0 && (found.st_uid == me || me == 0) {
        fchmod(&ours, Mode::RWXU).map_err(failed)?;
    }
    Ok(())
}

fn open(root: &Root, name: &str, more: OFlags) -> Result<File, EffectError> {
    make_private(root, Path::new(STATE))?;
    let path = format!("{STATE}/{name}");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | more;
    let opened = root.open_raw_with_mode(Path::new(&path), flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(opened.map_err(|errno| EffectError::File(format!("{path}: {errno}")))?);
    // Whatever the umask was when it was made.
    let _ = fchmod(&file, Mode::RUSR | Mode::WUSR);
    if file.metadata().is_ok_and(|found| found.is_file()) {
        Ok(file)
    } else {
        Err(EffectError::File(format!("{path}: not a regular file")))
    }
}

fn try_lock(file: &File, name: &str, how: FlockOperation) -> Result<bool, EffectError> {
    loop {
        match flock(file, how) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(EffectError::File(format!("{STATE}/{name}: {errno}"))),
        }
    }
}

/// Who wrote into the lock last.
struct Holder {
    pid: u32,
    session: i32,
    command: String,
}

impl Holder {
    fn me() -> String {
        let session = session_of("self").unwrap_or(0);
        let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("{} {session}\n{}\n", std::process::id(), words.join(" "))
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.take(1 << 16).read_to_string(&mut text).ok()?;
        let (numbers, command) = text.split_once('\n')?;
        let (pid, session) = numbers.split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, session: session.parse().ok()?, command: command.trim_end().to_owned() })
    }
}

/// A process that has the file open.
struct Found {
    pid: i32,
    session: i32,
    name: String,
}

/// Every process that has the file open, but this one.
fn holders(file: &File) -> Vec<Found> {
    let Ok(wanted) = file.metadata() else { return Vec::new() };
    let has_it = |pid: i32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::metadata(entry.path()).ok())
            .any(|other| (other.dev(), other.ino()) == (wanted.dev(), wanted.ino()))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let others = pids.filter(|pid| pid.cast_unsigned() != std::process::id() && has_it(*pid));
    others
        .map(|pid| Found {
            pid,
            session: session_of(&pid.to_string()).unwrap_or(0),
            name: std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned(),
        })
        .collect()
}

/// The session of a process as `/proc/PID/stat` has it (proc_pid_stat(5), field 6). 0 where its leader is outside our
/// pid namespace: `getsid(2)` gives 0 as well then, which rustix takes for impossible and panics.
fn session_of(pid: &str) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit(|byte| *byte == b')').next()?;
    std::str::from_utf8(after_name).ok()?.split_whitespace().nth(3)?.parse().ok()
}

fn describe(found: &[&Found]) -> String {
    let names: Vec<String> = found.iter().map(|one| format!("{} (pid {})", one.name, one.pid)).collect();
    let pids: Vec<String> = found.iter().map(|one| one.pid.to_string()).collect();
    if names.is_empty() {
        return "a tool that a killed run of cede started is still at work: wait for it to end".to_owned();
    }
    let (names, pids) = (names.join(", "), pids.join(" "));
    format!("a tool that a killed run of cede started is still at work: {names}; wait for it to end, or end it: `sudo kill {pids}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    struct Scratch(std::path::PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn scratch(name: &str) -> (Scratch, Root) {
        let path = std::env::temp_dir().join(format!("cede-lock-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let root = Root::open(&path).unwrap();
        (Scratch(path), root)
    }

    #[test]
    fn who_has_the_lock_is_named() {
        let (_scratch, root) = scratch("held");
        let held = take(&root).unwrap();
        let error = take(&root).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())) && error.contains("wait for it"), "{error}");
        drop(held);
        assert!(take(&root).is_ok(), "what a run leaves in the file is no lock");
    }

    #[test]
    fn turns_are_waited_for() {
        let (_scratch, root) = scratch("turn");
        let first = take_turn(&root).unwrap();
        let (told, tells) = std::sync::mpsc::channel();
        let path = root.path().to_owned();
        let second = std::thread::spawn(move || {
            let _turn = take_turn(&Root::open(&path).unwrap()).unwrap();
            told.send(()).unwrap();
        });
        assert!(tells.recv_timeout(std::time::Duration::from_millis(200)).is_err());
        assert!(take(&root).is_ok(), "it is not the lock of those who change something");
        drop(first);
        tells.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        second.join().unwrap();
    }

    #[test]
    fn a_tool_that_outlives_its_run_keeps_others_out_and_a_daemon_does_not() {
        let (_scratch, root) = scratch("tool");
        drop(take(&root).unwrap());
        let spawn = |argv: &[&str]| {
            let inherited = for_children(&root).unwrap();
            let child = Command::new(argv[0]).args(&argv[1..]).spawn().unwrap();
            drop(inherited);
            child
        };
        let mut tool = spawn(&["sleep", "60"]);
        let error = take(&root).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("sleep (pid {})", tool.id())) && error.contains(&format!("`sudo kill {}`", tool.id())), "{error}");
        tool.kill().unwrap();
        tool.wait().unwrap();
        let mut daemon = spawn(&["setsid", "sleep", "60"]);
        let left = || session_of(&daemon.id().to_string()) == Some(daemon.id().cast_signed());
        while !left() {
            std::thread::yield_now();
        }
        assert!(take(&root).is_ok());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}
