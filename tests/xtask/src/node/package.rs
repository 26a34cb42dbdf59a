//! The step `node-package`: packs the npm packages, checks the files, and uses them in projects
//! where nothing else is installed, as their users do.
//!
//! The addon is that of the step `build`, and the server's binary that of the step `release`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::runtimes::{BUN, DENO, Runtime};
use super::{CLIENT, SERVER, build, client, npm, platform, program, tests};
use crate::tally::Tally;
use crate::{root, run, tools};

/// The packed files of the client and the server, each with that of a platform.
pub(super) struct Packed {
    pub(super) client: PathBuf,
    pub(super) client_platform: PathBuf,
    pub(super) server: PathBuf,
    pub(super) server_platform: PathBuf,
}

/// A step of its own for each use would install the packages again.
pub(crate) fn step() -> Tally {
    let project = || {
        let mut released = tools::cargo(&["build", "--locked", "--release", "--package", "styx"]);
        if !(build::is_built() && run("build", &mut released)) {
            return None;
        }
        place_server(&tools::released_styx(), platform()).ok()?;
        let packed = packed(platform(), &tools::target().join("node/packed"))?;
        let are_right = is_sound(&packed);
        let project = installed(&packed, &tools::target().join("node/project"), &[])?;
        Some((project, are_right))
    };
    let Some((project, are_right)) = project() else { return Tally::step(false) };
    let mut total = Tally::step(are_right);
    // All run even if one fails.
    let uses = [uses_with_node(&project), uses_with(&BUN, &project), uses_with(&DENO, &project)];
    uses.into_iter().for_each(|passed| total.add(Tally::step(passed)));
    total.add(tests::run(&project, &root().join(SERVER).join("test")));
    total
}

/// Copies the server's binary into the package of a platform.
pub(super) fn place_server(binary: &Path, platform: &str) -> io::Result<()> {
    let folder = root().join(SERVER).join("npm").join(platform).join("bin");
    fs::create_dir_all(&folder)?;
    let placed = folder.join("styx");
    // It may be running.
    let _ = fs::remove_file(&placed);
    let copied = fs::copy(binary, &placed);
    if let Err(e) = &copied {
        eprintln!("cannot copy {} to {}: {e}", binary.display(), placed.display());
    }
    copied.map(|_| ())
}

/// Packs the packages, with those of one platform, into an emptied folder.
pub(super) fn packed(platform: &str, into: &Path) -> Option<Packed> {
    let _ = fs::remove_dir_all(into);
    fs::create_dir_all(into).ok()?;
    let mut pack = npm(root());
    pack.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"]).arg(into);
    for package in [CLIENT, SERVER] {
        pack.arg(format!("./{package}")).arg(format!("./{package}/npm/{platform}"));
    }
    if !run("npm pack", &mut pack) {
        return None;
    }
    let version = tools::version()?;
    let file = |name: &str| {
        let path = into.join(format!("{name}-{version}.tgz"));
        if !path.is_file() {
            eprintln!("npm pack has not written {}: is the version the same?", path.display());
            return None;
        }
        Some(path)
    };
    Some(Packed {
        client: file("styx-client")?,
        client_platform: file(&format!("styx-client-{platform}"))?,
        server: file("styx-server")?,
        server_platform: file(&format!("styx-server-{platform}"))?,
    })
}

/// Whether the packages have the right files, and the linters find no fault.
pub(super) fn is_sound(packed: &Packed) -> bool {
    let lint_free = are_lint_free(packed);
    has_only_public_files(&packed.client) && lint_free
}

/// Whether the package has its code, its types and what a reader needs, and no other file.
fn has_only_public_files(package: &Path) -> bool {
    let output = Command::new("tar").arg("-tzf").arg(package).output();
    let Ok(output) = output else { return false };
    let list = String::from_utf8_lossy(&output.stdout);
    let files: Vec<&str> = list.lines().filter_map(|l| l.strip_prefix("package/")).collect();
    let needed = ["LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.mts"];
    let missing: Vec<&&str> = needed.iter().filter(|file| !files.contains(file)).collect();
    let is_compiled = |file: &str| {
        let ends = [".js", ".mjs", ".d.ts", ".d.mts"];
        file.starts_with("dist/") && ends.iter().any(|end| file.ends_with(end))
    };
    let other: Vec<&&str> =
        files.iter().filter(|file| !(needed.contains(file) || is_compiled(file))).collect();
    if !(missing.is_empty() && other.is_empty()) {
        eprintln!("{}: missing: {missing:?}, not expected: {other:?}", package.display());
    }
    missing.is_empty() && other.is_empty()
}

/// Whether publint and "are the types wrong" find no fault in the packages.
fn are_lint_free(packed: &Packed) -> bool {
    [&packed.client, &packed.server].into_iter().all(|package| {
        let lint = |name: &str, call: &[&str]| {
            program(name).is_some_and(|mut lint| run(name, lint.args(call).arg(package)))
        };
        // node16: Node.js that needs `exports`, which all supported versions have.
        lint("publint", &["run", "--strict"])
            && lint("attw", &["--no-emoji", "--no-color", "--profile", "node16"])
    })
}

/// A new project with the packages and the programs of `bindings/node/smoke`. No registry is
/// asked, so a package that depends on others fails.
pub(super) fn installed(packed: &Packed, project: &Path, options: &[&str]) -> Option<PathBuf> {
    let _ = fs::remove_dir_all(project);
    fs::create_dir_all(project).ok()?;
    fs::write(project.join("package.json"), "{\"private\": true}\n").ok()?;
    let mut install = npm(project);
    install.args(["install", "--offline", "--loglevel", "error"]).args(options);
    let Packed { client, client_platform, server, server_platform } = packed;
    install.args([client, client_platform, server, server_platform]);
    if !run("npm install", &mut install) {
        return None;
    }
    for entry in fs::read_dir(self::client().join("smoke")).ok()?.flatten() {
        fs::copy(entry.path(), project.join(entry.file_name())).ok()?;
    }
    Some(project.to_owned())
}

/// Uses the packages from both kinds of modules, and from both kinds in TypeScript.
pub(super) fn uses_with_node(project: &Path) -> bool {
    let Some(mut tsc) = program("tsc") else { return false };
    let types = client().join("node_modules/@types");
    tsc.args(["--project", "."]).arg("--typeRoots").arg(types).current_dir(project);
    let compiled = run("tsc", &mut tsc);
    let programs = ["use.mjs", "use.cjs", "compiled/use.mjs", "compiled/use.cjs"];
    let uses = |name: &&str| {
        let mut node = Command::new("node");
        run(name, node.args(["with-server.mjs", "node", name]).current_dir(project))
    };
    let has_server =
        || run("testing.mjs", Command::new("node").arg("testing.mjs").current_dir(project));
    compiled && programs.iter().all(uses) && has_server()
}

fn uses_with(runtime: &Runtime, project: &Path) -> bool {
    let Some(program) = runtime.program() else { return false };
    let mut command = Command::new(&program);
    command.args(runtime.run).arg("with-server.mjs");
    command.arg(&program).args(runtime.run).arg("use.mjs").current_dir(project);
    let mut has_server = Command::new(&program);
    has_server.args(runtime.run).arg("testing.mjs").current_dir(project);
    run(runtime.name, &mut command) && run(runtime.name, &mut has_server)
}
