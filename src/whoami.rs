//! Who runs this program, for locks and records.

/// Who runs this, as `user@machine`.
#[must_use]
pub fn whoami() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "someone".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "{user}@{}",
        if machine.trim().is_empty() {
            "somewhere"
        } else {
            machine.trim()
        }
    )
}
