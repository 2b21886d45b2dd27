//! azslurm-conf: from an Azure subscription to a working slurm.conf. The documented example config
//! and a first one, checks of everything that azslurm rests on, the parts of slurm.conf that a
//! config means, the user data of its nodes, and the rights that it needs in Azure.
//!
//! It never changes a file without showing the change first, and it never shows a secret.

pub mod apply;
pub mod change;
pub mod check;
pub mod cli;
pub mod example;
pub mod init;
pub mod make;
pub mod node_init;
pub mod prices;
pub mod render;
pub mod role;
pub mod sizes;
pub mod write;
