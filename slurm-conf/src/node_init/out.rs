//! The verb: the config in, the user data out, to a person or into a file of ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use azslurm_core::NodesetName;
use azslurm_program::{config_file, exit};

use super::{NodeInitError, is_ours, user_data};
use crate::write::{self, WriteError};

/// Why it could not be written.
#[derive(Debug, thiserror::Error)]
enum OutError {
    #[error(transparent)]
    NodeInit(#[from] NodeInitError),
    #[error("{0} is there and was not made by node-init: name another file, or remove it")]
    NotOurs(PathBuf),
    #[error("cannot read {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        why: io::Error,
    },
    #[error(transparent)]
    Unwritten(#[from] WriteError),
}

/// Prints or writes it. The exit code.
pub fn run(config: Option<&Path>, name: &NodesetName, out: Option<&Path>) -> u8 {
    let config = match config_file::load(config) {
        Ok(loaded) => loaded.config,
        Err(error) => {
            eprintln!("{}", exit::chain_of(&error));
            return exit::CANNOT_START;
        }
    };
    let text = user_data(&config, name).map_err(OutError::from);
    let done = text.and_then(|text| match out {
        None => {
            print!("{text}");
            Ok(())
        }
        Some(path) => put(path, &text),
    });
    if let Err(error) = done {
        eprintln!("{}", exit::chain_of(&error));
        return exit::FAILED;
    }
    if let Some(path) = out {
        let is_named =
            config.nodesets[name].user_data_file.as_ref().is_some_and(|named| named == path);
        eprintln!("wrote {}: the VMs that are made from now on use it", path.display());
        if !is_named {
            eprintln!("add to [nodeset.{name}]: user_data_file = \"{}\"", path.display());
        }
    }
    exit::DONE
}

/// Whole or not at all: azslurm-resume may read it at any moment.
fn put(path: &Path, text: &str) -> Result<(), OutError> {
    match fs::read_to_string(path) {
        Ok(before) if !is_ours(&before) => return Err(OutError::NotOurs(path.to_owned())),
        Ok(_ours) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(OutError::Unreadable { path: path.to_owned(), why }),
    }
    Ok(write::whole(path, text)?)
}
