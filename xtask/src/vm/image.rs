//! Makes the disk of a machine: packages, file system, partition table, GRUB.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Outcome;
use super::progress::Progress;
use super::qemu::{self, Qemu};
use super::recipe::{self, DISK_BYTES, ROOT_UUID, Vendor};

const SECTOR: u64 = 512;
/// The usual gap before the first partition; GRUB's core image lives in it.
const FIRST_SECTOR: u64 = 2048;
const MAKE_TIMEOUT: Duration = Duration::from_secs(1500);
const PREPARE_TIMEOUT: Duration = Duration::from_secs(600);

/// The disk of this recipe, made now when it is not there yet.
pub(super) fn base(vendor: Vendor, cache: &Path, progress: &Progress) -> Outcome<PathBuf> {
    let disk = cache.join(format!("{vendor}-{}.raw", recipe::key(vendor)));
    if disk.exists() {
        progress.say(&format!("disk from {}", disk.display()));
        return Ok(disk);
    }
    let work = cache.join(format!("making-{vendor}"));
    remove(&work)?;
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    remove_outdated(vendor, cache);
    let root = work.join("root");
    let unfinished = work.join("disk.raw");
    progress.say("mmdebstrap: Debian 12 from its packages");
    install_packages(vendor, &work, progress)?;
    progress.say("files of this machine, partition table, file system");
    add_files(vendor, &root).map_err(|error| format!("{}: {error}", root.display()))?;
    make_disk(&unfinished)?;
    make_file_system(&root, &unfinished, progress)?;
    progress.say("first start, kernel given from outside: grub-install, update-grub");
    install_grub(vendor, &work, progress)?;
    fs::rename(&unfinished, &disk).map_err(|error| format!("{}: {error}", disk.display()))?;
    remove(&work)?;
    progress.say(&format!("disk made: {}", disk.display()));
    Ok(disk)
}

fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

/// Disks of former recipes only take room.
fn remove_outdated(vendor: Vendor, cache: &Path) {
    let prefix = format!("{vendor}-");
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn install_packages(vendor: Vendor, work: &Path, progress: &Progress) -> Outcome<()> {
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--variant=minbase", "--format=directory"])
        .arg(format!("--include={}", vendor.packages()))
        .args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\""])
        // A mirror that was not updated for a while is good enough for a test.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .args(recipe::dpkg_options().iter().map(|option| format!("--dpkgopt={option}")))
        .arg("bookworm")
        .arg(work.join("root"))
        .args(vendor.sources());
    run_tool(command, &work.join("mmdebstrap.log"), progress)
}

/// Runs a tool with its talk in a file; on failure the end of that file is the message.
fn run_tool(mut command: Command, log: &Path, progress: &Progress) -> Outcome<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let copy = file.try_clone().map_err(|error| error.to_string())?;
    let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
    let mut child = qemu::Killed(child.map_err(|error| format!("{name}: {error}"))?);
    let status = child.wait(MAKE_TIMEOUT, || progress.still(&name))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{name}: {status}\n{}", qemu::tail(log))),
        None => Err(format!("{name}: no end after {MAKE_TIMEOUT:?}\n{}", qemu::tail(log))),
    }
}

fn add_files(vendor: Vendor, root: &Path) -> std::io::Result<()> {
    for extra in recipe::extras(vendor) {
        let path = root.join(extra.path);
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(&path, extra.text)?;
        fs::set_permissions(&path, Permissions::from_mode(extra.mode))?;
    }
    let wants = root.join("usr/lib/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    symlink("../agent.service", wants.join("agent.service"))?;
    let grub = root.join("etc/default/grub");
    let shipped = fs::read_to_string(&grub)?;
    fs::write(&grub, recipe::default_grub(vendor, &shipped))
}

/// An empty disk with one bootable partition (MBR, type 83).
fn make_disk(disk: &Path) -> Outcome<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(disk)?;
        file.write_all(&partition_table(DISK_BYTES / SECTOR))?;
        file.set_len(DISK_BYTES)
    };
    write().map_err(|error| format!("{}: {error}", disk.display()))
}

/// The first sector: no boot code yet, a disk signature, one partition up to the end.
fn partition_table(sectors: u64) -> Vec<u8> {
    let first = u32::try_from(FIRST_SECTOR).unwrap_or(u32::MAX);
    let length = u32::try_from(sectors - FIRST_SECTOR).unwrap_or(u32::MAX);
    let beyond_cylinders = [0xfe, 0xff, 0xff];
    let mut sector = vec![0; 440];
    sector.extend(b"cede\0\0");
    sector.push(0x80);
    sector.extend(beyond_cylinders);
    sector.push(0x83);
    sector.extend(beyond_cylinders);
    sector.extend(first.to_le_bytes());
    sector.extend(length.to_le_bytes());
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

fn make_file_system(root: &Path, disk: &Path, progress: &Progress) -> Outcome<()> {
    let offset = FIRST_SECTOR * SECTOR;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("mke2fs");
    command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["-q", "-t", "ext4", "-U", ROOT_UUID])
        // Newer e2fsprogs turn these on; Debian 12's GRUB does not know them.
        .args(["-O", "^metadata_csum_seed,^orphan_file"])
        .args(["-E", &format!("offset={offset}"), "-d"])
        .args([root, disk])
        .arg(format!("{}k", (DISK_BYTES - offset) / 1024));
    run_tool(command, &disk.with_extension("mke2fs.log"), progress)
}

fn install_grub(vendor: Vendor, work: &Path, progress: &Progress) -> Outcome<()> {
    let boot = work.join("root/boot");
    let console = work.join("console.log");
    let append = format!("root=/dev/vda1 ro console=ttyS0 norandmaps panic=-1 init=/usr/lib/agent/prepare.sh -- {}", vendor.left_over());
    let mut qemu = Qemu::new(vendor, &console);
    qemu.disk(&work.join("disk.raw"), "raw");
    qemu.kernel(&newest(&boot, "vmlinuz-")?, &newest(&boot, "initrd.img-")?, &append);
    let mut child = qemu.start(&work.join("qemu.log"))?;
    let ended = child.wait(PREPARE_TIMEOUT, || progress.still("grub-install"))?;
    drop(child);
    let talk = fs::read_to_string(&console).unwrap_or_default();
    match ended.is_some_and(|status| status.success()) && talk.contains("PREPARED") {
        true => Ok(()),
        false => Err(format!("GRUB was not installed\n{}", qemu::tail(&console))),
    }
}

fn newest(directory: &Path, prefix: &str) -> Outcome<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop().ok_or_else(|| format!("{}: no {prefix}*", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_table_is_one_sector_with_one_partition() {
        let sector = partition_table(4096);
        assert_eq!(sector.len(), 512);
        assert_eq!(sector[446], 0x80);
        assert_eq!(sector[450], 0x83);
        assert_eq!(sector[454..458], 2048_u32.to_le_bytes());
        assert_eq!(sector[458..462], 2048_u32.to_le_bytes());
        assert_eq!(sector[510..], [0x55, 0xaa]);
    }
}
