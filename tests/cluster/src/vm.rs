//! A VM that needs no hypervisor: namespaces, a root of its own over this machine's, cloud-init's
//! own code for a cloud-config, and stand-ins for what only a real boot has (`texts/vm.sh`,
//! `texts/systemctl.py`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::PATH;

/// The programs of a VM, by name.
const PROGRAMS: [(&str, &str); 3] = [
    ("vm", include_str!("texts/vm.sh")),
    ("systemctl", include_str!("texts/systemctl.py")),
    ("cloud-boot", include_str!("texts/cloud-boot.py")),
];

/// Puts what VMs need into `dir/bin`.
///
/// # Errors
/// When it cannot be written.
pub fn install_vm(dir: &Path) -> io::Result<()> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    for (name, text) in PROGRAMS {
        fs::write(bin.join(name), text)?;
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Runs a shell script on a VM of this name: not started yet. `dir` is seen from inside, and so are
/// the built programs; every other change ends with the VM. `cloud-boot FILE` in the script boots
/// with that user data.
pub fn vm_command(dir: &Path, node: &str, script: &str) -> io::Result<Command> {
    let bin = dir.join("bin");
    let mut command = Command::new(bin.join("vm"));
    command
        .args([dir, Path::new(node), Path::new("sh"), Path::new("-c"), Path::new(script)])
        .env_clear()
        .env("PATH", format!("{PATH}:{}", bin.display()))
        .env("VM_KEEP", programs()?.display().to_string())
        .env("LC_ALL", "C");
    Ok(command)
}

/// Where the built programs are.
fn programs() -> io::Result<PathBuf> {
    crate::install::bin_dir().map_err(io::Error::other)
}
