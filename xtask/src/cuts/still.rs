//! The files as they are at every stop of one run, before each system call and after it: what a kill at that instant leaves, for the processes
//! hold still. Each state that is different from the others is recovered.

use super::Result;
use super::campaign::{Tally, name};
use super::scenario::Scenario;
use super::stage::{Stage, Tree};
use super::stepper::{self, Action, Call, Watch};
use std::collections::HashMap;
use std::sync::Mutex;

/// A state, and at how many stops it was seen.
struct State {
    tree: Tree,
    first: usize,
    stops: usize,
}

/// Runs the operation once and recovers from each state.
pub(super) fn run(stage: &Stage, scenario: &Scenario, tally: &Mutex<Tally>) -> Result<()> {
    stage.restore(&scenario.start)?;
    let states = states(stage, scenario)?;
    let stops: usize = states.iter().map(|state| state.stops).sum();
    println!("{}: {stops} stops, {} different states", scenario.name, states.len());
    for state in states {
        stage.restore(&state.tree)?;
        let result = scenario.recover(stage).map(name).map_err(|why| format!("{} at call {}: {why}", scenario.name, state.first));
        tally.lock().map_err(|_| "a worker died")?.add_all(scenario.name, state.stops, result);
    }
    Ok(())
}

fn states(stage: &Stage, scenario: &Scenario) -> Result<Vec<State>> {
    let (mut states, mut known, mut trouble) = (Vec::<State>::new(), HashMap::new(), None);
    let mut look = |call: &Call| -> Result<()> {
        let tree = stage.tree()?;
        let number = *known.entry(stage.left(&tree)?).or_insert(states.len());
        match states.get_mut(number) {
            Some(state) => state.stops += 1,
            None => states.push(State { tree, first: call.index, stops: 1 }),
        }
        Ok(())
    };
    let mut decide = |call: &Call| {
        trouble = trouble.take().or(look(call).err());
        Action::Go
    };
    stepper::run(stage, scenario.arguments, &mut Watch { decide: &mut decide, orphaned: &mut || {} })?;
    trouble.map_or(Ok(states), Err)
}
