//! The data folder: on a file system of limited size in memory if we are root, so that it can be filled; else a plain
//! folder. Promises that dropping it unmounts it, after its processes have ended.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::outcome::Outcome;

/// Room for a log of some hundred thousand events. PostgreSQL is told to keep its WAL smaller than this.
const SIZE_MIB: u32 = 768;
const FILLER: &str = "filler";

pub struct Disk {
    path: PathBuf,
    is_mounted: bool,
}

impl Disk {
    /// Makes the folder `data` in `home`. The account that runs PostgreSQL may pass through both.
    pub fn make(home: &Path) -> Outcome<Self> {
        fs::set_permissions(home, Permissions::from_mode(0o711))?;
        let path = home.join("data");
        DirBuilder::new().mode(0o711).create(&path)?;
        let mut disk = Self { path, is_mounted: false };
        if rustix::process::geteuid().is_root() {
            let options = format!("size={SIZE_MIB}m,mode=0711");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "lethe-faults"]).arg(&disk.path);
            disk.is_mounted = mount.status().is_ok_and(|status| status.success());
        }
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder can be filled without filling anything else.
    pub fn can_be_filled(&self) -> bool {
        self.is_mounted
    }

    /// Writes a file until nothing more fits.
    pub fn fill(&self) -> Outcome<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path.join(FILLER))?;
        // Smaller and smaller pieces, so that not a page is left.
        for piece in [1 << 20, 1 << 12] {
            let zeros = vec![0_u8; piece];
            while file.write_all(&zeros).is_ok() {}
        }
        Ok(())
    }

    pub fn free(&self) -> Outcome<()> {
        Ok(fs::remove_file(self.path.join(FILLER))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily, because a process that is ending may still have a file open. An error can't be reported here.
            let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
        }
    }
}
