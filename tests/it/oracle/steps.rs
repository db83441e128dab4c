//! A step is called once, unless its workload was told that it had been interrupted; and not at all
//! once it has given its result.

use std::collections::BTreeMap;

use sessionkeeper::SessionId;

use super::ledger::{Did, Entry, Ledger};

#[derive(Default)]
struct Seen {
    called: bool,
    given: bool,
}

pub(super) fn judge(ledger: &Ledger, wrong: &mut Vec<String>) {
    let mut steps: BTreeMap<(SessionId, u64, u64), Seen> = BTreeMap::new();
    for entry in &ledger.0 {
        let Entry::Run { session, did, .. } = entry else { continue };
        match did {
            Did::Call { input, step, told } => {
                let seen = steps.entry((*session, *input, *step)).or_default();
                if seen.given {
                    wrong.push(format!(
                        "session {session}: step {step} of input {input} was called after it had given its result"
                    ));
                }
                if seen.called && !told {
                    wrong.push(format!(
                        "session {session}: step {step} of input {input} was called again unasked"
                    ));
                }
                seen.called = true;
            }
            Did::CallFailed { input, step } => {
                steps.entry((*session, *input, *step)).or_default().called = false;
            }
            Did::Given { input, step } => {
                steps.entry((*session, *input, *step)).or_default().given = true;
            }
            Did::Begin
            | Did::Take { .. }
            | Did::Emit(_)
            | Did::Spend(_)
            | Did::Commit { .. }
            | Did::Bear { .. }
            | Did::Bore { .. }
            | Did::ChildEnded { .. }
            | Did::Sleep
            | Did::RollOver { .. }
            | Did::End
            | Did::BeginClose
            | Did::EndClose => {}
        }
    }
}
