//! The system call filters of the program: first a list of what is known, then what is refused.
//!
//! An unknown call answers ENOSYS, as an older kernel would, so that libc falls back; a refused
//! one answers EPERM. Another architecture, and the x32 numbers, never match the list.

mod calls;

use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Every bit of `clone` that makes a name space.
const NAME_SPACE_BITS: [i32; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    CLONE_NEWTIME,
];
/// Not in libc for every target; `linux/sched.h`.
const CLONE_NEWTIME: i32 = 0x80;

/// Loads both filters into this thread, the refusals last: the newer filter's answer wins.
pub(super) fn load() -> io::Result<()> {
    for program in [allowed(), refused()] {
        let program = program.map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn errno(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

fn compile(
    rules: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules.into_iter().collect(), otherwise, matched, arch)?.try_into()
}

fn allowed() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = calls::ALLOWED.iter().chain(calls::ALLOWED_ARCH);
    compile(
        rules.map(|call| (*call, Vec::new())),
        errno(libc::ENOSYS),
        SeccompAction::Allow,
    )
}

fn refused() -> Result<BpfProgram, seccompiler::BackendError> {
    let name_spaces = NAME_SPACE_BITS
        .iter()
        .map(|bit| {
            let bit = u64::from(bit.unsigned_abs());
            let masked = SeccompCmpOp::MaskedEq(bit);
            let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, masked, bit)?;
            SeccompRule::new(vec![condition])
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rules = calls::REFUSED.iter().map(|call| (*call, Vec::new()));
    compile(
        rules.chain([(libc::SYS_clone, name_spaces)]),
        SeccompAction::Allow,
        errno(libc::EPERM),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_compile_and_do_not_overlap() {
        assert!(allowed().unwrap().len() > 1000);
        assert!(!refused().unwrap().is_empty());
        let both: Vec<_> = calls::REFUSED
            .iter()
            .filter(|call| calls::ALLOWED.contains(call) || calls::ALLOWED_ARCH.contains(call))
            .collect();
        assert!(both.is_empty(), "both allowed and refused: {both:?}");
        assert!(!calls::ALLOWED.contains(&libc::SYS_clone3));
    }
}
