//! Which system calls touch files, and which change them.

use super::stepper::Call;
use nix::libc;

const ANY: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_flock,
    libc::SYS_flistxattr,
    libc::SYS_fgetxattr,
    libc::SYS_close,
];

const CHANGING: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
];

const PROCESSES: &[libc::c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_exit_group,
];

/// Whether the call opens a file for writing.
fn opens_for_writing(call: &Call) -> bool {
    let flags = match call.number {
        libc::SYS_openat => call.arguments[2],
        libc::SYS_open => call.arguments[1],
        _ => return false,
    };
    flags & u64::from((libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) != 0
}

/// Whether the call changes files, or writes them to disk. What goes to the standard streams does not count.
pub(super) fn changes(call: &Call) -> bool {
    let to_stream = call.number == libc::SYS_write && call.arguments[0] <= 2;
    (CHANGING.contains(&call.number) && !to_stream) || opens_for_writing(call)
}

/// Whether the call touches files at all.
pub(super) fn touches(call: &Call) -> bool {
    changes(call) || ANY.contains(&call.number)
}

/// Whether something is different after the call for somebody else: files, or which processes there are.
pub(super) fn matters(call: &Call) -> bool {
    changes(call) || PROCESSES.contains(&call.number) || call.number == libc::SYS_flock
}

/// Whether the call frees space: nothing is in the way of it on a full disk.
pub(super) fn removes(call: &Call) -> bool {
    [libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_rmdir].contains(&call.number)
}
