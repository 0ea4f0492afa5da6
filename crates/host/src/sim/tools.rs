//! The tools of the simulated host: initramfs generators in the manner of mkinitcpio and of initramfs-tools, and a menu generator in the
//! manner of grub-mkconfig.

use super::sysfs;
use cede_model::initramfs_image::newc::{NewcEntry, with_parents, write_newc};
use cede_model::kernel::{Kernel, module_name};
use cede_model::{Capture, Entry};
use cede_plan::bootloader::entries::GRUB_CFG;
use cede_plan::edit::shell::{Dialect, Environment, Evaluation, Sourcing};
use cede_plan::initramfs::mkinitcpio::PRESETS;

/// How the generated menu honours a choice for one start.
const ONCE: &str = "### BEGIN /etc/grub.d/00_header ###\nif [ -s $prefix/grubenv ]; then\n  load_env\nfi\nif [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\n   set next_entry=\n   save_env next_entry\n   set boot_once=true\nelse\n   set default=\"0\"\nfi\n### END /etc/grub.d/00_header ###\n";

/// How it reads entries that are not generated.
const CUSTOM: &str = "### BEGIN /etc/grub.d/41_custom ###\nif [ -f  ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n### END /etc/grub.d/41_custom ###\n";

/// Runs a tool on a host in memory: `None` where there is no such tool, else whether it succeeded.
pub fn run(state: &mut Capture, argv: &[&str], print: &mut dyn FnMut(&str)) -> Option<bool> {
    match argv {
        ["/usr/bin/mkinitcpio", "-P"] => Some(make_images(state, print)),
        ["/usr/bin/mkinitcpio", "-p", preset] => Some(make_preset(state, &Config::read(state), preset, print)),
        ["/usr/bin/mkinitcpio", "-k", release, "-c", config, "-g", image] => Some(make_image(state, (release, config, image), print)),
        [MKINITRAMFS, "-o", image, release] => run(state, &[MKINITRAMFS, "-d", "/etc/initramfs-tools", "-o", image, release], print),
        [MKINITRAMFS, "-d", directory, "-o", image, release] => {
            let kernel = Kernel::installed(state).into_iter().find(|kernel| kernel.release == *release)?;
            Some(mkinitramfs(state, directory, &kernel, image))
        }
        // What Debian's hooks call is switched off (`KERNEL_INSTALL_BYPASS`).
        ["/usr/bin/run-parts", ..] => Some(true),
        ["/usr/sbin/update-initramfs", "-u", "-k", "all"] => Some(update_initramfs(state, print)),
        ["/usr/bin/grub-mkconfig" | "/usr/sbin/grub-mkconfig", "-o", path] => Some(make_menu(state, path, print)),
        ["/sbin/modprobe", "--", module] => Some(sysfs::load(state, module)),
        ["/usr/sbin/update-grub"] => Some(make_menu(state, GRUB_CFG, print)),
        _ => None,
    }
}

/// Everything that a host's own tools make, as after an installation.
pub(super) fn make_all(state: &mut Capture) {
    let mut quiet = |_: &str| {};
    if state.file("/etc/initramfs-tools/modules").is_some() {
        update_initramfs(state, &mut quiet);
    } else {
        make_images(state, &mut quiet);
    }
    if state.file("/etc/default/grub").is_some() {
        make_menu(state, GRUB_CFG, &mut quiet);
    }
}

/// Makes the image of every kernel in the manner of initramfs-tools.
fn update_initramfs(state: &mut Capture, print: &mut dyn FnMut(&str)) -> bool {
    let mut make = |state: &mut Capture, kernel: Kernel| {
        let image = format!("/boot/initrd.img-{}", kernel.release);
        print(&format!("update-initramfs: Generating {image}"));
        mkinitramfs(state, "/etc/initramfs-tools", &kernel, &image)
    };
    Kernel::installed(state).into_iter().all(|kernel| make(state, kernel))
}

/// Makes one image by the settings of a directory: the listed modules in `conf/modules`, and all of `/etc/modprobe.d`.
fn mkinitramfs(state: &mut Capture, directory: &str, kernel: &Kernel, image: &str) -> bool {
    let text = String::from_utf8_lossy(state.file(&format!("{directory}/modules")).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    let names = lines.iter().filter_map(|line| line.split_whitespace().next());
    let wanted: Vec<&str> = names.chain(["i915", "nouveau"]).collect();
    let mut entries = vec![NewcEntry::file("conf/modules", lines.iter().map(|line| format!("{line}\n")).collect::<String>())];
    let found = wanted.iter().filter_map(|name| module_path(state, kernel, name));
    entries.extend(found.map(|path| NewcEntry::file(&format!("{IMAGE_MODULES}/{}/{path}", kernel.release), "module")));
    let conf: Vec<String> = state.names_in(MODPROBE).map(|name| format!("{MODPROBE}/{name}")).collect();
    entries.extend(conf.iter().filter_map(|path| Some(NewcEntry::file(path.trim_start_matches('/'), state.file(path)?))));
    match write_newc(&with_parents(entries)) {
        Ok(bytes) => state.insert(image, Entry::File(bytes)),
        Err(_) => return false,
    }
    true
}

const MKINITRAMFS: &str = "/usr/sbin/mkinitramfs";
const MODPROBE: &str = "/etc/modprobe.d";
const IMAGE_MODULES: &str = "usr/lib/modules";

/// Makes the image of every preset. False where a module is missing; the image is made all the same, as mkinitcpio does.
pub(super) fn make_images(state: &mut Capture, print: &mut dyn FnMut(&str)) -> bool {
    let config = Config::read(state);
    let presets: Vec<String> =
        state.names_in(PRESETS).filter(|name| name.ends_with(".preset")).map(|name| format!("{PRESETS}/{name}")).collect();
    let mut success = true;
    for preset in presets {
        success &= make_preset(state, &config, &preset, print);
    }
    success
}

/// Makes the images of one preset, given by its path.
fn make_preset(state: &mut Capture, config: &Config, preset: &str, print: &mut dyn FnMut(&str)) -> bool {
    let files = sourced(state, preset);
    let environment = Environment::source(&files.iter().map(Vec::as_slice).collect::<Vec<_>>(), Sourcing::Each, Dialect::Bash);
    let mut success = true;
    for name in array(&environment, "PRESETS") {
        let Some(path) = array(&environment, &format!("{name}_image")).into_iter().next() else { continue };
        let Some(kernel) = Kernel::installed(state).into_iter().next_back() else { continue };
        success &= write_image(state, config, &kernel, &path, print);
    }
    success
}

/// The files that a file sources by `.`, and its own lines after them.
fn sourced(state: &Capture, path: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(state.file(path).unwrap_or_default()).into_owned();
    let named = |line: &str| line.strip_prefix(". ").map(|rest| rest.trim_end_matches(" || return").trim_matches('\'').to_owned());
    let own: Vec<&str> = text.lines().filter(|line| named(line).is_none()).collect();
    let others = text.lines().filter_map(named).map(|path| state.file(&path).unwrap_or_default().to_vec());
    others.chain([own.join("\n").into_bytes()]).collect()
}

/// Makes one image, of a release, by a configuration, at a path.
pub(super) fn make_image(state: &mut Capture, (release, config, path): (&str, &str, &str), print: &mut dyn FnMut(&str)) -> bool {
    let Some(kernel) = Kernel::installed(state).into_iter().find(|kernel| kernel.release == release) else {
        print(&format!("==> ERROR: '/lib/modules/{release}' is not a valid kernel module directory"));
        return false;
    };
    let files = sourced(state, config);
    let config = Config::of(&files.iter().map(Vec::as_slice).collect::<Vec<_>>());
    write_image(state, &config, &kernel, path, print)
}

fn write_image(state: &mut Capture, config: &Config, kernel: &Kernel, path: &str, print: &mut dyn FnMut(&str)) -> bool {
    let (entries, missing) = config.entries(state, kernel);
    for module in &missing {
        print(&format!("==> ERROR: module not found: '{module}'"));
    }
    let count = entries.len();
    print(&format!("{path}: {count} files for {}", kernel.release));
    match write_newc(&with_parents(entries)) {
        Ok(bytes) => state.insert(path, Entry::File(bytes)),
        Err(error) => {
            print(&format!("{path}: {error}"));
            return false;
        }
    }
    missing.is_empty()
}

/// What mkinitcpio's configuration says, main file and drop-ins glued together.
struct Config {
    modules: Vec<String>,
    hooks: Vec<String>,
    files: Vec<String>,
}

impl Config {
    fn read(state: &Capture) -> Self {
        let drop_ins = state.names_in("/etc/mkinitcpio.conf.d").map(|name| format!("/etc/mkinitcpio.conf.d/{name}"));
        let paths: Vec<String> = std::iter::once("/etc/mkinitcpio.conf".to_owned()).chain(drop_ins).collect();
        let files: Vec<&[u8]> = paths.iter().map(|path| state.file(path).unwrap_or_default()).collect();
        Self::of(&files)
    }

    fn of(files: &[&[u8]]) -> Self {
        let environment = Environment::source(files, Sourcing::Concatenated, Dialect::Bash);
        Self { modules: array(&environment, "MODULES"), hooks: array(&environment, "HOOKS"), files: array(&environment, "FILES") }
    }

    fn has(&self, hook: &str) -> bool {
        self.hooks.iter().any(|name| name == hook)
    }

    /// The files of the image, and the listed modules that the kernel does not have.
    fn entries(&self, state: &Capture, kernel: &Kernel) -> (Vec<NewcEntry>, Vec<String>) {
        let mut entries = Vec::new();
        let mut missing = Vec::new();
        let displays: &[&str] = if self.has("kms") { &["i915", "nouveau"] } else { &[] };
        let listed = self.modules.iter().map(|name| (name.trim_end_matches('?'), !name.ends_with('?')));
        for (name, needed) in listed.chain(displays.iter().map(|name| (*name, false))) {
            match module_path(state, kernel, name) {
                Some(path) => entries.push(NewcEntry::file(&format!("{IMAGE_MODULES}/{}/{path}", kernel.release), "module")),
                None if needed => missing.push(name.to_owned()),
                None => {}
            }
        }
        let conf: Vec<String> =
            if self.has("modconf") { state.names_in(MODPROBE).map(|name| format!("{MODPROBE}/{name}")).collect() } else { Vec::new() };
        for path in conf.iter().chain(&self.files) {
            entries.extend(state.file(path).map(|bytes| NewcEntry::file(path.trim_start_matches('/'), bytes)));
        }
        let names: Vec<&str> =
            self.modules.iter().map(|name| name.trim_end_matches('?')).filter(|name| !missing.iter().any(|m| m == name)).collect();
        entries.push(NewcEntry::file("config", format!("MODULES=\"{}\"\n", names.join(" "))));
        (entries, missing)
    }
}

fn module_path(state: &Capture, kernel: &Kernel, module: &str) -> Option<String> {
    let dep = String::from_utf8_lossy(state.file(&format!("{}/modules.dep", kernel.modules_dir))?).into_owned();
    let wanted = module_name(module);
    dep.lines()
        .filter_map(|line| line.split(':').next())
        .find(|path| cede_model::kernel::installed::module_of_path(path).as_ref() == Some(&wanted))
        .map(str::to_owned)
}

/// Makes GRUB's menu at a path: one entry for each kernel image in /boot.
pub(super) fn make_menu(state: &mut Capture, path: &str, print: &mut dyn FnMut(&str)) -> bool {
    let drop_ins = state.names_in("/etc/default/grub.d").map(|name| format!("/etc/default/grub.d/{name}"));
    let paths: Vec<String> = std::iter::once("/etc/default/grub".to_owned()).chain(drop_ins).collect();
    let files: Vec<&[u8]> = paths.iter().map(|path| state.file(path).unwrap_or_default()).collect();
    let environment = Environment::source(&files, Sourcing::Each, Dialect::Bash);
    let words = ["GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"].map(|name| match environment.get(name) {
        Evaluation::Scalar(text) => String::from_utf8_lossy(&text.bytes().unwrap_or_default()).into_owned(),
        _ => String::new(),
    });
    let kernels: Vec<String> = state.names_in("/boot").filter_map(|name| name.strip_prefix("vmlinuz-")).map(str::to_owned).collect();
    let mut menu = format!("{ONCE}### BEGIN /etc/grub.d/10_linux ###\n");
    for kernel in &kernels {
        let image = format!("initrd.img-{kernel}");
        let image = if state.exists(&format!("/boot/{image}")) { image } else { format!("initramfs-{kernel}.img") };
        print(&format!("found /boot/vmlinuz-{kernel} and /boot/{image}"));
        menu.push_str(&format!(
            "menuentry 'Arch Linux' --class arch $menuentry_id_option 'gnulinux-simple-{kernel}' {{\n\tlinux /vmlinuz-{kernel} root=/dev/nvme0n1p2 rw {}\n\tinitrd /{image}\n}}\n",
            words.join(" ").trim()
        ));
    }
    menu.push_str("### END /etc/grub.d/10_linux ###\n");
    menu.push_str(CUSTOM);
    state.insert(path, Entry::File(menu.into_bytes()));
    true
}

fn array(environment: &Environment, name: &str) -> Vec<String> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    match environment.get(name) {
        Evaluation::Array(list) => {
            list.iter().flat_map(|item| text(item.bytes()).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
        }
        Evaluation::Scalar(item) => text(item.bytes()).split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
