//! A small kernel with VFIO's device nodes and iommufd, which no kernel of Debian 12 has. It takes about 15 minutes of a processor to build,
//! so it is built when it is asked for, and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, Progress, run};
use crate::vm::recipe;

/// What the kernel is built with.
const CONFIG: &str = include_str!("iommufd.config");

/// Debian's package of its source; another is another kernel.
const SOURCE: &str = "linux-source-6.12";

/// What a kernel is built by.
const TOOLS: [&str; 7] =
    ["/usr/bin/gcc", "/usr/bin/make", "/usr/bin/flex", "/usr/bin/bison", "/usr/bin/bc", "/usr/bin/perl", "/usr/include/libelf.h"];
const PACKAGES: &str = "gcc make flex bison bc perl libelf-dev";

/// Where it is kept: another source or configuration is another file.
pub(in crate::vm) fn image(cache: &Path) -> PathBuf {
    cache.join(format!("{SOURCE}-iommufd-{:016x}.bzImage", recipe::fnv1a(CONFIG.as_bytes())))
}

/// Builds it where it is not there yet.
pub(in crate::vm) fn build(cache: &Path, progress: &Progress) -> Outcome<()> {
    let image = image(cache);
    if image.exists() {
        return Ok(());
    }
    if let Some(missing) = TOOLS.iter().find(|path| !Path::new(path).exists()) {
        return Err(format!("{missing} is missing; as root: apt-get install --no-install-recommends {PACKAGES}"));
    }
    let work = cache.join("making-iommufd");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    fs::write(work.join("config"), CONFIG).map_err(|error| format!("{}: {error}", work.display()))?;
    progress
        .say(&format!("building {SOURCE} with VFIO's device nodes and iommufd: about 15 minutes of a processor, and 3 GB for the time"));
    let script = r#"set -e
        apt-get download -qq "$1"
        dpkg-deb --fsys-tarfile "$1"_*.deb | tar xO "./usr/src/$1.tar.xz" | tar xJ
        rm ./*.deb
        cp config "$1/.config"
        make -C "$1" olddefconfig >build.log
        for option in VFIO_DEVICE_CDEV VFIO_CONTAINER IOMMUFD INTEL_IOMMU AMD_IOMMU; do grep -q "^CONFIG_$option=y" "$1/.config"; done
        nice make -C "$1" -j"$(nproc)" bzImage >>build.log
        cp "$1/arch/x86/boot/bzImage" image"#;
    run(Command::new("bash").args(["-c", script, "bash", SOURCE]).current_dir(&work))?;
    fs::rename(work.join("image"), &image).map_err(|error| format!("{}: {error}", image.display()))?;
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))
}
