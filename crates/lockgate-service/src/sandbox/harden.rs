//! What B takes from itself before the program runs, so that the program inherits the lack.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::init::single_bits;
use super::spec::Rlimits;
use super::{Step as _, StepError, filter};

/// Lowers the resource limits; a hard limit of the machine stays the upper bound.
pub(super) fn limit(limits: &Rlimits) -> Result<(), StepError> {
    let wanted = [
        (Resource::Core, Some(0)),
        (Resource::Nofile, Some(limits.open_files)),
        (Resource::Nproc, limits.processes),
        (Resource::Data, limits.data_bytes),
    ];
    for (resource, value) in wanted {
        let Some(value) = value else { continue };
        let value = getrlimit(resource).maximum.map_or(value, |m| m.min(value));
        let both = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, both).step("rlimit")?;
    }
    Ok(())
}

/// Drops everything but `kept`, closes the bounding set, forbids new privileges and loads the
/// system call filters. An exec as uid 0 gains nothing after it.
pub(super) fn harden(kept: CapabilitySet) -> Result<(), StepError> {
    clear_ambient_capability_set().step("drop capabilities")?;
    for capability in single_bits(CapabilitySet::all()) {
        // The kernel answers EINVAL from its last capability on.
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {
                remove_capability_from_bounding_set(capability).step("drop capabilities")?;
            }
            Ok(false) => {}
            Err(_) => break,
        }
    }
    keep_only(kept).step("drop capabilities")?;
    set_no_new_privs(true).step("no_new_privs")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("not dumpable")?;
    filter::load().step("seccomp")
}

/// Gives up every capability that is not in `kept`.
pub(super) fn keep_only(kept: CapabilitySet) -> io::Result<()> {
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?)
}
