//! What `azslurm-conf` does in a cluster: the files that are rendered, and its verbs.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

use crate::cluster::Cluster;
use crate::install;

impl Cluster {
    /// The files that slurm.conf includes, by our own program; topology.conf and gres.conf include
    /// theirs if there are some.
    pub(crate) fn render(&self) -> Result<()> {
        let etc = self.dir().join("etc");
        self.run_conf(&["render", "--out", &etc.display().to_string()])?;
        for name in ["topology", "gres"] {
            if etc.join(format!("azslurm-{name}.conf")).exists() {
                let line = format!("include azslurm-{name}.conf\n");
                fs::write(etc.join(format!("{name}.conf")), line)?;
            }
        }
        Ok(())
    }

    /// Runs `azslurm-conf VERB --config … …`; what it says on stdout. Another exit code than 0 is
    /// an error.
    pub fn run_conf(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_conf(arguments)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let also = String::from_utf8_lossy(&output.stdout).into_owned();
            bail!("azslurm-conf {}: {}: {said}{also}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `azslurm-conf VERB --config … …` to its end, whatever that is.
    pub fn try_conf(&self, arguments: &[&str]) -> Result<Output> {
        let (verb, rest) = arguments.split_first().context("a verb")?;
        let mut command = Command::new(install::program("azslurm-conf")?);
        command.arg(verb).arg("--config").arg(self.config_path()).args(rest);
        command.env("SLURM_CONF", self.slurm_conf());
        Ok(command.output()?)
    }
}
