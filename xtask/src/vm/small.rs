//! A machine of nothing but Debian's kernel, busybox, `cede` and QEMU: it has no disk, starts in seconds, runs one script and powers off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Outcome;
use super::progress::Progress;
use super::qemu::{self, Killed};
use super::recipe;

pub(super) mod iommufd;

const LIMIT: Duration = Duration::from_secs(1800);

/// Modules, and what they depend on, lie below these.
const MODULES: [&str; 10] = [
    "kernel/drivers/vfio",
    "kernel/virt/lib",
    "kernel/drivers/net/ethernet/intel/e1000e",
    "kernel/drivers/nvme/host",
    "kernel/drivers/ptp",
    "kernel/drivers/pps",
    "kernel/lib",
    "kernel/block",
    "kernel/fs/ext4",
    "kernel/fs/jbd2",
];

/// More such, by the beginnings of their names: the checksums that nvme and ext4 use, and the cache of ext4.
const NAMES: [&str; 2] = ["kernel/crypto/crc*", "kernel/fs/mbcache*"];

/// QEMU inside the machine, and what its firmware-only guest needs.
const EMULATOR: &str = "/usr/bin/qemu-system-x86_64";
const FIRMWARE: [&str; 2] = ["/usr/share/seabios", "/usr/share/qemu"];

/// A kernel with modules, and busybox.
pub(super) struct Parts {
    dir: PathBuf,
}

impl Parts {
    /// From the cache, or from Debian's archive.
    pub(super) fn fetch(cache: &Path, progress: &Progress) -> Outcome<Self> {
        let package = kernel_package()?;
        let patterns = MODULES.iter().chain(&NAMES).map(|part| format!("./lib/modules/*/{part}")).collect::<Vec<_>>();
        let dir = cache.join(format!("small-{package}-{:016x}", recipe::fnv1a(patterns.concat().as_bytes())));
        if dir.join("busybox").exists() {
            return Ok(Self { dir });
        }
        progress.say(&format!("{package} and busybox from the archive"));
        let work = cache.join("making-small");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let script = r#"set -e
            package=$1
            shift
            apt-get download -qq "$package" busybox-static
            dpkg-deb --fsys-tarfile busybox-static_*.deb | tar x ./bin/busybox
            dpkg-deb --fsys-tarfile "$package"_*.deb | tar x --wildcards './boot/vmlinuz-*' './lib/modules/*/modules.*' "$@"
            rm ./*.deb
            mv boot/vmlinuz-* vmlinuz
            depmod -b . "${package#linux-image-}"
            mv bin/busybox busybox"#;
        run(Command::new("bash").args(["-c", script, "bash", &package]).args(patterns).current_dir(&work))?;
        fs::rename(&work, &dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The kernel.
    pub(super) fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// Packs everything with a script into an initramfs.
    pub(super) fn initramfs(&self, cede: &Path, story: &str, work: &Path) -> Outcome<PathBuf> {
        let root = work.join("root");
        for part in ["bin", "dev", "proc", "sys", "tmp", "etc", "sbin", "usr/bin", "usr/share"] {
            fs::create_dir_all(root.join(part)).map_err(|error| format!("{}: {error}", root.display()))?;
        }
        let write = |path: &str, text: &str| fs::write(root.join(path), text).map_err(|error| format!("{path}: {error}"));
        write("init", include_str!("small/init.sh"))?;
        write("story.sh", story)?;
        write("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
        write("etc/os-release", "ID=debian\n")?;
        let script = r#"set -e
            cp "$1/busybox" bin/busybox
            cp -r "$1/lib" .
            ln -s /bin/busybox sbin/modprobe
            cp "$2" bin/cede
            emulation=$(find /usr/lib/*/qemu -name 'accel-tcg-x86_64.so')
            for program in "$3" $emulation; do cp --parents "$program" .; done
            for program in "$2" "$3" $emulation; do ldd "$program" | grep -o '/[^ ]*' || true; done | sort -u | while read -r library; do
                cp -L --parents "$library" .
            done
            for directory in $4; do cp -rL --parents "$directory" . 2>/dev/null || true; done
            chmod 755 init
            find . | cpio -o -H newc --quiet >../initramfs.cpio"#;
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash"]).args([&self.dir, cede]).args([EMULATOR, &FIRMWARE.join(" ")]);
        run(command.current_dir(&root))?;
        Ok(work.join("initramfs.cpio"))
    }
}

/// The files of packages, programs with their libraries, and directories, in what becomes a machine's root. A program that no package of these
/// has is the host's.
pub(super) fn install(root: &Path, packages: &[&str], programs: &[&str], directories: &[&str]) -> Outcome<()> {
    fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let script = r#"programs=$1
        directories=$2
        shift 2
        mkdir ../packages
        (cd ../packages && apt-get -q download "$@" >&2)
        for package in ../packages/*.deb; do dpkg -x "$package" .; done
        # The machine's own directories are no links.
        for program in $programs; do
            [ -e ".$program" ] || cp -L --parents "$program" .
            ldd ".$program" | grep -o '/[^ ]*' | while read -r library; do cp -L --parents "$library" .; done
        done
        for directory in $directories; do cp -rL --parents "$directory" .; done"#;
    let mut command = Command::new("bash");
    command.args(["-ec", script, "bash", &programs.join(" "), &directories.join(" ")]).args(packages);
    run(command.current_dir(root))
}

/// The kernel that `linux-image-amd64` stands for.
fn kernel_package() -> Outcome<String> {
    let output =
        Command::new("apt-cache").args(["depends", "linux-image-amd64"]).output().map_err(|error| format!("apt-cache: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    name.map(str::to_owned).ok_or_else(|| "apt-cache knows no linux-image-amd64: run `apt-get update`".to_owned())
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{:?}: {}\n{}", command.get_program(), output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// What a command in the machine said, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) name: String,
    pub(super) said: String,
    pub(super) code: i32,
}

/// What a machine is started from.
pub(super) struct Machine<'a> {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// Options of QEMU.
    pub(super) devices: String,
    /// Where its logs are kept.
    pub(super) work: &'a Path,
}

/// Starts a machine and waits for its end; what was tried in it.
/// `no_timer_check`: on a busy host the emulated timer now and then looks broken, and the kernel panics.
pub(super) fn start(machine: &Machine<'_>, progress: &Progress) -> Outcome<Vec<Try>> {
    let Machine { kernel, initramfs, devices, work } = machine;
    let console = work.join("console.log");
    let log = File::create(work.join("qemu.log")).map_err(|error| error.to_string())?;
    let copy = log.try_clone().map_err(|error| error.to_string())?;
    let start = Instant::now();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args("-machine q35,kernel-irqchip=split -accel tcg,thread=multi -cpu qemu64 -smp 1 -m 1024 -no-reboot".split(' '))
        .args("-nodefaults -no-user-config -display none -vga none -nic none".split(' '))
        .args(devices.split_ascii_whitespace())
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1 norandmaps no_timer_check intel_iommu=on"])
        .args(["-serial", &format!("file:{}", console.display())])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .map_err(|error| format!("qemu-system-x86_64: {error}"))?;
    let ended = Killed(child).wait(LIMIT, || progress.still("the small machine"))?;
    let text = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).replace('\r', "");
    if ended.is_none() || !text.contains("@@OVER") {
        return Err(format!("the small machine did not come to its end\n{}\n{}", qemu::tail(&console), qemu::tail(&work.join("qemu.log"))));
    }
    progress.say(&format!("the small machine ran for {:.0} s", start.elapsed().as_secs_f64()));
    Ok(tries(&text))
}

/// Reads the marks of `init.sh`.
fn tries(text: &str) -> Vec<Try> {
    let one = |part: &str| {
        let (name, rest) = part.split_once('\n')?;
        let (said, rest) = rest.split_once(&format!("\n@@END {name} "))?;
        let code = rest.lines().next()?.trim().parse().ok()?;
        Some(Try { name: name.to_owned(), said: said.to_owned(), code })
    };
    text.split("@@BEGIN ").skip(1).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_torn_ones_left_out() {
        let text = "noise\n@@BEGIN one\na\nb\n\n@@END one 3\n@@BEGIN two\n\n@@END two 0\n@@BEGIN three\nx";
        let list = tries(text);
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].name.as_str(), list[0].said.as_str(), list[0].code), ("one", "a\nb\n", 3));
        assert_eq!((list[1].said.as_str(), list[1].code), ("", 0));
    }
}
