//! The lab: real engines, a real store, real SSH, real overlay traffic.
//!
//! These tests need a Docker engine and are ignored unless asked for; `make test` asks for them. Each is a story on one lab,
//! because what a host has become is what the next command meets.

mod access;
mod compose;
mod everyday;
mod fabrics;
mod fabrics_bgp;
mod fabrics_bridged;
mod fabrics_docker0;
mod fabrics_faults;
mod fabrics_macvlan;
mod fabrics_openvswitch;
mod harness;
mod keep;
mod learn;
mod machine;
mod migrate;
mod overlay;
mod resume;
mod roundtrips;
mod safety;
mod standalone;
mod store;
mod swarm;
mod underlay;
mod untidy;
mod verify;
mod walkthrough;
mod ways;

/// The longest story, under a name by which it begins early: tests run in the order of their names, and at the end it would run alone.
mod faults {
    #[test]
    #[ignore = "needs a Docker engine"]
    fn of_names_and_gossip() {
        super::verify::faults_of_names_and_gossip();
    }
}
