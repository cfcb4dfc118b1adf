//! What a verification finds, and why a pair fails: from what was observed to a verdict.

pub mod causes;
mod encryption;
mod figures;
mod forgery;
mod known;
mod link;
mod matrix;
mod prices;
mod probes;
mod wire;

pub use causes::Cause;
pub use encryption::Encryption;
pub use figures::{Figures, Measurement};
pub use forgery::Forgery;
pub use known::{HostView, Ill, Known, MeshView, Needs, NotFinished, SIGN_OF_LIFE, StoreView};
pub use link::{Link, REPEATS, Tcp, Way};
pub use matrix::{Changes, Direction, Failure, Layer, Matrix, Pair, Verdict, read};
pub use prices::{Outcome, Price, Prices, WayToConnect};
pub use probes::{Asked, Probes};
pub use wire::{Leak, Wire};
