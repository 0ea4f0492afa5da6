//! What the output of a failed regenerator means.

/// A cause that is known by its message, with what to do.
pub fn explain(output: &str) -> Option<String> {
    let line = |pattern: &str| output.lines().find(|line| line.contains(pattern)).map(str::trim);
    if let Some(found) = line("No space left on device") {
        return Some(format!("the disk is full (`{found}`): make room, on /boot first: `df -h /boot`"));
    }
    if let Some(found) = line("ERROR: module not found") {
        return Some(format!(
            "{found}: a module is listed in MODULES that the kernel does not have; take it out of /etc/mkinitcpio.conf or end its name with `?`"
        ));
    }
    if let Some(found) = line("Read-only file system") {
        return Some(format!("`{found}`: mount it writable: `findmnt -T /boot`"));
    }
    if line("Syntax errors are detected").is_some() || line("syntax error").is_some() {
        return Some("GRUB refused the menu that was made: a script in /etc/grub.d prints something wrong".to_owned());
    }
    // debianutils 5.7 `run-parts.c`, `run_part`.
    if let Some(found) = line("exited with return code").filter(|found| found.starts_with("run-parts: ")) {
        return Some(format!(
            "{found}: a hook that is run after each image failed; what it says stands before that: make it work, then try `sudo update-initramfs -u`"
        ));
    }
    line("command not found").or_else(|| line("not found")).map(|found| format!("a program is missing: `{found}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_messages_end_in_something_to_do() {
        for (output, wanted) in [
            ("==> ERROR: module not found: 'vfio_virqfd'\n", "end its name with `?`"),
            ("cp: error writing '/boot/x': No space left on device\n", "df -h /boot"),
            (
                "run-parts: /etc/initramfs/post-update.d//flash-kernel exited with return code 2\n",
                "d//flash-kernel exited with return code 2: a hook",
            ),
            ("x\n/usr/bin/mkinitcpio: line 3: zstd: command not found\n", "zstd"),
        ] {
            assert!(explain(output).unwrap().contains(wanted), "{output}");
        }
        assert_eq!(explain("all fine\n"), None);
    }
}
