//! The files that nodesets name: SSH keys and user data.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use azslurm_core::NodesetName;
use azslurm_core::config::{Config, Nodeset, TextSource};
use azslurm_core::plan::NodesetTexts;

/// Azure's limit for user data before base64 (FACTS §1.1).
const USER_DATA_BYTES_MAX: usize = 65_535;

/// Why a nodeset's texts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error("[nodeset.{nodeset}] {key}: cannot read {path}")]
    Unreadable {
        /// The nodeset.
        nodeset: NodesetName,
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long for Azure.
    #[error(
        "[nodeset.{nodeset}] user_data_file: {path} has {length} bytes, Azure takes \
         {USER_DATA_BYTES_MAX}"
    )]
    TooLong {
        /// The nodeset.
        nodeset: NodesetName,
        /// The file.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
}

/// The texts of every nodeset that can be read, and what is wrong with the others.
pub fn load(config: &Config) -> (BTreeMap<NodesetName, NodesetTexts>, Vec<TextError>) {
    let mut texts = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, nodeset) in &config.nodesets {
        match load_one(name, nodeset) {
            Ok(text) => {
                texts.insert(name.clone(), text);
            }
            Err(error) => errors.push(error),
        }
    }
    (texts, errors)
}

fn load_one(name: &NodesetName, nodeset: &Nodeset) -> Result<NodesetTexts, TextError> {
    let ssh_public_key = match &nodeset.ssh_public_key {
        TextSource::Inline(text) => text.clone(),
        TextSource::File(path) => read(name, "ssh_public_key_file", path)?.trim().to_owned(),
    };
    let user_data = match &nodeset.user_data_file {
        None => None,
        Some(path) => Some(read(name, "user_data_file", path)?),
    };
    if let (Some(text), Some(path)) = (&user_data, &nodeset.user_data_file)
        && text.len() > USER_DATA_BYTES_MAX
    {
        return Err(TextError::TooLong {
            nodeset: name.clone(),
            path: path.clone(),
            length: text.len(),
        });
    }
    Ok(NodesetTexts { ssh_public_key, user_data: user_data.map(Into::into) })
}

fn read(nodeset: &NodesetName, key: &'static str, path: &Path) -> Result<String, TextError> {
    fs::read_to_string(path).map_err(|source| TextError::Unreadable {
        nodeset: nodeset.clone(),
        key,
        path: path.to_owned(),
        source,
    })
}
