//! azslurm-generate: what the packages hold beside the programs, made of the programs' own
//! definitions: manual pages, completions, the licenses of what is linked in, and a list of it.
//! `packaging/dist.sh` calls it. Must never say anything that is not in those definitions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::linked::Linked;

mod completions;
mod config_page;
mod licenses;
mod linked;
mod pages;
mod programs;
mod sbom;

/// Writes manual pages, completions, licenses and the list of what is linked in.
#[derive(Debug, Parser)]
#[command(name = "azslurm-generate")]
struct Arguments {
    /// What `cargo metadata --format-version 1` says
    #[arg(long, value_name = "FILE")]
    metadata: PathBuf,
    /// What `cargo tree --edges normal --prefix none --format '{p}'` says of the shipped programs:
    /// what is linked in, and nothing else
    #[arg(long, value_name = "FILE")]
    tree: PathBuf,
    /// What the linker adds and cargo does not know, as NAME=VERSION=LICENSE
    #[arg(long, value_name = "PART")]
    system: Vec<linked::Part>,
    /// The version of the packages
    #[arg(long, value_name = "VERSION")]
    package_version: String,
    /// The time of the commit, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    epoch: i64,
    /// Where it is written
    #[arg(value_name = "FOLDER")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (out, version) = (&arguments.out, arguments.package_version.as_str());
    let linked = Linked::read(&arguments.metadata, &arguments.tree)?;
    for (path, text) in pages::pages(version) {
        write(&out.join("man").join(path), &text)?;
    }
    for (path, text) in completions::completions() {
        write(&out.join("completions").join(path), &text)?;
    }
    let licenses = licenses::text(&linked, &arguments.system)?;
    write(&out.join("third-party-licenses.txt"), licenses.as_bytes())?;
    let sbom = sbom::sbom(&linked, &arguments.system, (version, arguments.epoch))?;
    write(&out.join("sbom.cdx.json"), format!("{sbom:#}\n").as_bytes())
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
