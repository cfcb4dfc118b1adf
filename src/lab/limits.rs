//! What hosts in containers share: the kernel of one machine, and its limits. A lab that they do not suffice for comes up by halves, or
//! fails later at something else.

use super::LabError;

/// inotify instances that systemd and its services take on one host, all as the same user (measured).
const INOTIFY_INSTANCES: usize = 8;

/// What else runs on the machine has some as well.
const INOTIFY_OTHERS: usize = 16;

/// Entries in the kernel's one table of neighbours for each pair of hosts: each host's for the other, and those of their containers and
/// networks (3600 with 30 hosts that verify).
const NEIGHBOURS_A_PAIR: usize = 4;

/// The settings of the machine, and what so many hosts need of each.
fn needed(hosts: usize) -> [(&'static str, usize); 2] {
    [
        (
            "fs.inotify.max_user_instances",
            hosts * INOTIFY_INSTANCES + INOTIFY_OTHERS,
        ),
        (
            "net.ipv4.neigh.default.gc_thresh3",
            hosts * hosts * NEIGHBOURS_A_PAIR,
        ),
    ]
}

/// Refuses a lab that is too large for this machine's settings, and says how to change them. What cannot be read is not checked: the
/// engine may be elsewhere.
pub fn check(hosts: usize) -> Result<(), LabError> {
    let read = |setting: &str| {
        let path = format!("/proc/sys/{}", setting.replace('.', "/"));
        std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse().ok())
    };
    let missing = too_small(hosts, read);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(LabError::TooSmall {
            hosts,
            command: missing.join(" "),
        })
    }
}

fn too_small(hosts: usize, read: impl Fn(&str) -> Option<usize>) -> Vec<String> {
    needed(hosts)
        .into_iter()
        .filter(|(setting, needs)| read(setting).is_some_and(|has| has < *needs))
        // A round number, so that the next lab fits as well.
        .map(|(setting, needs)| format!("{setting}={}", needs.next_power_of_two()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_that_is_too_large_for_the_kernel_is_refused_with_what_to_set() {
        let usual = |setting: &str| {
            Some(if setting.starts_with("fs.") {
                128
            } else {
                1024
            })
        };
        assert_eq!(too_small(4, usual), Vec::<String>::new());
        assert_eq!(
            too_small(30, usual),
            [
                "fs.inotify.max_user_instances=256",
                "net.ipv4.neigh.default.gc_thresh3=4096"
            ]
        );
        assert_eq!(too_small(30, |_| None), Vec::<String>::new());
    }
}
