//! What the kernel says of a process.

use std::fs;

/// Resident memory, in bytes.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(field(&status, "VmRSS:")? << 10)
}

/// How often its threads have gone to sleep, which is how often they woke up.
pub(crate) fn sleeps(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        field(&status, "voluntary_ctxt_switches:")
    };
    Some(threads.flatten().filter_map(of).sum())
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_sleeps() {
        let pid = std::process::id();
        assert!(memory(pid) > Some(1 << 16));
        assert!(sleeps(pid).is_some());
    }

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let status = "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t3\nVmRSS:\t  12 kB\n";
        assert_eq!(
            (field(status, "voluntary_ctxt_switches:"), field(status, "VmRSS:")),
            (Some(3), Some(12))
        );
    }
}
