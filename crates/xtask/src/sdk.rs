//! Client packages, generated from the OpenAPI documents by `openapi/LANGUAGE/` into `target/sdk/LANGUAGE/`.
//!
//! Promises: the generators are those that the lock files pin, installed below `target/sdk/` once and again when a lock
//! file has changed; a package holds nothing of an earlier run. A warning of a generator fails the chore, where the
//! generator can do that.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use clap::ValueEnum;

use crate::command::{cargo, run};

#[derive(Clone, Copy, ValueEnum)]
pub enum Language {
    Typescript,
    Python,
    Rust,
}

/// Makes the packages of some languages, or of all if none is named; or only installs what that needs.
pub fn make(root: &Path, languages: &[Language], only_install: bool) -> Result<(), String> {
    let languages = if languages.is_empty() { Language::value_variants() } else { languages };
    for language in languages {
        let (install, generate): (Step, Step) = match language {
            Language::Typescript => (install_typescript, typescript),
            Language::Python => (install_python, python),
            Language::Rust => (install_rust, rust),
        };
        let value = language.to_possible_value().expect("every language has a name");
        let places = Places::of(root, value.get_name())?;
        install(&places)?;
        if !only_install {
            generate(&places)?;
        }
    }
    Ok(())
}

type Step = fn(&Places) -> Result<(), String>;

/// The folders of one language.
struct Places {
    root: PathBuf,
    /// What is kept: `openapi/LANGUAGE/`.
    source: PathBuf,
    /// `target/sdk/`, where generators are installed.
    sdk: PathBuf,
    /// The package: `target/sdk/LANGUAGE/`.
    package: PathBuf,
}

impl Places {
    fn of(root: &Path, language: &str) -> Result<Self, String> {
        let sdk = root.join("target/sdk");
        fs::create_dir_all(&sdk).map_err(in_file(&sdk))?;
        let (source, package) = (root.join("openapi").join(language), sdk.join(language));
        Ok(Self { root: root.to_owned(), source, sdk, package })
    }

    fn document(&self, name: &str) -> PathBuf {
        self.root.join("openapi").join(name)
    }

    /// Makes the package's folder anew, with the files that are kept of it and the licence.
    fn begin(&self, kept: &[&str]) -> Result<(), String> {
        if self.package.exists() {
            fs::remove_dir_all(&self.package).map_err(in_file(&self.package))?;
        }
        fs::create_dir_all(&self.package).map_err(in_file(&self.package))?;
        copy(&self.root, &self.package, &["LICENSE"])?;
        copy(&self.source, &self.package, kept)
    }

    /// Runs `install` if the lock file is not the one of the last time, which `stamp` holds.
    fn once(&self, lock: &str, stamp: &Path, install: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let lock = self.source.join("generator").join(lock);
        let wanted = fs::read(&lock).map_err(in_file(&lock))?;
        if fs::read(stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        install()?;
        fs::write(stamp, wanted).map_err(in_file(stamp))
    }

    /// A program that an installation brought, with its neighbours before all others on the path.
    fn tool(&self, folder: &str, program: &str) -> Command {
        let folder = self.sdk.join(folder);
        let mut path = OsString::from(&folder);
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(folder.join(program));
        command.env("PATH", path).current_dir(&self.package);
        command
    }
}

const NODE: &str = "node_modules/.bin";
const PYTHON: &str = "python-venv/bin";

fn install_typescript(places: &Places) -> Result<(), String> {
    // Node.js looks for packages in the folders above as well, so the client and its tests find them in `target/sdk/`.
    let stamp = places.sdk.join("node_modules/package-lock.installed.json");
    places.once("package-lock.json", &stamp, || {
        copy(&places.source.join("generator"), &places.sdk, &["package.json", "package-lock.json"])?;
        let mut npm = Command::new("npm");
        // npm may run on an older Node.js than the one that it brings.
        run(npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&places.sdk))
    })
}

fn typescript(places: &Places) -> Result<(), String> {
    places.begin(&["package.json", "tsconfig.json", "README.md"])?;
    copy(&places.source.join("generator"), &places.sdk, &["openapi-ts.config.ts"])?;
    run(places.tool(NODE, "openapi-ts").current_dir(&places.sdk))?;
    run(&mut places.tool(NODE, "tsc"))?;
    run(Command::new("npm").args(["pack", "--silent"]).current_dir(&places.package))
}

fn install_python(places: &Places) -> Result<(), String> {
    let venv = places.sdk.join("python-venv");
    places.once("requirements.txt", &venv.join("requirements.txt"), || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
        run(pip.arg(places.source.join("generator/requirements.txt")))
    })
}

fn python(places: &Places) -> Result<(), String> {
    places.begin(&["pyproject.toml", "README.md"])?;
    let generator = places.source.join("generator");
    let mut generate = places.tool(PYTHON, "openapi-python-client");
    generate.args(["generate", "--fail-on-warning", "--meta", "none", "--output-path", "lethe_client", "--path"]);
    generate.arg(places.document("openapi.json")).arg("--config").arg(generator.join("config.yaml"));
    run(generate.arg("--custom-template-path").arg(generator.join("templates")))?;
    run(places.tool(PYTHON, "hatchling").arg("build"))
}

fn install_rust(places: &Places) -> Result<(), String> {
    let manifest = places.source.join("generator/Cargo.toml");
    run(cargo(&places.root, &["fetch", "--quiet", "--locked", "--manifest-path"]).arg(manifest))
}

fn rust(places: &Places) -> Result<(), String> {
    places.begin(&["Cargo.toml", "Cargo.lock", "README.md"])?;
    for folder in ["src", "examples/walk"] {
        let folder = places.package.join(folder);
        fs::create_dir_all(&folder).map_err(in_file(&folder))?;
    }
    // Generator and client share what both depend on.
    let target = places.sdk.join("build");
    let mut generate = cargo(&places.root, &["run", "--quiet", "--locked", "--manifest-path"]);
    generate.arg(places.source.join("generator/Cargo.toml")).arg("--target-dir").arg(&target).arg("--");
    generate.arg(places.document("openapi-3.0.json"));
    run(generate.arg(places.package.join("src/lib.rs")).arg(places.package.join("examples/walk/calls.rs")))?;
    // Tests compile the client, so that cargo need not do it here.
    let mut package = cargo(&places.root, &["package", "--quiet", "--locked", "--no-verify", "--manifest-path"]);
    run(package.arg(places.package.join("Cargo.toml")).arg("--target-dir").arg(&target))
}

fn copy(from: &Path, to: &Path, names: &[&str]) -> Result<(), String> {
    for name in names {
        fs::copy(from.join(name), to.join(name)).map_err(in_file(&from.join(name)))?;
    }
    Ok(())
}

fn in_file(path: &Path) -> impl Fn(io::Error) -> String + use<> {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
