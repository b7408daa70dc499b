//! `lethe serve`: reads the arguments, opens the application and serves.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use chrono::TimeDelta;
use clap::Args;
use domain::text::Line;
use lethe::{
    app::{
        Alerts,
        desk::{alert_rules::Rules, webhook::Endpoint},
        operation::request_limit,
        rights::controller::Controller,
    },
    data::home::HomeError,
    export::Bucket,
    http,
    mail::{Mailbox, Relay},
    server::{self, ServerError, Settings},
};
use terminal::Output;
use tokio::net::TcpListener;
use transparency::Policy;

use crate::cli::{
    home::{HomeArgs, Makes, asked_to_stop, required_secret},
    settings::{self, Setting},
};

#[derive(Args)]
pub struct ServeArgs {
    /// A file of settings, as TOML; its keys are named like the flags. A flag counts before its variable, the variable before the file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print each setting with its value and its source; read the relay's files, the witness policy, the alert rules and the
    /// webhooks; and end
    #[arg(long)]
    check_config: bool,
    /// The settings, for `check_config`
    #[arg(skip)]
    pub(super) settings: Vec<Setting>,
    #[command(flatten)]
    home: HomeArgs,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Connections to PostgreSQL for requests
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// The sender of letters
    #[arg(long, default_value = "Lethe <lethe@localhost.example>")]
    sender: String,
    /// The relay for letters, as smtp://user@host:587 (STARTTLS) or smtps://user@host:465 (TLS); without it, letters are files.
    /// smtp+plain://127.0.0.1:25 goes without TLS, to loopback addresses only
    #[arg(long, value_name = "URL")]
    smtp: Option<String>,
    /// The file of the relay's password, mode 0600
    #[arg(long, value_name = "FILE")]
    smtp_password_file: Option<PathBuf>,
    /// A file of PEM certificates to trust the relay by, in place of the operating system's
    #[arg(long, value_name = "FILE")]
    smtp_ca: Option<PathBuf>,
    /// A proxy in front, whose X-Forwarded-For is believed; may be given several times
    #[arg(long)]
    trusted_proxy: Vec<IpAddr>,
    #[command(flatten)]
    requests: RequestArgs,
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    alerts: AlertArgs,
    #[command(flatten)]
    exports: ExportStoreArgs,
    /// How long a confirmed deletion can be cancelled, in seconds; 0: it is carried out at once
    #[arg(long, default_value_t = server::GRACE_S)]
    grace: u32,
    /// Serve although PostgreSQL's minor release has known ways around row-level security
    #[arg(long)]
    allow_old_postgres: bool,
}

/// Whose requests are served, and how many of them.
#[derive(Args)]
struct RequestArgs {
    /// How many requests a client may make in a minute; 0: no limit
    #[arg(long, default_value_t = request_limit::PER_CLIENT, value_parser = clap::value_parser!(i32).range(0..))]
    requests_per_client: i32,
    /// How many requests an account may make in a minute; 0: no limit
    #[arg(long, default_value_t = request_limit::PER_ACCOUNT, value_parser = clap::value_parser!(i32).range(0..))]
    requests_per_account: i32,
    /// An origin whose pages may call the API from a browser, such as https://app.example.com; may be given several times
    #[arg(long, value_name = "ORIGIN", value_parser = page_origin)]
    cors_origin: Vec<String>,
}

/// Checks an origin as browsers write it: a scheme, a host in small letters, and a port if it is not the usual one.
fn page_origin(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b".-:[]".contains(&letter);
    let good = !host.is_empty() && host.bytes().all(plain);
    good.then(|| text.to_owned()).ok_or("must be a scheme and a host, such as https://app.example.com, without a path")
}

/// Who is responsible for the data, as consent receipts and certificates name them.
#[derive(Args)]
struct ControllerArgs {
    /// The name of who is responsible for the data (GDPR Art. 4(7)), as consent receipts show it
    #[arg(long, value_name = "NAME", default_value = server::CONTROLLER, value_parser = line)]
    controller: String,
    /// How to reach them
    #[arg(long, value_name = "ADDRESS", value_parser = line)]
    controller_contact: Option<String>,
    /// Under whose law they are, as ISO 3166-1 alpha-2, such as DE
    #[arg(long, value_name = "COUNTRY", value_parser = country)]
    jurisdiction: Option<String>,
    /// Where the data is stored and processed; may be given several times
    #[arg(long, value_name = "PLACE", value_parser = line)]
    storage_location: Vec<String>,
}

impl ControllerArgs {
    fn controller(self) -> Controller {
        Controller {
            name: self.controller,
            contact: self.controller_contact,
            jurisdiction: self.jurisdiction,
            locations: self.storage_location,
        }
    }
}

/// The longest name, address or location of the controller, in characters.
const LINE_CHARS: usize = 200;

/// Checks a text of one line that people read on receipts and certificates.
fn line(text: &str) -> Result<String, String> {
    Line::parse(text, LINE_CHARS).map(|line| line.as_str().to_owned())
}

fn country(text: &str) -> Result<String, &'static str> {
    let good = text.len() == 2 && text.bytes().all(|letter| letter.is_ascii_uppercase());
    good.then(|| text.to_owned()).ok_or("must be two capital letters")
}

/// How the log is made verifiable.
#[derive(Args)]
struct LogArgs {
    /// The first line of the log's checkpoints, such as log.example.com/lethe; once the log has begun it does not change
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    log_origin: Option<String>,
    /// The witnesses that must cosign a checkpoint before it is published (C2SP tlog-policy, with their URLs)
    #[arg(long, value_name = "FILE")]
    witness_policy: Option<PathBuf>,
}

/// Checks an origin. A last part that is a number is refused, because it would read as a later tree of another origin.
fn origin(text: &str) -> Result<String, &'static str> {
    let numbered = text.rsplit('/').next().is_some_and(|part| part.parse::<u64>().is_ok());
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    (plain && !numbered)
        .then(|| text.to_owned())
        .ok_or("must be plain text without blanks and +, and its last part no number")
}

impl LogArgs {
    fn witnesses(&self) -> Result<Option<Policy>, ServerError> {
        let Some(path) = &self.witness_policy else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|error| HomeError::Io(path.clone(), error))?;
        let malformed = |fault: String| HomeError::Malformed(path.clone(), fault);
        let policy = Policy::parse(&text).map_err(|error| malformed(error.to_string()))?;
        if !policy.can_be_asked() {
            return Err(malformed("too few witnesses have a URL: the quorum can't be met".to_owned()).into());
        }
        Ok(Some(policy))
    }
}

/// What raises alerts, and who is told.
#[derive(Args)]
struct AlertArgs {
    /// The rules by which patterns in the log raise alerts, as JSON; without it those that are built in
    #[arg(long, value_name = "FILE")]
    alert_rules: Option<PathBuf>,
    /// Webhooks that alerts go to, as JSON: {"endpoints": [{"name": …, "url": …, "secret_file": …}]}
    #[arg(long, value_name = "FILE")]
    webhooks: Option<PathBuf>,
    /// Who is mailed of alerts
    #[arg(long, value_name = "ADDRESS")]
    alert_mail: Option<String>,
}

impl AlertArgs {
    fn alerts(self) -> Result<Alerts, ServerError> {
        let rules = self.alert_rules.as_deref().map(Rules::read).transpose()?.unwrap_or_else(Rules::built_in);
        let endpoints = self.webhooks.as_deref().map(Endpoint::read).transpose()?.unwrap_or_default();
        Ok(Alerts { rules, endpoints, mail: self.alert_mail })
    }
}

/// Where export files are; without these in the data folder's `exports`.
#[derive(Args)]
struct ExportStoreArgs {
    /// A bucket that speaks S3, as s3://bucket/prefix
    #[arg(long, value_name = "URL", value_parser = without_secret)]
    export_store: Option<String>,
    /// Where the bucket is, if not at AWS; https, or http on loopback
    #[arg(long, value_name = "URL", value_parser = without_secret)]
    s3_endpoint: Option<String>,
    /// The bucket's region
    #[arg(long, default_value = "us-east-1")]
    s3_region: String,
    /// A file of mode 0600 with the lines access_key_id=… and secret_access_key=…
    #[arg(long, value_name = "FILE")]
    s3_credentials: Option<PathBuf>,
}

/// Refuses a URL with a user or a password, because arguments and settings are shown.
fn without_secret(text: &str) -> Result<String, &'static str> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let plain = !authority.contains('@');
    plain.then(|| text.to_owned()).ok_or("must not hold a user or a password: name a file with --s3-credentials")
}

impl ExportStoreArgs {
    fn bucket(self) -> Option<Bucket> {
        let (url, credentials) = self.export_store.zip(self.s3_credentials)?;
        Some(Bucket { url, endpoint: self.s3_endpoint, region: self.s3_region, credentials })
    }
}

impl ServeArgs {
    fn relay(&self) -> Result<Option<Relay>, ServerError> {
        let Some(url) = &self.smtp else { return Ok(None) };
        let password = self.smtp_password_file.as_deref().map(required_secret).transpose()?;
        Ok(Some(Relay::new(url, password.as_ref().map(|password| password.as_str()), self.smtp_ca.as_deref())?))
    }

    pub async fn run(self, output: Output) -> Result<(), ServerError> {
        let relay = self.relay()?;
        if self.check_config {
            self.home.check()?;
            self.log.witnesses()?;
            self.alerts.alerts()?;
            return Ok(output.say(settings::lines(&self.settings), settings::object(&self.settings))?);
        }
        let listener = TcpListener::bind(self.listen).await.map_err(|error| ServerError::Listen(self.listen, error))?;
        let stop = asked_to_stop()?;
        self.home
            .on_store(Makes::All, async |home| {
                if home.store.cluster.is_some() {
                    home.migrate().await?;
                }
                if let Err(error) = server::check_version(&home.store.database, &home.folder.passwords()?).await {
                    if !self.allow_old_postgres {
                        return Err(error);
                    }
                    tracing::warn!(%error);
                }
                let settings = Settings {
                    connections: self.connections,
                    controller: self.controller.controller(),
                    grace: TimeDelta::seconds(i64::from(self.grace)),
                    exports: self.exports.bucket(),
                    witnesses: self.log.witnesses()?,
                    alerts: self.alerts.alerts()?,
                    log_origin: self.log.log_origin,
                    requests_per_client: self.requests.requests_per_client,
                    requests_per_account: self.requests.requests_per_account,
                    origins: self.requests.cors_origin,
                    ..home.settings()
                };
                let app = home.open_with(&settings).await?;
                let mailbox = match relay {
                    Some(relay) => Mailbox::smtp(relay, &self.sender)?,
                    None => Mailbox::new(&server::mail_folder(&home.folder), &self.sender)?,
                };
                tracing::info!(listen = %listener.local_addr()?, "serving");
                let proxies = http::TrustedProxies::new(self.trusted_proxy);
                home.store.serve(app, mailbox, listener, proxies, stop).await
            })
            .await
    }
}
