//! What programs may use, feature by feature, run for real in every language and SDK.
//!
//! Features that work are run together, one program per column: in its first and in its second
//! step, so that changes show too. Those that are refused are run one by one on the stack that
//! the others made, which must stay as it is. What comes out of a column is its golden in
//! `tests/compatibility`, and `cargo xtask codegen` makes the page
//! `docs/reference/compatibility.md` of them all. `UPDATE_GOLDEN=1` rewrites; read what it wrote.

mod refused;
mod resources;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lockgate_testkit::languages::{self, Language};
use lockgate_testkit::{Output, World};
use serde_json::Value as Json;

use super::managed;
use crate::support::exe;

/// Something that programs may use.
struct Feature {
    /// Short name; its outputs start with it.
    id: &'static str,
    /// What the table says.
    title: &'static str,
    /// The program: the body of a function. Empty where the language has no form for it, like
    /// the others. `step` is 1 and then 2.
    python: &'static str,
    nodejs: &'static str,
    /// Sections of a program. `@STEP@` is 1 and then 2; lines that end with `# only 1` are there
    /// in the first step only.
    yaml: &'static str,
    expect: Expect,
}

enum Expect {
    /// It has an effect, which this finds in what the two steps left behind.
    Works(fn(&Seen<'_>) -> Result<()>),
    /// It fails with this in the message, before anything was changed.
    Refused(&'static str),
}

/// What is found out about a feature in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    /// It works.
    Yes,
    /// It is refused, cleanly.
    Refused,
    /// The language or the SDK has no form for it.
    Lacks,
    /// It should work and does not; the reason.
    No(String),
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Python,
    OldPython,
    JavaScript,
    TypeScript,
    Nodejs22,
    Yaml,
}

fn all() -> impl Iterator<Item = &'static Feature> {
    let tables = [values::FEATURES, resources::FEATURES, refused::FEATURES];
    tables.into_iter().flatten()
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::OldPython => "python-2023",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Nodejs22 => "nodejs-22",
            Self::Yaml => "yaml",
        }
    }

    const fn language(self) -> Option<Language> {
        match self {
            Self::Python => Some(Language::Python),
            Self::OldPython => Some(Language::OldPython),
            Self::JavaScript | Self::TypeScript => Some(Language::Nodejs),
            Self::Nodejs22 => Some(Language::Nodejs22),
            Self::Yaml => None,
        }
    }

    const fn code(self, feature: &Feature) -> &'static str {
        match self {
            Self::Python | Self::OldPython => feature.python,
            Self::JavaScript | Self::TypeScript | Self::Nodejs22 => feature.nodejs,
            Self::Yaml => feature.yaml,
        }
    }

    /// A world with the packages of the column, another project's stack, and config.
    fn world(self) -> Result<World> {
        let mut world = World::new(exe())?;
        if let Some(language) = self.language() {
            languages::link(exe(), &mut world, language)?;
        }
        world.write("data.txt", "data")?;
        world.write("site/index.html", "site")?;
        world.write("other/Pulumi.yaml", OTHER)?;
        let other = ["--cwd", "other", "--stack", "prod", "up", "--yes"];
        world.run(&other)?.expect(0)?;
        let main = match self {
            Self::TypeScript => "index.ts",
            _ => "index.js",
        };
        world.write("package.json", &format!("{{\"main\": \"{main}\"}}"))?;
        self.write(&world, &[], 1, false)?;
        world.run(&["stack", "init", "dev"])?.expect(0)?;
        for set in [
            ["config", "set", "text", "é"].as_slice(),
            &["config", "set", "count", "3"],
            &["config", "set", "--secret", "token", "CANARY-1"],
        ] {
            world.run(set)?.expect(0)?;
        }
        Ok(world)
    }

    /// Writes the program that uses `features`. A strict one ends with what an SDK lacks; others
    /// note it and go on.
    fn write(self, world: &World, features: &[&Feature], step: u32, strict: bool) -> Result<()> {
        let (runtime, file, text) = match self {
            Self::Yaml => {
                let text = format!("{}{YAML}{}", project("yaml"), yaml(features, step));
                return world.write("Pulumi.yaml", &text);
            }
            Self::Python | Self::OldPython => {
                ("python", "__main__.py", python(features, step, strict))
            }
            Self::TypeScript => (
                "{name: nodejs}",
                "index.ts",
                nodejs(TYPESCRIPT, features, step, strict),
            ),
            Self::JavaScript | Self::Nodejs22 => (
                "{name: nodejs, options: {typescript: false}}",
                "index.js",
                nodejs(JAVASCRIPT, features, step, strict),
            ),
        };
        world.write("Pulumi.yaml", &project(runtime))?;
        world.write(file, &text)
    }
}

fn project(runtime: &str) -> String {
    format!("name: x\nruntime: {runtime}\n{CONFIG}")
}

fn python(features: &[&Feature], step: u32, strict: bool) -> String {
    let strict = if strict { "True" } else { "False" };
    let mut text = format!("{PYTHON}step = {step}\nstrict = {strict}\n");
    for feature in features {
        let body = indented(feature.python);
        let _ = write!(text, "\n@feature('{}')\ndef _(out):\n{body}", feature.id);
    }
    text
}

fn nodejs(head: &str, features: &[&Feature], step: u32, strict: bool) -> String {
    let mut text = format!("{head}{NODEJS}const step = {step};\nconst strict = {strict};\n");
    for feature in features {
        let body = indented(feature.nodejs);
        let _ = write!(
            text,
            "\nfeature('{}', (out) => {{\n{body}}});\n",
            feature.id
        );
    }
    text
}

/// A stack of another project that programs refer to.
const OTHER: &str =
    "name: other\nruntime: yaml\noutputs:\n  host: h.example\n  key: {'fn::secret': CANARY-2}\n";
/// What all projects declare.
const CONFIG: &str = "config:\n  text: {type: string}\n  count: {type: integer}\n  token: {type: string}\n  shape: {type: object, default: {deep: [1, 2]}}\n";
const PYTHON: &str = "\
import pulumi
import pulumi_random as random
import pulumi_command as command
from pulumi import ResourceOptions as Options

class Box(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__('x:index:Box', name, {}, opts)
        pet = random.RandomPet(f'{name}-pet', opts=Options(parent=self))
        self.register_outputs({'pet': pet.id})

def feature(name):
    def run(body):
        try:
            body(lambda key, value: pulumi.export(f'{name}-{key}', value))
        except (AttributeError, TypeError) as error:
            if strict:
                raise
            pulumi.export(f'{name}-lacks', str(error))
    return run

";
const YAML: &str = "\
components:
  Box:
    resources:
      pet: {type: 'random:RandomPet'}
    outputs: {pet: '${pet.id}'}
";
const JAVASCRIPT: &str = "\
const pulumi = require('@pulumi/pulumi');
const random = require('@pulumi/random');
const command = require('@pulumi/command');

class Box extends pulumi.ComponentResource {
    constructor(name, opts) {
";
const TYPESCRIPT: &str = "\
import * as pulumi from '@pulumi/pulumi';
import * as random from '@pulumi/random';
import * as command from '@pulumi/command';

class Box extends pulumi.ComponentResource {
    constructor(name: string, opts?: pulumi.ComponentResourceOptions) {
";
const NODEJS: &str = "
        super('x:index:Box', name, {}, opts);
        const pet = new random.RandomPet(`${name}-pet`, {}, { parent: this });
        this.registerOutputs({ pet: pet.id });
    }
}

const feature = (name, body) => {
    try {
        body((key, value) => { exports[`${name}-${key}`] = value; });
    } catch (error) {
        if (strict || !(error instanceof TypeError)) throw error;
        exports[`${name}-lacks`] = error.message;
    }
};

";

fn indented(body: &str) -> String {
    let lines = body.lines().filter(|line| !line.is_empty());
    lines.map(|line| format!("    {line}\n")).collect()
}

/// The sections of all features, each section once.
fn yaml(features: &[&Feature], step: u32) -> String {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for feature in features {
        let mut section = "";
        for line in feature.yaml.lines().filter(|line| !line.is_empty()) {
            match line.split_once("# only ") {
                Some((_, only)) if only.trim() != step.to_string() => {}
                _ if !line.starts_with(' ') => section = line,
                _ => {
                    let text = sections.entry(section).or_default();
                    let line = line.replace("@STEP@", &step.to_string());
                    let _ = writeln!(text, "{line}");
                }
            }
        }
    }
    let sections = sections.iter();
    sections
        .map(|(head, text)| format!("{head}\n{text}"))
        .collect()
}

/// What two steps of a program left behind.
struct Run {
    state: Json,
    masked: Json,
    clear: Json,
    /// What the second `up` did, in order: operation and name.
    steps: Vec<(String, String)>,
    /// The second plan, as people see it.
    plan: String,
    events: String,
}

/// The same, from the view of one feature.
struct Seen<'r> {
    id: &'static str,
    run: &'r Run,
    plan: &'r str,
}

impl Run {
    fn new(column: Column, world: &World, features: &[&Feature]) -> Result<Self> {
        let up = ["up", "--yes", "--allow-deletes", "--json"];
        column.write(world, features, 1, false)?;
        let first = world.run(&up)?.expect(0)?;
        column.write(world, features, 2, false)?;
        let plan = world.run(&["preview"])?.expect(0)?;
        let second = world.run(&up)?.expect(0)?;
        let outputs = |more: &[&str]| -> Result<Json> {
            let args = [["stack", "output", "--json"].as_slice(), more].concat();
            world.run(&args)?.expect(0)?.json()
        };
        Ok(Self {
            state: world.run(&["stack", "export"])?.expect(0)?.json()?,
            masked: outputs(&[])?,
            clear: outputs(&["--show-secrets"])?,
            steps: done(&second)?,
            plan: plan.data + &plan.talk,
            events: first.data,
        })
    }
}

/// What an `up` did, after its preview.
fn done(output: &Output) -> Result<Vec<(String, String)>> {
    let events = output.json_lines()?;
    let applied = events
        .iter()
        .skip_while(|e| e.get("summaryEvent").is_none());
    let mut steps = Vec::new();
    for event in applied {
        let metadata = &event["resOutputsEvent"]["metadata"];
        if let (Some(op), Some(urn)) = (metadata["op"].as_str(), metadata["urn"].as_str()) {
            let name = urn.rsplit("::").next().unwrap_or_default();
            steps.push((op.to_owned(), name.to_owned()));
        }
    }
    Ok(steps)
}

impl Seen<'_> {
    fn find<'j>(&self, outputs: &'j Json, key: &str) -> Result<&'j Json> {
        let name = format!("{}-{key}", self.id);
        let found = outputs.get(&name);
        found.with_context(|| format!("there is no output `{name}`"))
    }

    /// An output in clear.
    fn output(&self, key: &str) -> Result<&Json> {
        self.find(&self.run.clear, key)
    }

    /// An output as it is shown.
    fn masked(&self, key: &str) -> Result<&Json> {
        self.find(&self.run.masked, key)
    }

    /// A resource of the state.
    fn resource(&self, name: &str) -> Result<&Json> {
        let resources = self.run.state["deployment"]["resources"].as_array();
        let end = format!("::{name}");
        let is = |r: &&Json| r["urn"].as_str().is_some_and(|urn| urn.ends_with(&end));
        let found = resources.into_iter().flatten().find(is);
        found.with_context(|| format!("there is no resource `{name}`"))
    }

    /// Fails unless the second step did exactly this with a resource.
    fn did(&self, name: &str, expected: &[&str]) -> Result<()> {
        let of_it = self.run.steps.iter().filter(|(_, n)| n == name);
        let done: Vec<&str> = of_it.map(|(op, _)| op.as_str()).collect();
        ensure!(
            done == expected,
            "`{name}`: {done:?}, expected {expected:?}"
        );
        Ok(())
    }

    /// Fails unless the second step left a resource as it was.
    fn unchanged(&self, name: &str) -> Result<()> {
        self.resource(name)?;
        let mut steps = self.run.steps.iter();
        let changed = steps.find(|(op, n)| n == name && op != "same");
        ensure!(changed.is_none(), "{changed:?}");
        Ok(())
    }

    /// Fails unless the provider of a resource has this in its reference.
    fn provider(&self, name: &str, part: &str) -> Result<()> {
        let provider = &self.resource(name)?["provider"];
        let has = provider.as_str().is_some_and(|p| p.contains(part));
        ensure!(has, "no `{part}` in {provider}");
        Ok(())
    }

    fn told(&self, text: &str) -> bool {
        self.run.events.contains(text)
    }
}

fn same(found: &Json, expected: &Json) -> Result<()> {
    let number = |json: &Json| json.as_f64();
    let equal = found == expected || (number(found).is_some() && number(found) == number(expected));
    ensure!(equal, "found {found}, expected {expected}");
    Ok(())
}

/// Runs features together; if that fails, one by one, to learn which.
fn try_together(column: Column, features: &[&'static Feature]) -> Result<(World, Vec<Cell>)> {
    let world = column.world()?;
    match Run::new(column, &world, features) {
        Ok(run) => {
            let cells = features.iter().map(|feature| judge(feature, &run));
            Ok((world, cells.collect()))
        }
        Err(error) => match features {
            [_] => Ok((world, vec![Cell::No(first_error(&format!("{error:#}")))])),
            _ => {
                let mut cells = Vec::new();
                for feature in features {
                    cells.extend(try_together(column, &[*feature])?.1);
                }
                Ok((world, cells))
            }
        },
    }
}

fn judge(feature: &Feature, run: &Run) -> Cell {
    let Expect::Works(check) = feature.expect else {
        return Cell::Refused;
    };
    if run.clear.get(format!("{}-lacks", feature.id)).is_some() {
        return Cell::Lacks;
    }
    let seen = Seen {
        id: feature.id,
        run,
        plan: &run.plan,
    };
    match check(&seen) {
        Ok(()) => Cell::Yes,
        Err(error) => Cell::No(error.to_string()),
    }
}

fn first_error(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("error"));
    line.unwrap_or(text).chars().take(200).collect()
}

/// How SDKs say that a program used what they do not have.
const LACKS: [&str; 4] = [
    "has no attribute",
    "unexpected keyword argument",
    "is not a constructor",
    "is not a function",
];

/// Runs a feature that must be refused on a stack that must stay as it is.
fn try_refused(column: Column, world: &World, feature: &Feature) -> Result<Cell> {
    let Expect::Refused(reason) = feature.expect else {
        bail!("`{}` is no refusal", feature.id);
    };
    let before = managed(world)?;
    column.write(world, &[feature], 1, true)?;
    let failed = world.run(&["up", "--yes", "--allow-deletes"])?;
    if LACKS.iter().any(|text| failed.talk.contains(text)) {
        return Ok(Cell::Lacks);
    }
    let after = managed(world)?;
    Ok(if !matches!(failed.code, Some(1 | 2)) {
        Cell::No(format!("exit code {:?}", failed.code))
    } else if failed.time > LIMIT {
        Cell::No(format!("took {:?}", failed.time))
    } else if before != after {
        Cell::No(format!("{before:?} became {after:?}"))
    } else if !failed.talk.contains(reason) || !failed.talk.contains("error[LG") {
        Cell::No(format!("unclear: {}", first_error(&failed.talk)))
    } else {
        Cell::Refused
    })
}

/// Nothing that is refused takes longer, not even on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Fills a column and compares it with its golden.
fn check(column: Column) -> Result<()> {
    let has_form = |f: &&Feature| !column.code(f).is_empty();
    let works = |f: &&Feature| matches!(f.expect, Expect::Works(_));
    let together: Vec<&Feature> = all().filter(has_form).filter(works).collect();
    let (world, found) = try_together(column, &together)?;
    let mut cells: BTreeMap<&str, Cell> = BTreeMap::new();
    cells.extend(together.iter().map(|f| f.id).zip(found));
    for feature in all().filter(has_form).filter(|f| !works(f)) {
        cells.insert(feature.id, try_refused(column, &world, feature)?);
    }
    let mut text = format!("{}\n", sdk(column)?);
    for feature in all() {
        let cell = cells.get(feature.id).unwrap_or(&Cell::Lacks);
        let (word, note) = match cell {
            Cell::Yes => ("yes", ""),
            Cell::Refused => ("refused", ""),
            Cell::Lacks => ("lacks", ""),
            Cell::No(note) => ("no", note.as_str()),
        };
        let note = note.replace(['\t', '\n'], " ");
        let line = format!("{}\t{}\t{word}\t{note}", feature.id, feature.title);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    compare(column, &text)
}

fn compare(column: Column, text: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compatibility");
    let path = folder.join(format!("{}.tsv", column.name()));
    if std::env::var_os("UPDATE_GOLDEN").is_some() && std::env::var_os("CI").is_none() {
        fs_err::create_dir_all(&folder)?;
        return Ok(fs_err::write(path, text)?);
    }
    let golden = fs_err::read_to_string(&path)?;
    let lines = golden.lines().zip(text.lines());
    let changed: Vec<String> = lines
        .filter(|(old, new)| old != new)
        .map(|(old, new)| format!("- {old}\n+ {new}"))
        .collect();
    ensure!(
        golden == text,
        "the table says otherwise; read this, then UPDATE_GOLDEN=1 and `cargo xtask codegen`:\n{}",
        changed.join("\n")
    );
    Ok(())
}

/// What the column is called: its SDK and version, as they are pinned.
fn sdk(column: Column) -> Result<String> {
    let Some(language) = column.language() else {
        return Ok("YAML".to_owned());
    };
    let version = language.sdk_version().context("no pinned SDK")?;
    let what = match column {
        Column::Python => "Python",
        Column::OldPython => "Python, SDK of 2023",
        Column::JavaScript => "JavaScript, Node.js 20",
        Column::TypeScript => "TypeScript, Node.js 20",
        Column::Nodejs22 => "JavaScript, Node.js 22",
        Column::Yaml => "YAML",
    };
    Ok(format!("{what} ({version})"))
}

#[test]
fn the_table_is_true_for_python() -> Result<()> {
    check(Column::Python)
}

#[test]
fn the_table_is_true_for_python_of_2023() -> Result<()> {
    check(Column::OldPython)
}

#[test]
fn the_table_is_true_for_javascript() -> Result<()> {
    check(Column::JavaScript)
}

#[test]
fn the_table_is_true_for_typescript() -> Result<()> {
    check(Column::TypeScript)
}

#[test]
fn the_table_is_true_for_nodejs_22() -> Result<()> {
    check(Column::Nodejs22)
}

#[test]
fn the_table_is_true_for_yaml() -> Result<()> {
    check(Column::Yaml)
}
