//! `cede bind` through the binary, below a made-up `/sys` in a mount namespace of its own: a write that hangs, a run that is killed while it
//! does, a process that has a device open.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::process::{Command, Output};
use support::flat;

/// One card with a driver, in a group of its own. Files take what the kernel's attributes would; a FIFO without a reader hangs as a driver may.
const SYS: &str = r#"set -e
mount -t tmpfs none /sys
mkdir -p /var/lib/cede
mount -t tmpfs none /var/lib/cede
card=/sys/bus/pci/devices/0000:01:00.0
mkdir -p "$card" /sys/kernel/iommu_groups/1/devices /sys/class/iommu/dmar0 /sys/bus/pci/drivers/foo /sys/bus/pci/drivers/vfio-pci /sys/dev/char
printf 'DRIVER=foo\nPCI_CLASS=20000\nPCI_ID=8086:10D3\nPCI_SUBSYS_ID=8086:0001\nPCI_SLOT_NAME=0000:01:00.0\n' >"$card/uevent"
echo '(null)' >"$card/driver_override"
ln -s ../../../../kernel/iommu_groups/1 "$card/iommu_group"
ln -s "$card" /sys/kernel/iommu_groups/1/devices/0000:01:00.0
echo DMA >/sys/kernel/iommu_groups/1/type
touch /sys/bus/pci/drivers/foo/bind /sys/bus/pci/drivers/vfio-pci/bind /sys/bus/pci/drivers/vfio-pci/unbind
"#;

/// Runs a script below that `/sys`; nothing where there may be no such thing here.
fn run(script: &str) -> Option<Output> {
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = format!("{SYS}\nset +e\n{script}");
    let mut command = Command::new("unshare");
    Some(command.args(["-m", "sh", "-c", &script]).env("CEDE", env!("CARGO_BIN_EXE_cede")).output().unwrap())
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_write_that_hangs_is_given_up_and_all_goes_back() {
    let script = "mkfifo /sys/bus/pci/drivers/foo/unbind
        $CEDE bind 01:00.0 --yes --timeout 1; echo \"exit $?\"; cat /sys/bus/pci/devices/0000:01:00.0/driver_override
        $CEDE log; $CEDE bind 01:00.0 --yes --json --timeout 1; echo \"exit $?\"";
    let Some(output) = run(script) else { return };
    let (out, err) = texts(&output);
    assert!(out.contains("0000:01:00.0  8086:10d3  foo → vfio-pci"), "{out}{err}");
    let err = flat(&err);
    assert!(err.contains("`echo 0000:01:00.0 > /sys/bus/pci/drivers/foo/unbind`: the kernel did not answer within 1 s"), "{out}{err}");
    assert!(err.contains("everything was rolled back"), "{err}");
    let rest = out.split_once("exit 6\n").unwrap_or_else(|| panic!("{out}{err}")).1;
    assert!(rest.starts_with('\n'), "no override is left: {out}");
    assert!(rest.contains("bind") && rest.contains("rolled back"), "{out}");
    assert!(rest.contains("\"format\":\"cede.error/1\"") && rest.trim_end().ends_with("exit 6"), "{out}");
}

#[test]
fn a_run_that_is_killed_while_it_hangs_keeps_others_out_and_is_recovered() {
    let script = "mkfifo /sys/bus/pci/drivers/foo/unbind
        $CEDE bind 01:00.0 --yes >/dev/null 2>&1 & run=$!
        until grep -q '\"started\",\"step\":1' /var/lib/cede/operations/0001.jsonl 2>/dev/null; do sleep 0.1; done
        sleep 0.5; kill -KILL $run; wait $run
        $CEDE status | head -3; $CEDE bind 01:00.0 --yes; echo \"exit $?\"
        $CEDE recover; echo \"exit $?\"
        kill -KILL $($CEDE recover 2>&1 | sed -n 's/.*sudo kill \\([0-9]*\\).*/\\1/p')
        sleep 0.2; $CEDE recover; echo \"exit $?\"; cat /sys/bus/pci/devices/0000:01:00.0/driver_override";
    let Some(output) = run(script) else { return };
    let (out, err) = texts(&output);
    let parts: Vec<&str> = out.split("exit ").collect();
    assert!(parts[0].contains("operation 1 is neither done nor taken back"), "{out}{err}");
    assert!(parts[1].starts_with('4') && parts[2].starts_with('4'), "{out}{err}");
    assert!(err.contains("still at work: ") && err.contains("sudo kill "), "{err}");
    assert!(parts[2].contains("every function has the driver that it had before"), "{out}{err}");
    assert_eq!(parts[3].trim_end_matches('\n'), "0", "no override is left: {out}{err}");
}

#[test]
fn a_process_with_the_device_open_is_named_and_waited_for() {
    let script =
        "ln -s ../../devices/pci0000:00/0000:01:00.0/foo/full /sys/dev/char/1:7; mkdir -p /sys/devices/pci0000:00/0000:01:00.0/foo/full
        echo DEVNAME=full >/sys/devices/pci0000:00/0000:01:00.0/foo/full/uevent; touch /sys/bus/pci/drivers/foo/unbind
        sleep 100 </dev/full & pid=$!
        $CEDE bind 01:00.0 --yes; echo \"exit $? of $pid\"; $CEDE bind 01:00.0 --yes --json | tr ',' '\\n' | grep -A5 holders
        (sleep 1.5; kill $pid) & $CEDE bind 01:00.0 --dry-run --wait 20; echo \"exit $?\"";
    let Some(output) = run(script) else { return };
    let (out, err) = texts(&output);
    let pid = out.split_once("exit 4 of ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_else(|| panic!("{out}{err}"));
    let said = format!("0000:01:00.0 foo → /dev/full: open in sleep (pid {pid}): end it first");
    assert!(out.starts_with(&format!("refused: nothing was changed\n  {said}")), "{out}");
    assert!(out.contains("sudo cede bind 0000:01:00.0 --wait") && out.contains(&format!("\"pid\":{pid}")), "{out}");
    assert!(err.contains(&format!("waiting for 0000:01:00.0 foo → /dev/full: open in sleep (pid {pid})")), "{err}");
    assert!(out.trim_end().ends_with("exit 0") && out.contains("foo → vfio-pci"), "{out}");
}

/// A second card, in a slot of its own, with another driver.
const SECOND: &str = r#"card=/sys/bus/pci/devices/0000:02:00.0
mkdir -p "$card" /sys/kernel/iommu_groups/2/devices /sys/bus/pci/drivers/bar
printf 'DRIVER=bar\nPCI_CLASS=20000\nPCI_ID=8086:10D4\nPCI_SUBSYS_ID=8086:0001\nPCI_SLOT_NAME=0000:02:00.0\n' >"$card/uevent"
echo '(null)' >"$card/driver_override"
ln -s ../../../../kernel/iommu_groups/2 "$card/iommu_group"
ln -s "$card" /sys/kernel/iommu_groups/2/devices/0000:02:00.0
echo DMA >/sys/kernel/iommu_groups/2/type
touch /sys/bus/pci/drivers/bar/bind /sys/bus/pci/drivers/bar/unbind
mkfifo /sys/bus/pci/drivers/foo/unbind
"#;

#[test]
fn slots_are_written_beside_one_another_and_all_go_back_where_one_hangs() {
    let script = format!(
        "{SECOND}$CEDE bind 01:00.0 02:00.0 --yes --timeout 2; echo \"exit $?\"
        cat /sys/bus/pci/devices/*/driver_override /sys/bus/pci/drivers/bar/unbind; echo \"journal $(grep -c started /var/lib/cede/operations/0001.jsonl)\""
    );
    let Some(output) = run(&script) else { return };
    let (out, err) = texts(&output);
    let rest = out.split_once("exit 6\n").unwrap_or_else(|| panic!("{out}{err}")).1;
    // The other slot was begun meanwhile, and the made-up driver did not let go.
    assert!(rest.contains("0000:02:00.0\n") && rest.ends_with("journal 6\n"), "{out}{err}");
    assert!(!rest.contains("vfio-pci") && err.contains("everything was rolled back"), "no override is left: {out}{err}");
}
