//! The settings of `lethe serve`. A flag counts before its variable, the variable before the configuration file, the
//! file before the default.
//!
//! There is one list of settings: the arguments of `serve` (`serve.rs`). The flag `--some-name` makes the
//! variable `LETHE_SOME_NAME` and the key `some-name` of the file, so that a new argument has both by itself. Refuses,
//! with file and line, a key that is no setting, and a value that the flag would refuse.

use std::{collections::BTreeMap, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind, parser::ValueSource};
use serde_json::{Value, json};
use toml::Spanned;

/// Arguments that are no settings: where settings come from, and whether they are only printed.
const NO_SETTINGS: [&str; 2] = ["config", "check_config"];

/// Settings that count only beside another. Clap's own `requires` would not see what comes from the file.
const NEEDS: [(&str, &str); 5] = [
    ("smtp_password_file", "smtp"),
    ("smtp_ca", "smtp"),
    ("export_store", "s3_credentials"),
    ("s3_endpoint", "export_store"),
    ("s3_credentials", "export_store"),
];

/// In a variable, and behind a flag, this parts several values of one setting.
const PARTS: char = ';';

/// What the file says: values by key.
type File = BTreeMap<String, Vec<String>>;

/// A setting as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    key: String,
    /// `null` where it is not set.
    value: Value,
    /// What has set it: `flag`, `variable`, `file` or `default`.
    from: &'static str,
}

/// Reads the arguments of `serve` again, with what the file says, and lists what counts. Ends the program with exit code 2
/// where something is wrong.
pub(super) fn read(command: &Command, file: Option<&Path>) -> (ArgMatches, Vec<Setting>) {
    let wrong = |fault: String| -> ! { command.clone().error(ErrorKind::ValueValidation, fault).exit() };
    let file = file.map(|path| read_file(path, serve_of(command))).transpose();
    let file = file.unwrap_or_else(|fault| wrong(fault)).unwrap_or_default();
    let matches = with_file(command.clone(), &file).get_matches();
    let serve = matches.subcommand_matches("serve").expect("the same arguments name the same command");
    if let Some((one, other)) = NEEDS.iter().find(|(one, other)| serve.contains_id(one) && !serve.contains_id(other)) {
        wrong(format!("--{} needs --{} beside it", one.replace('_', "-"), other.replace('_', "-")));
    }
    let settings = list(serve_of(command), serve, &file);
    (matches, settings)
}

/// The command with a variable for each argument of `serve`.
pub(super) fn with_variables(command: Command) -> Command {
    let with_variable = |arg: Arg| match arg.get_long().map(variable) {
        Some(variable) if arg.get_id() != "check_config" => {
            let arg = if takes_many(&arg) { arg.value_delimiter(PARTS) } else { arg };
            arg.env(variable).hide_env_values(true)
        }
        _ => arg,
    };
    command.mut_subcommand("serve", |serve| serve.mut_args(with_variable))
}

/// The command in which the file's values stand in place of the defaults.
fn with_file(command: Command, file: &File) -> Command {
    let with_default = |arg: Arg| match arg.get_long().and_then(|key| file.get(key)) {
        Some(values) => arg.default_values(values.clone()),
        None => arg,
    };
    command.mut_subcommand("serve", |serve| serve.mut_args(with_default))
}

fn serve_of(command: &Command) -> &Command {
    command.find_subcommand("serve").expect("it is a command of ours")
}

/// The settings, in the order of the help.
fn settings(serve: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    let is_setting = |arg: &&Arg| !NO_SETTINGS.contains(&arg.get_id().as_str());
    serve.get_arguments().filter(is_setting).filter_map(|arg| Some((arg, arg.get_long()?)))
}

fn variable(flag: &str) -> String {
    format!("LETHE_{}", flag.replace('-', "_").to_uppercase())
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn read_file(path: &Path, serve: &Command) -> Result<File, String> {
    let at = |line: usize, fault: &str| format!("{}:{line}: {fault}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let parsed: BTreeMap<Spanned<String>, toml::Value> = toml::from_str(&text)
        .map_err(|error| at(error.span().map_or(1, |span| line(span.start)), error.message().trim_end()))?;
    let mut file = File::new();
    for (key, value) in parsed {
        let (line, key) = (line(key.span().start), key.into_inner());
        let known = settings(serve).find(|(_, flag)| *flag == key);
        let (arg, _) = known.ok_or_else(|| at(line, &format!("there is no setting `{key}`")))?;
        let values = values_of(arg, &value).map_err(|form| at(line, &format!("`{key}` must be {form}")))?;
        try_out(serve, arg, &key, &values).map_err(|fault| at(line, &fault))?;
        file.insert(key, values);
    }
    Ok(file)
}

/// The values of a key as a flag would have them. An error says the form that they must have.
fn values_of(arg: &Arg, value: &toml::Value) -> Result<Vec<String>, &'static str> {
    let single = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, toml::Value::Boolean(set)) => Ok(vec![set.to_string()]),
        (ArgAction::SetTrue, _) => Err("true or false"),
        (ArgAction::Append, toml::Value::Array(many)) => {
            many.iter().map(single).collect::<Option<_>>().ok_or("a list of texts")
        }
        (ArgAction::Append, _) => Err("a list of texts"),
        _ => single(value).map(|value| vec![value]).ok_or("a text or a number"),
    }
}

/// Refuses values that the flag would refuse.
fn try_out(serve: &Command, arg: &Arg, key: &str, values: &[String]) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let flags = values.iter().map(|value| format!("--{key}={value}"));
    let tried = serve.clone().try_get_matches_from(["serve".to_owned()].into_iter().chain(flags));
    let first_line = |text: String| text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    tried.map(drop).map_err(|error| first_line(error.to_string()))
}

/// What counts, and what has set it.
fn list(serve: &Command, matches: &ArgMatches, file: &File) -> Vec<Setting> {
    let setting = |(arg, key): (&Arg, &str)| {
        let id = arg.get_id().as_str();
        let from = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "variable",
            _ if file.contains_key(key) => "file",
            _ => "default",
        };
        let values = matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
        let mut values: Vec<String> = values.collect();
        let value = if takes_many(arg) { json!(values) } else { json!(values.pop()) };
        Setting { key: key.to_owned(), value, from }
    };
    settings(serve).map(setting).collect()
}

/// The settings as lines.
pub(super) fn lines(settings: &[Setting]) -> String {
    let line = |setting: &Setting| {
        let value = match &setting.value {
            Value::Null => "is not set".to_owned(),
            value => format!("= {value}"),
        };
        format!("{} {value} ({})", setting.key, setting.from)
    };
    settings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The settings as one object.
pub(super) fn object(settings: &[Setting]) -> Value {
    let entry = |setting: &Setting| (setting.key.clone(), json!({ "value": setting.value, "from": setting.from }));
    settings.iter().map(entry).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    const GUIDE: &str = include_str!("../../docs/operations.md");

    fn command() -> Command {
        with_variables(Cli::command())
    }

    #[test]
    fn the_arguments_are_sound() {
        command().debug_assert();
    }

    /// The table in the guide has a row for each setting, with its variable, its key and its default.
    #[test]
    fn the_guide_lists_every_setting() {
        let command = command();
        let row = |(arg, key): (&Arg, &str)| {
            let given = arg.get_default_values().iter().map(|value| value.to_string_lossy());
            let default = match arg.get_action() {
                ArgAction::SetTrue => "false".to_owned(),
                _ => given.collect::<Vec<_>>().join("; "),
            };
            let default = if default.is_empty() { default } else { format!("`{default}` ") };
            let variable = arg.get_env().expect("each setting has one").to_string_lossy();
            format!("| `--{key}` | `{variable}` | `{key}` | {default}|")
        };
        let (_, table) = GUIDE.split_once("| flag | variable | key | default |\n").expect("the guide has the table");
        let (_, table) = table.split_once('\n').expect("a line under the heading");
        let written: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        let settings: Vec<String> = settings(serve_of(&command)).map(row).collect();
        assert_eq!(written.join("\n"), settings.join("\n"), "left: the guide; right: the settings");
    }

    #[test]
    fn a_setting_has_one_variable_of_its_own() {
        let command = command();
        let variables: Vec<_> = settings(serve_of(&command)).filter_map(|(arg, _)| arg.get_env()).collect();
        let taken = ["LETHE_LOG", "LETHE_LOG_FORMAT", "LETHE_POSTGRES_BIN", "LETHE_CRASH_AT", "LETHE_CONFIG"];
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len());
        assert!(variables.iter().all(|variable| !taken.iter().any(|taken| variable == taken)), "{variables:?}");
    }

    #[test]
    fn a_file_is_refused_with_the_line_and_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lethe.toml");
        let command = command();
        let fault = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let fault = read_file(&path, serve_of(&command)).expect_err(text);
            fault.strip_prefix(&format!("{}:", path.display())).expect("it names the file").to_owned()
        };
        assert_eq!(fault("# a comment\nlisten = \"127.0.0.1:1\"\nlisen = 1\n"), "3: there is no setting `lisen`");
        assert_eq!(fault("config = \"other.toml\"\n"), "1: there is no setting `config`");
        assert_eq!(fault("\n[listen]\nport = 1\n"), "2: `listen` must be a text or a number");
        assert_eq!(fault("allow-old-postgres = 1\n"), "1: `allow-old-postgres` must be true or false");
        assert_eq!(fault("trusted-proxy = \"127.0.0.1\"\n"), "1: `trusted-proxy` must be a list of texts");
        let wrong = fault("grace = 1\nlisten = \"nowhere\"\n");
        assert!(wrong.starts_with("2: invalid value 'nowhere' for '--listen"), "{wrong}");
        assert!(fault("grace = 1\ngrace = 2\n").starts_with("2: duplicate key"));
        assert!(fault("grace = \n").starts_with("1: "));
    }
}
