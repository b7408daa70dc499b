//! `lethe staff`: gives and takes the roles of members of staff.

use clap::{Subcommand, ValueEnum};
use context::Role;
use lethe::{
    app::identity::staff::{self, Added, Member, Removed},
    server::ServerError,
};
use serde_json::{Value, json};
use terminal::Output;

use crate::cli::home::{HomeArgs, Makes, normalise};

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
    /// List roles, addresses and last sign-ins. Each look at an address is an event in its owner's log
    List {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Take the roles from somebody, and end their sessions. Their account stays, as that of any person
    Remove {
        #[command(flatten)]
        home: HomeArgs,
        /// Their e-mail address
        #[arg(long)]
        email: String,
        /// Only this role
        #[arg(long)]
        role: Option<StaffRole>,
        /// Then erase the account too, if it holds nothing but the address. Nobody can tell any more who acted under its
        /// random id in the log
        #[arg(long, conflicts_with = "role")]
        erase: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum StaffRole {
    Compliance,
    Auditor,
}

impl From<StaffRole> for Role {
    fn from(role: StaffRole) -> Self {
        match role {
            StaffRole::Compliance => Self::Compliance,
            StaffRole::Auditor => Self::Auditor,
        }
    }
}

impl StaffCommand {
    pub async fn run(self, output: Output) -> Result<(), ServerError> {
        let (Self::Add { home, .. } | Self::List { home } | Self::Remove { home, .. }) = &self;
        // A wrong address is refused before anything starts.
        let email = &match &self {
            Self::Add { email, .. } | Self::Remove { email, .. } => normalise(email)?,
            Self::List { .. } => String::new(),
        };
        home.on_store(Makes::Nothing, async |home| {
            let app = home.open().await?;
            let (told, json) = match &self {
                Self::Add { role, .. } => {
                    let role = Role::from(*role);
                    added(staff::add(&app, email, role).await?, role)
                }
                Self::List { .. } => listed(&staff::list(&app).await?),
                Self::Remove { role, erase, .. } => {
                    let removed = staff::remove(&app, email, role.map(Role::from)).await?;
                    let erased = if *erase { Some(staff::erase(&app, email).await) } else { None };
                    let (told, json) =
                        taken(&removed, erased.as_ref().and_then(|erased| erased.as_ref().ok()).copied());
                    // The roles are taken, also where the account can't be erased.
                    output.say(told, json)?;
                    return Ok(erased.transpose().map(drop)?);
                }
            };
            Ok(output.say(told, json)?)
        })
        .await
    }
}

fn added(Added { subject, is_new, given }: Added, role: Role) -> (String, Value) {
    let role = role.as_str();
    let account = if is_new { "an account was made" } else { "the account was there" };
    let told = match given {
        true => format!("{subject}: {account}, and has the role {role} from now on; sign in with a mailed code"),
        false => format!("{subject}: {account}, and had the role {role} already"),
    };
    (told, json!({ "subject_id": subject, "role": role, "account_made": is_new, "role_given": given }))
}

fn listed(members: &[Member]) -> (String, Value) {
    let line = |Member { email, row }: &Member| {
        let seen = row.signed_in_at.map_or_else(|| "never".to_owned(), |at| format!("{at:?}"));
        format!("{}: {email}, {}, signed in last {seen}", row.subject, row.role.as_str())
    };
    let object = |Member { email, row }: &Member| json!({ "subject_id": row.subject, "email": email, "role": row.role.as_str(), "signed_in_at": row.signed_in_at });
    let lines: Vec<String> = members.iter().map(line).collect();
    let told = if lines.is_empty() { "nobody has a staff role".to_owned() } else { lines.join("\n") };
    (told, json!({ "staff": members.iter().map(object).collect::<Vec<_>>() }))
}

/// `erased` is `None` if the account was not looked at, and false if a legal hold keeps it.
fn taken(Removed { subject, roles, sessions }: &Removed, erased: Option<bool>) -> (String, Value) {
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let role = if roles.is_empty() {
        "had no such role".to_owned()
    } else {
        format!("no longer has the role {}; {sessions} session(s) ended", roles.join(", "))
    };
    let account = match erased {
        None => "the account stays",
        Some(true) => "the account is erased",
        Some(false) => "the account stays, because a legal hold keeps it",
    };
    let json = json!({
        "subject_id": subject,
        "roles_taken": roles,
        "sessions_ended": sessions,
        "account_erased": erased,
    });
    (format!("{subject}: {role}; {account}"), json)
}
