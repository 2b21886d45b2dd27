//! Many schedules, their sum, and the story of the first that fails: the program azslurm-prove.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cells::{self, AttemptCell, NodeCell};
use crate::ledgers::Yard;
use crate::run::{Outcome, Wish};
use crate::scene::Scene;
use crate::script::{Step, Taste};
use crate::{schedule, script_of, shrink};
use clap::Parser;

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// So many failing seeds are kept.
const FAILURES_MAX: usize = 20;

/// Runs azslurm's own logic through simulated clusters with crashes, lies and losses.
#[derive(Debug, Parser)]
#[command(name = "azslurm-prove")]
pub struct Arguments {
    /// How many schedules
    #[arg(long, default_value_t = 1000)]
    schedules: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: u64,
    #[command(flatten)]
    taste: Taste,
    /// Run one seed, or with --scenes the scene of this number, and tell its story
    #[arg(long)]
    replay: Option<u64>,
    /// Before the schedules every scene: each cell of the decision matrices, laid by hand (see
    /// scene.rs)
    #[arg(long)]
    scenes: bool,
    /// Do not make a failing script shorter before it is told
    #[arg(long)]
    whole: bool,
    /// End with the first that fails, without a story
    #[arg(long)]
    first: bool,
    /// Where ledgers are made: a file system in memory
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// Let passes follow each other closely, note which cells of the decision matrices they meet,
    /// and write to this file which ones they do not meet
    #[arg(long)]
    cells: Option<PathBuf>,
}

/// What is run: a script of chance, or a scene by its number.
#[derive(Debug, Clone, Copy)]
enum Case {
    Seed(u64),
    Scene(u64),
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Seed(seed) => write!(f, "seed {seed}"),
            Case::Scene(number) => write!(f, "scene {number}"),
        }
    }
}

impl Case {
    /// The seed of what a script leaves to chance, and the script.
    fn script(self, taste: &Taste) -> (u64, Vec<Step>) {
        match self {
            Case::Seed(seed) => (seed, script_of(seed, taste)),
            Case::Scene(number) => (number, self.scene().map(Scene::steps).unwrap_or_default()),
        }
    }

    fn scene(self) -> Option<Scene> {
        match self {
            Case::Seed(_) => None,
            Case::Scene(number) => Scene::all().get(usize::try_from(number).ok()?).copied(),
        }
    }

    /// Runs it. A scene that no pass has met proves nothing.
    fn run(self, taste: &Taste, wish: Wish, yard: &mut Yard) -> Outcome {
        let (seed, steps) = self.script(taste);
        let is_looked_at = wish.is_looked_at || self.scene().is_some();
        let mut outcome = schedule(seed, &steps, Wish { is_looked_at, ..wish }, yard);
        if let Some(scene) = self.scene().filter(|_| outcome.broken.is_empty()) {
            outcome.broken = scene.missed(&outcome);
        }
        outcome
    }
}

/// The cells of both matrices that passes met.
#[derive(Default)]
struct Met {
    attempts: BTreeSet<AttemptCell>,
    nodes: BTreeSet<NodeCell>,
}

#[derive(Default)]
struct Sum {
    failed: Vec<(Case, String)>,
    by_schedules: Met,
    by_scenes: Met,
    processes: usize,
}

impl Sum {
    fn add(&mut self, case: Case, outcome: Outcome) {
        self.processes += outcome.processes;
        let met = match case {
            Case::Seed(_) => &mut self.by_schedules,
            Case::Scene(_) => &mut self.by_scenes,
        };
        met.attempts.extend(outcome.seen.attempts.into_inner());
        met.nodes.extend(outcome.seen.nodes.into_inner());
        if let Some(what) = outcome.broken.into_iter().next() {
            eprintln!("{case}: {what}");
            self.failed.push((case, what));
        }
    }
}

/// How far a run is. Each thread takes the next case when it has ended one: they differ much.
#[derive(Default)]
struct Course {
    taken: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
    sum: Mutex<Sum>,
}

/// Runs what was asked for; the exit code says whether no law was broken.
pub fn prove(arguments: &Arguments) -> ExitCode {
    // A panic is a broken law like any other, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(number) = arguments.replay {
        let case = if arguments.scenes { Case::Scene(number) } else { Case::Seed(number) };
        return tell(case, arguments);
    }
    let begun = Instant::now();
    let scenes = if arguments.scenes { Scene::all().len() as u64 } else { 0 };
    let all = scenes + arguments.schedules;
    let course = Course::default();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| work((arguments, scenes), &course));
        }
        scope.spawn(|| say(&course, (begun, all)));
    });
    let sum = course.sum.into_inner().expect("whoever panics with it ends the run");
    let (schedules, seconds) = (course.done.into_inner(), begun.elapsed().as_secs_f64());
    if scenes > 0 {
        println!("{scenes} scenes before them, which lay each cell of the decision matrices");
    }
    println!(
        "{} schedules from seed {} in {seconds:.0} s, {} processes, {} violations",
        schedules.saturating_sub(scenes),
        arguments.seed,
        sum.processes,
        sum.failed.len(),
    );
    if let Some(path) = &arguments.cells {
        tell_cells(path, &sum);
    }
    for (case, what) in &sum.failed {
        println!("{case}: {what}");
    }
    match sum.failed.first() {
        None => ExitCode::SUCCESS,
        Some(_) if arguments.first => ExitCode::FAILURE,
        Some((case, _)) => tell(*case, arguments),
    }
}

fn work((arguments, scenes): (&Arguments, u64), course: &Course) {
    let wish = Wish { is_told: false, is_looked_at: arguments.cells.is_some() };
    let mut yard = Yard::new(&arguments.folder);
    let all = scenes + arguments.schedules;
    while !course.is_over.load(Ordering::Relaxed) {
        let number = course.taken.fetch_add(1, Ordering::Relaxed);
        let case = match number.checked_sub(scenes) {
            _ if number >= all => return,
            None => Case::Scene(number),
            Some(number) => Case::Seed(arguments.seed + number),
        };
        let outcome = case.run(&arguments.taste, wish, &mut yard);
        let mut sum = course.sum.lock().expect("whoever panics with it ends the run");
        sum.add(case, outcome);
        let is_enough = sum.failed.len() >= if arguments.first { 1 } else { FAILURES_MAX };
        drop(sum);
        course.done.fetch_add(1, Ordering::Relaxed);
        if is_enough {
            course.is_over.store(true, Ordering::Relaxed);
        }
    }
}

fn say(course: &Course, (begun, of): (Instant, u64)) {
    let mut said = Instant::now();
    let done = || course.done.load(Ordering::Relaxed);
    while done() < of && !course.is_over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let count = done();
            eprintln!("{count} of {of} schedules after {} s", begun.elapsed().as_secs());
        }
    }
}

/// Tells the story of a seed, as short as it can be made, or of a scene.
fn tell(case: Case, arguments: &Arguments) -> ExitCode {
    let mut yard = Yard::new(&arguments.folder);
    let told = Wish { is_told: true, is_looked_at: arguments.cells.is_some() };
    let (seed, whole) = case.script(&arguments.taste);
    let mut outcome = case.run(&arguments.taste, told, &mut yard);
    let mut steps = whole.clone();
    // A scene without one of its steps is none.
    if !arguments.whole && !outcome.broken.is_empty() && case.scene().is_none() {
        steps = shrink::shrink(seed, &whole, told, &mut yard);
        outcome = schedule(seed, &steps, told, &mut yard);
    }
    println!("\n{case}, {} of its {} steps:", steps.len(), whole.len());
    for step in &steps {
        println!("  {:7.1} s  {:?}", step.at as f64 / 1000.0, step.what);
    }
    println!("\nwhat happened:");
    outcome.story.iter().for_each(|line| println!("{line}"));
    println!("\nbroken:");
    outcome.broken.iter().for_each(|what| println!("  {what}"));
    match outcome.broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What was met of the matrices; what was not goes to a file.
fn tell_cells(path: &Path, sum: &Sum) {
    let mut text = String::new();
    for (by, met) in [("schedules", &sum.by_schedules), ("scenes", &sum.by_scenes)] {
        for (of, sum) in
            [("attempts", cells::attempts(&met.attempts)), ("nodes", cells::nodes(&met.nodes))]
        {
            println!(
                "matrix of {of}, by {by}: {} of {} answers given; {} of {} cells met",
                sum.given, sum.answers, sum.met, sum.cells
            );
            for missing in &sum.missing {
                text.push_str(&format!("{of}: {missing} was not met by {by}\n"));
            }
        }
    }
    if let Err(error) = std::fs::write(path, text) {
        eprintln!("cannot write {}: {error}", path.display());
    }
}
