//! Inventories: the examples hold, and what is wrong is pointed at.

use docker_cluster::inventory::{Colour, Inventory};

fn flaws(source: &str) -> Vec<(usize, String)> {
    match Inventory::parse(source, "cluster.yaml") {
        Ok(_) => Vec::new(),
        Err(error) => {
            let shown = error.render(100, Colour::Off);
            assert!(shown.contains("cluster.yaml"), "the file is named: {shown}");
            error.flaws.iter().map(|flaw| (flaw.line, flaw.message.clone())).collect()
        }
    }
}

fn only_flaw(source: &str) -> (usize, String) {
    let flaws = flaws(source);
    assert_eq!(flaws.len(), 1, "{flaws:?}");
    flaws.into_iter().next().unwrap()
}

#[test]
fn the_examples_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/inventories");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = Inventory::parse(&source, &path.display().to_string()) {
            panic!("{}", error.render(100, Colour::Off));
        }
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn an_unknown_key_is_pointed_at() {
    let (line, message) = only_flaw("hosts:\n  - a\nengin:\n  version: '>=20'\n");
    assert_eq!(line, 3);
    assert!(message.contains("engin"), "{message}");
}

#[test]
fn two_hosts_of_one_name_or_address() {
    let (line, message) = only_flaw("hosts:\n  - {name: a, address: x}\n  - {name: a, address: y}\n");
    assert_eq!((line, message.as_str()), (3, "two hosts are called `a`"));
    let (line, message) = only_flaw("hosts:\n  - {name: a, address: x}\n  - {name: b, address: x}\n");
    assert_eq!((line, message.as_str()), (3, "two hosts have the address `x`"));
}

#[test]
fn a_subnet_that_holds_a_host() {
    let (line, message) = only_flaw("network:\n  subnet: 10.0.0.0/16\nhosts:\n  - 10.0.0.11\n");
    assert_eq!(line, 2);
    assert!(message.contains("overlaps with the address 10.0.0.11"), "{message}");
}

#[test]
fn names_that_could_break_out_are_refused_with_their_line() {
    for name in ["\"a;reboot\"", "\"$(reboot)\"", "\"a b\"", "\"-oProxyCommand=x\"", "\"a\\nb\"", "\"a'b\""] {
        let (line, _) = only_flaw(&format!("hosts:\n  - name: {name}\n    address: x\n"));
        assert_eq!(line, 2, "{name}");
        let found = flaws(&format!("hosts:\n  - x\n  - {name}\n"));
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3], "{name}: {found:?}");
    }
}

#[test]
fn an_error_shows_the_line_with_a_caret_and_what_to_do() {
    let error = Inventory::parse("hosts:\n  - {name: a, address: x, color: red}\n", "cluster.yaml").unwrap_err();
    let shown = error.render(100, Colour::Off);
    assert!(shown.contains("cluster.yaml:2:"), "{shown}");
    assert!(shown.contains("color: red"), "{shown}");
    assert!(shown.contains("help:"), "{shown}");
}

#[test]
fn the_schema_knows_every_part() {
    let schema = Inventory::schema();
    for key in ["hosts", "engine", "store", "network", "smoke", "ssh", "swarm", "kernel", "restart"] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_written_is_no_panic_and_has_a_line(source in "(hosts|cluster|network|  - |: |\\{|\\}|\\[|\\]|a|b|\\n|&x|\\*x|'|\"|[0-9./]|é){0,60}") {
        if let Err(error) = Inventory::parse(&source, "cluster.yaml") {
            proptest::prop_assert!(error.flaws.iter().all(|flaw| flaw.line >= 1));
            proptest::prop_assert!(!error.render(80, Colour::Off).is_empty());
        }
    }
}
