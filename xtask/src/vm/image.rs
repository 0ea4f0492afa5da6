//! Makes the disk of a machine: packages, partition table, file systems, boot loader.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Outcome;
use super::progress::Progress;
use super::qemu::{self, Qemu};
use super::recipe::{self, DISK_BYTES, ESP_BYTES, ESP_NUMBER, Loader, Model, ROOT_UUID, Supply};

const SECTOR: u64 = 512;
/// The usual gap before the first partition; GRUB's core image lives in it.
const FIRST_SECTOR: u64 = 2048;
/// Where the last partition ends: a GPT has its second copy in the last 33 sectors.
const END_SECTOR: u64 = DISK_BYTES / SECTOR - 2048;
const MAKE_TIMEOUT: Duration = Duration::from_secs(1500);
const PREPARE_TIMEOUT: Duration = Duration::from_secs(600);

/// The disk of this recipe, made now when it is not there yet.
pub(super) fn base(model: Model, supply: Supply, cache: &Path, progress: &Progress) -> Outcome<PathBuf> {
    let disk = cache.join(format!("{model}{}-{}.raw", supply.suffix(), recipe::key(model, supply)));
    if disk.exists() {
        progress.say(&format!("disk from {}", disk.display()));
        return Ok(disk);
    }
    let work = cache.join(format!("making-{model}{}", supply.suffix()));
    remove(&work)?;
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    remove_outdated(model, supply, cache);
    let root = work.join("root");
    let unfinished = work.join("disk.raw");
    progress.say("mmdebstrap: Debian 12 from its packages");
    install_packages(model, supply, &work, progress)?;
    progress.say("files of this machine, partition table, file system");
    add_files(model, &root).map_err(|error| format!("{}: {error}", root.display()))?;
    match model.loader() {
        Loader::Grub => make_mbr_disk(&root, &unfinished, progress)?,
        Loader::SystemdBoot => make_gpt_disk(&root, &unfinished, progress)?,
    }
    progress.say("first start, kernel given from outside: the boot loader is installed");
    install_loader(model, &work, progress)?;
    keep_kernel(&root, &disk)?;
    fs::rename(&unfinished, &disk).map_err(|error| format!("{}: {error}", disk.display()))?;
    remove(&work)?;
    progress.say(&format!("disk made: {}", disk.display()));
    Ok(disk)
}

/// Kernel and initramfs of a disk, for a start that leaves the boot loader out.
pub(super) fn kernel_of(disk: &Path) -> (PathBuf, PathBuf) {
    (disk.with_extension("vmlinuz"), disk.with_extension("initrd"))
}

/// Start and size in bytes of the root's partition, and of the EFI system partition where there is one.
pub(super) fn partitions(model: Model) -> [Option<(u64, u64)>; 2] {
    let first = FIRST_SECTOR * SECTOR;
    match model.loader() {
        Loader::Grub => [Some((first, DISK_BYTES - first)), None],
        Loader::SystemdBoot => [Some((first + ESP_BYTES, END_SECTOR * SECTOR - first - ESP_BYTES)), Some((first, ESP_BYTES))],
    }
}

fn keep_kernel(root: &Path, disk: &Path) -> Outcome<()> {
    let (kernel, initrd) = kernel_of(disk);
    for (prefix, to) in [("vmlinuz-", kernel), ("initrd.img-", initrd)] {
        fs::copy(newest(&root.join("boot"), prefix)?, &to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

/// Disks of former recipes only take room.
fn remove_outdated(model: Model, supply: Supply, cache: &Path) {
    let prefix = format!("{model}{}-", supply.suffix());
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn install_packages(model: Model, supply: Supply, work: &Path, progress: &Progress) -> Outcome<()> {
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--variant=minbase", "--format=directory"])
        .arg(format!("--include={}", model.packages()))
        .args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\""])
        // A mirror that was not updated for a while is good enough for a test.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .args(recipe::dpkg_options(model, supply).iter().map(|option| format!("--dpkgopt={option}")))
        .arg("bookworm")
        .arg(work.join("root"))
        .args(model.sources());
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

fn add_files(model: Model, root: &Path) -> std::io::Result<()> {
    for extra in recipe::extras(model) {
        let path = root.join(extra.path);
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(&path, extra.text)?;
        fs::set_permissions(&path, Permissions::from_mode(extra.mode))?;
    }
    let wants = root.join("usr/lib/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    symlink("../agent.service", wants.join("agent.service"))?;
    if model.loader() == Loader::SystemdBoot {
        return fs::create_dir_all(root.join("boot/efi"));
    }
    let grub = root.join("etc/default/grub");
    let shipped = fs::read_to_string(&grub)?;
    fs::write(&grub, recipe::default_grub(model, &shipped))
}

/// A disk with one bootable partition (MBR, type 83).
fn make_mbr_disk(root: &Path, disk: &Path, progress: &Progress) -> Outcome<()> {
    make_empty(disk, &partition_table(DISK_BYTES / SECTOR))?;
    make_root(root, disk, FIRST_SECTOR, DISK_BYTES / SECTOR, progress)
}

/// A disk with an EFI system partition and a root partition (GPT).
fn make_gpt_disk(root: &Path, disk: &Path, progress: &Progress) -> Outcome<()> {
    let root_sector = FIRST_SECTOR + ESP_BYTES / SECTOR;
    let table = disk.with_extension("sfdisk");
    let text = format!(
        "label: gpt\nstart={FIRST_SECTOR}, size={}, type=U\nstart={root_sector}, size={}, type=L\n",
        ESP_BYTES / SECTOR,
        END_SECTOR - root_sector
    );
    fs::write(&table, text).map_err(|error| format!("{}: {error}", table.display()))?;
    make_empty(disk, &[])?;
    let mut command = tool("sh");
    command.args(["-c", "exec sfdisk -q \"$1\" <\"$2\"", "sh"]).args([disk, &table]);
    run_tool(command, &disk.with_extension("sfdisk.log"), progress)?;
    let mut command = tool("mkfs.fat");
    command.args(["-F", "32", "-i", ESP_NUMBER, "--offset", &FIRST_SECTOR.to_string()]).arg(disk).arg((ESP_BYTES / 1024).to_string());
    run_tool(command, &disk.with_extension("mkfs.fat.log"), progress)?;
    make_root(root, disk, root_sector, END_SECTOR, progress)
}

fn make_empty(disk: &Path, first: &[u8]) -> Outcome<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(disk)?;
        file.write_all(first)?;
        file.set_len(DISK_BYTES)
    };
    write().map_err(|error| format!("{}: {error}", disk.display()))
}

/// A program that may be in sbin, which is not on everyone's path.
fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
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

fn make_root(root: &Path, disk: &Path, first: u64, end: u64, progress: &Progress) -> Outcome<()> {
    let offset = first * SECTOR;
    let mut command = tool("mke2fs");
    command
        .args(["-q", "-t", "ext4", "-U", ROOT_UUID])
        // Newer e2fsprogs turn these on; Debian 12's GRUB does not know them.
        .args(["-O", "^metadata_csum_seed,^orphan_file"])
        .args(["-E", &format!("offset={offset}"), "-d"])
        .args([root, disk])
        .arg(format!("{}k", (end - first) * SECTOR / 1024));
    run_tool(command, &disk.with_extension("mke2fs.log"), progress)
}

fn install_loader(model: Model, work: &Path, progress: &Progress) -> Outcome<()> {
    let boot = work.join("root/boot");
    let console = work.join("console.log");
    let append = format!(
        "root={} ro console=ttyS0 norandmaps panic=-1 init=/usr/lib/agent/prepare.sh -- {}",
        model.root_device(),
        model.left_over()
    );
    let mut qemu = Qemu::new(model, &console);
    qemu.disk(&work.join("disk.raw"), "raw", "unsafe");
    qemu.add("-no-reboot");
    qemu.kernel(&newest(&boot, "vmlinuz-")?, &newest(&boot, "initrd.img-")?, &append);
    let mut child = qemu.start(&work.join("qemu.log"))?;
    let ended = child.wait(PREPARE_TIMEOUT, || progress.still("the boot loader is installed"))?;
    drop(child);
    let talk = fs::read_to_string(&console).unwrap_or_default();
    match ended.is_some_and(|status| status.success()) && talk.contains("PREPARED") {
        true => Ok(()),
        false => Err(format!("the boot loader was not installed\n{}", qemu::tail(&console))),
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
