//! `lethe staff`: gives a person the role of a member of staff.

use clap::{Subcommand, ValueEnum};
use context::Role;
use lethe::{app::identity::staff, server::ServerError};

use crate::cli::home::{HomeArgs, normalise};

#[derive(Subcommand)]
pub enum StaffCommand {
    /// Give somebody a role; they sign in with a mailed code like everybody
    Add {
        #[command(flatten)]
        home: HomeArgs,
        /// Their e-mail address
        #[arg(long)]
        email: String,
        /// Their role
        #[arg(long)]
        role: StaffRole,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum StaffRole {
    Compliance,
    Auditor,
}

impl StaffCommand {
    pub async fn run(self) -> Result<(), ServerError> {
        let Self::Add { home, email, role } = self;
        let role = match role {
            StaffRole::Compliance => Role::Compliance,
            StaffRole::Auditor => Role::Auditor,
        };
        let email = normalise(&email)?;
        home.on_store(false, async |home| Ok(staff::add(&*home.open().await?, &email, role).await?)).await
    }
}
