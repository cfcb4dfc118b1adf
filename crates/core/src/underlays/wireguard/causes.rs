//! Why a pair fails that talks over a mesh.

use crate::proof::Cause;

/// Rows about the mesh.
pub(crate) const CAUSES: &[Cause] = &[];
