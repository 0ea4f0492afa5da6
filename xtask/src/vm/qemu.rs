//! The command line of the emulator, and a process that cannot outlive its owner.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::recipe::Model;

const POLL: Duration = Duration::from_millis(200);

/// UEFI for a flash memory of 4 MiB, without secure boot, and its empty store of variables.
pub(super) const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
pub(super) const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// A child that is killed when this value goes.
pub(super) struct Killed(pub(super) Child);

impl Killed {
    /// Waits for the end; `None` when `limit` passed. `tick` is called while waiting.
    pub(super) fn wait(&mut self, limit: Duration, tick: impl Fn()) -> Outcome<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.0.try_wait().map_err(|error| error.to_string())?;
            if status.is_some() || start.elapsed() > limit {
                return Ok(status);
            }
            tick();
            thread::sleep(POLL);
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine: q35, split interrupt controller, an IOMMU, and one root port with a card of two
/// functions (display 1234:1111 and audio 8086:293e) behind it.
pub(super) struct Qemu {
    arguments: Vec<OsString>,
}

impl Qemu {
    /// The machine without a disk; its serial console goes to `console`.
    pub(super) fn new(model: Model, console: &Path) -> Self {
        let iommu = match model {
            Model::Intel | Model::Efi => "intel-iommu,intremap=on,caching-mode=on",
            Model::Amd => "amd-iommu,intremap=on",
        };
        let mut qemu = Self { arguments: vec![] };
        qemu.add("-machine q35,kernel-irqchip=split -accel tcg,thread=multi -cpu qemu64 -smp 1 -m 1024");
        qemu.add("-nodefaults -no-user-config -display none -vga none -nic none");
        // Before all other devices: they look for it when they are made.
        qemu.add(&format!("-device {iommu}"));
        qemu.add("-device pcie-root-port,id=port0,chassis=1,slot=1");
        qemu.add("-device secondary-vga,bus=port0,addr=0.0,multifunction=on");
        qemu.add("-device ich9-intel-hda,bus=port0,addr=0.1,id=hda");
        qemu.add("-audiodev none,id=silence -device hda-output,bus=hda.0,audiodev=silence");
        // A display that stays: the last one is not given away.
        qemu.add(match model.has_twin() {
            true => "-device pcie-root-port,id=port1,chassis=2,slot=2 -device secondary-vga,bus=port1,addr=0.0",
            false => "-device cirrus-vga",
        });
        qemu.add("-serial chardev:console -chardev");
        qemu.path("file,id=console,path=", console);
        qemu
    }

    /// UEFI instead of BIOS; its variables are kept in `variables`, a copy of [`VARIABLES`].
    pub(super) fn firmware(&mut self, variables: &Path) {
        self.add("-drive");
        self.path("if=pflash,unit=0,format=raw,readonly=on,file=", Path::new(FIRMWARE));
        self.add("-drive");
        self.path("if=pflash,unit=1,format=raw,file=", variables);
    }

    /// The disk to start from, as `/dev/vda`. With the cache `unsafe` it need not survive a crash of the host.
    pub(super) fn disk(&mut self, path: &Path, format: &str, cache: &str) {
        self.drive(&format!("id=disk,format={format},cache={cache}"), path);
        self.add("-device virtio-blk-pci,drive=disk,bootindex=1");
    }

    /// As [`Self::disk`], with every request kept in a log, too.
    pub(super) fn logged_disk(&mut self, path: &Path, log: &Path) {
        let file = |path: &Path| path.to_string_lossy().replace(',', ",,");
        self.add("-drive");
        self.arguments.push(
            format!(
                "if=none,id=disk,cache=writeback,driver=blklogwrites,file.driver=qcow2,file.file.driver=file,file.file.filename={},log.driver=file,log.filename={}",
                file(path),
                file(log)
            )
            .into(),
        );
        self.add("-device virtio-blk-pci,drive=disk,bootindex=1");
    }

    /// A file that the machine sees as the read-only disk `/dev/vdb`.
    pub(super) fn upload(&mut self, path: &Path) {
        self.drive("id=upload,format=raw,read-only=on", path);
        self.add("-device virtio-blk-pci,drive=upload");
    }

    /// The port of the agent, at the socket where the harness listens.
    pub(super) fn agent(&mut self, socket: &Path) {
        self.add("-device virtio-serial-pci -device virtserialport,chardev=agent,name=agent -chardev");
        self.path("socket,id=agent,path=", socket);
    }

    /// Start this kernel instead of what is on the disk.
    pub(super) fn kernel(&mut self, kernel: &Path, initrd: &Path, append: &str) {
        self.add("-kernel");
        self.path("", kernel);
        self.add("-initrd");
        self.path("", initrd);
        self.add("-append");
        self.arguments.push(append.into());
    }

    /// Starts it; what QEMU itself has to say goes to `log`.
    pub(super) fn start(&self, log: &Path) -> Outcome<Killed> {
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let copy = file.try_clone().map_err(|error| error.to_string())?;
        // setpriv: the machine ends with the harness, however that ends.
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .spawn()
            .map(Killed)
            .map_err(|error| format!("qemu-system-x86_64: {error}"))
    }

    pub(super) fn drive(&mut self, options: &str, path: &Path) {
        self.add("-drive");
        self.path(&format!("if=none,{options},file="), path);
    }

    pub(super) fn add(&mut self, words: &str) {
        self.arguments.extend(words.split_ascii_whitespace().map(OsString::from));
    }

    /// A comma in a path is doubled for QEMU only inside option lists.
    fn path(&mut self, options: &str, path: &Path) {
        let path = path.to_string_lossy();
        self.arguments.push(match options {
            "" => path.into_owned().into(),
            _ => format!("{options}{}", path.replace(',', ",,")).into(),
        });
    }
}

/// The end of a log, for a message.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 40;
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    format!("end of {}:\n    {}", log.display(), last.join("\n    "))
}
