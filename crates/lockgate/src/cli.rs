//! The command line: every flag, its help and its type. Parsing only records and validates;
//! [`crate::settings`] merges it with the environment.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lockgate_model::ai::CallGroup;

use crate::commands::ai::{Minutes, parse_group, parse_since};

/// Take an application from source to a governed, metered, public endpoint.
#[derive(Debug, Parser)]
#[command(
    name = "lockgate",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Run as if started in this folder.
    #[arg(long, short = 'C', global = true, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// The stack to work on; the selected one when left out.
    #[arg(long, short = 's', global = true, value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Answer every question with yes.
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a project from a template.
    New(New),
    /// Show the changes that `up` would make.
    Preview(Preview),
    /// Bring the stack to what the program says.
    Up(Up),
    /// Remove everything the stack has made.
    Destroy(Destroy),
    /// Read back the true state of every resource.
    Refresh(Destroy),
    /// Take a resource that exists into the stack, and print how a program declares it.
    Import(Import),
    /// Look at the state and edit it: list, show, delete, rename, protect, unprotect, taint, untaint, repair.
    #[command(subcommand)]
    State(State),
    /// Install the packages that the program needs, as its runtime options say.
    Install,
    /// Work with stacks: init, ls, select, rename, rm, output, history, graph, export, import.
    #[command(subcommand)]
    Stack(Stack),
    /// Work with the config of a stack: set, get, ls, rm.
    #[command(subcommand)]
    Config(Config),
    /// Compare `lockgate.lock` with the registries.
    Pin(Pin),
    /// Work with the background node: start, status, stop, logs.
    #[command(subcommand)]
    Node(Node),
    /// Look at AI models: usage.
    #[command(subcommand)]
    Ai(Ai),
    /// Run a node in the foreground.
    Serve(Serve),
    /// Open the node's console in a browser.
    Console(Console),
    /// Print the log of a service.
    Logs(Logs),
    /// Release the lease of a stack whose holder is gone.
    Cancel,
    /// Check what this machine can do and say how to get what is missing.
    Doctor,
    /// Explain a diagnostic code such as LG0208.
    Explain {
        /// The code.
        code: String,
    },
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The template.
    #[arg(value_enum)]
    pub(crate) template: Template,
    /// The folder to make; its name becomes the project's.
    pub(crate) folder: PathBuf,
    /// Name of the project, when it should differ from the folder's.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// What `new` can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// An almost empty YAML program.
    Yaml,
    /// A small HTTP server behind the gateway, with a key and a limit.
    Hello,
}

/// Options that `preview` and `up` share.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// Most provider calls at once.
    #[arg(long, short = 'p', default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) parallel: u32,
    /// Work only on these resources; URNs, `*` and `**` match.
    #[arg(long, short = 't', value_name = "URN")]
    pub(crate) target: Vec<String>,
    /// Leave these resources alone; URNs, `*` and `**` match.
    #[arg(long, value_name = "URN")]
    pub(crate) exclude: Vec<String>,
    /// With `--exclude`: also leave alone what depends on them.
    #[arg(long, requires = "exclude")]
    pub(crate) exclude_dependents: bool,
    /// Replace these resources; URNs, `*` and `**` match.
    #[arg(long, value_name = "URN")]
    pub(crate) replace: Vec<String>,
    /// Go on with independent resources after a failure.
    #[arg(long)]
    pub(crate) continue_on_error: bool,
    /// Read back the true state first.
    #[arg(long, short = 'r')]
    pub(crate) refresh: bool,
    /// Forget creates of earlier runs whose outcome is unknown, instead of repeating them.
    #[arg(long)]
    pub(crate) clear_pending_creates: bool,
    /// Say more: unchanged resources, whole values.
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,
    /// Text kept with the run in the history.
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Allow the run to delete any share of the stack.
    #[arg(long)]
    pub(crate) allow_deletes: bool,
    /// With `--target`: what depends on a target is one, too.
    #[arg(long, requires = "target")]
    pub(crate) target_dependents: bool,
}

impl Default for Run {
    /// What a command line without options gives.
    fn default() -> Self {
        Self {
            parallel: 16,
            target: Vec::new(),
            exclude: Vec::new(),
            exclude_dependents: false,
            replace: Vec::new(),
            continue_on_error: false,
            refresh: false,
            clear_pending_creates: false,
            verbose: false,
            message: None,
            allow_deletes: false,
            target_dependents: false,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Exit with 3 when there are changes.
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Fail if anything would change.
    #[arg(long)]
    pub(crate) expect_no_changes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stack {
    /// Make a stack and select it.
    Init {
        /// Its name.
        name: String,
        /// `passphrase`, or `local` for a key kept under LOCKGATE_HOME.
        #[arg(long, value_name = "KIND")]
        secrets_provider: Option<String>,
    },
    /// List the stacks of the project.
    Ls,
    /// Select the stack that later commands work on.
    Select {
        /// Its name.
        name: String,
    },
    /// Give a stack another name, in its state and its config file, too.
    Rename {
        /// The new name.
        name: String,
    },
    /// Remove a stack; refused while it has resources.
    Rm {
        /// Its name.
        name: String,
        /// Forget resources that still exist.
        #[arg(long)]
        force: bool,
    },
    /// Print the outputs, or one of them.
    Output {
        /// One output.
        name: Option<String>,
        /// Print secrets in clear.
        #[arg(long)]
        show_secrets: bool,
    },
    /// List the runs, newest first.
    History {
        /// Most runs to list.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Draw what depends on what, as a graph in the DOT language.
    Graph {
        /// To this file instead of standard output.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Leave out the lines from parents to children.
        #[arg(long)]
        no_parents: bool,
    },
    /// Write the state as a deployment file.
    Export {
        /// To this file instead of standard output.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Write secrets in clear.
        #[arg(long)]
        show_secrets: bool,
    },
    /// Put a damaged state in order from its backup and journal.
    Repair,
    /// Replace the state by a deployment file.
    Import {
        /// From this file instead of standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Its type, `<package>:<module>:<Name>`.
    #[arg(value_name = "TYPE")]
    pub(crate) type_token: String,
    /// The name it gets.
    pub(crate) name: String,
    /// The id under which its provider knows it.
    pub(crate) id: String,
    /// Its parent: a URN, or a name that only one resource has.
    #[arg(long, value_name = "URN")]
    pub(crate) parent: Option<String>,
    /// The provider resource to use: a URN, or a name that only one resource has.
    #[arg(long, value_name = "URN")]
    pub(crate) provider: Option<String>,
    /// Whether it is protected against deletion until a program says otherwise.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) protect: bool,
    /// Text kept with the run in the history.
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) message: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// List the resources, in the order in which they are kept.
    #[command(visible_alias = "ls")]
    List {
        /// Only these: a URN, a name, or a pattern with `*` and `**`.
        pattern: Option<String>,
    },
    /// Print everything that is kept about a resource.
    Show {
        /// A URN, or a name that only one resource has.
        urn: String,
        /// Print secrets in clear.
        #[arg(long)]
        show_secrets: bool,
    },
    /// Forget resources; they go on existing.
    Delete {
        #[command(flatten)]
        edit: Edit,
        /// Protected ones, too.
        #[arg(long)]
        force: bool,
        /// Also forget what depends on them.
        #[arg(long)]
        target_dependents: bool,
    },
    /// Give a resource another name; the program must use it, too.
    Rename {
        /// A URN, or a name that only one resource has.
        urn: String,
        /// The new name.
        name: String,
        /// Only say what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Protect resources against deletion.
    Protect(Edit),
    /// Allow protected resources to be deleted.
    Unprotect(Edit),
    /// Have resources replaced by the next `up`.
    Taint(Edit),
    /// Take that back.
    Untaint(Edit),
    /// Put a damaged state in order from its backup and journal.
    Repair,
}

/// Which resources an edit is about.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// URNs, names that only one resource has, or patterns with `*` and `**`.
    #[arg(required_unless_present = "all", value_name = "URN")]
    pub(crate) urns: Vec<String>,
    /// Every resource of the stack.
    #[arg(long, conflicts_with = "urns")]
    pub(crate) all: bool,
    /// Only say what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Set a value.
    Set {
        /// `key`, or `namespace:key`.
        key: String,
        /// The value; read from standard input when left out.
        value: Option<String>,
        /// Encrypt it.
        #[arg(long)]
        secret: bool,
    },
    /// Print a value, a secret one in clear.
    Get {
        /// The key.
        key: String,
    },
    /// List all values.
    Ls {
        /// Print secrets in clear.
        #[arg(long)]
        show_secrets: bool,
    },
    /// Remove a value.
    Rm {
        /// The key.
        key: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// Only this one: its reference, its repository, or the last part of that.
    pub(crate) name: Option<String>,
    /// Lock what the registries say now.
    #[arg(long)]
    pub(crate) update: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Start the node in the background.
    Start,
    /// Say whether it runs, and what runs on it.
    Status,
    /// Stop it; its services stop with it unless told otherwise.
    Stop {
        /// Leave services running; the next node adopts them.
        #[arg(long)]
        keep_services: bool,
    },
    /// Print its log.
    Logs {
        /// Last lines to print.
        #[arg(long, short = 'n', default_value_t = 100)]
        lines: usize,
        /// Go on as the log grows.
        #[arg(long, short = 'f')]
        follow: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ai {
    /// Add up calls, tokens and cost.
    Usage {
        /// How far back: minutes, hours or days, such as `90m`, `24h`, `7d`.
        #[arg(long, default_value = "24h", value_name = "TIME", value_parser = parse_since)]
        since: Minutes,
        /// What to add up by: model, vendor, vendor-model, consumer, key, route, operation, status, day.
        #[arg(long, value_delimiter = ',', default_value = "model,vendor,vendor-model", value_name = "WORDS", value_parser = parse_group)]
        by: Vec<CallGroup>,
    },
    /// List calls, newest first.
    Calls {
        /// How far back: minutes, hours or days, such as `90m`, `24h`, `7d`.
        #[arg(long, default_value = "24h", value_name = "TIME", value_parser = parse_since)]
        since: Minutes,
        /// Most calls.
        #[arg(long, short = 'n', default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Settings file; `lockgate.toml` in the home folder when left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Address of the gateway, in place of the settings file's.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Console {
    /// Whether to open a browser where there is a desktop; the link is printed either way.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) open: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// `name`, or `project/stack/name`.
    pub(crate) service: String,
    /// Last lines to print.
    #[arg(long, short = 'n', default_value_t = 100)]
    pub(crate) lines: usize,
    /// Go on as the log grows.
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
}
