//! What kind of file system a place is on.

use std::path::Path;

use nix::libc;
use nix::sys::statfs::{FsType, statfs};

/// What lies below a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disk {
    /// A file system that we do not know, or that cannot be seen.
    #[default]
    Unknown,
    /// A disk of this machine alone.
    Local,
    /// A file system over the network, by its name.
    Network(&'static str),
    /// Memory: nothing of it is left after a boot.
    Memory,
}

/// `f_type` of what azslurm should tell from a disk (statfs(2), and each file system's own header).
const KINDS: [(i64, Disk); 18] = [
    (0xef53, Disk::Local),
    (0x5846_5342, Disk::Local),
    (0x9123_683e, Disk::Local),
    (0x794c_7630, Disk::Local),
    (0x2fc1_2fc1, Disk::Local),
    (0xf2f5_2010, Disk::Local),
    (0x6969, Disk::Network("NFS")),
    (0xff53_4d42, Disk::Network("SMB")),
    (0xfe53_4d42, Disk::Network("SMB")),
    (0x0bd0_0bd0, Disk::Network("Lustre")),
    (0x00c3_6400, Disk::Network("CephFS")),
    (0x1983_0326, Disk::Network("BeeGFS")),
    (0x4750_4653, Disk::Network("GPFS")),
    (0x5346_414f, Disk::Network("AFS")),
    (0x0102_1997, Disk::Network("9p")),
    (0x6573_5546, Disk::Network("FUSE")),
    (0x0102_1994, Disk::Memory),
    (0x8584_58f6, Disk::Memory),
];

impl Disk {
    /// Looks at a folder.
    pub fn look(folder: &Path) -> Disk {
        statfs(folder).map(|kind| Disk::of(kind.filesystem_type())).unwrap_or_default()
    }

    fn of(kind: FsType) -> Disk {
        let FsType(number) = kind;
        let found = KINDS.iter().find(|(known, _)| *known as libc::__fsword_t == number);
        found.map(|(_, disk)| *disk).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs::{NFS_SUPER_MAGIC, TMPFS_MAGIC};

    use super::*;

    #[test]
    fn memory_and_network_are_told_from_disks() {
        assert_eq!(Disk::of(NFS_SUPER_MAGIC), Disk::Network("NFS"));
        assert_eq!(Disk::of(TMPFS_MAGIC), Disk::Memory);
        assert_eq!(Disk::of(FsType(0xef53)), Disk::Local);
        assert_eq!(Disk::look(Path::new("/nowhere/at/all")), Disk::Unknown);
        assert_eq!(Disk::of(FsType(1)), Disk::Unknown);
    }
}
