//! New keys for every host of a mesh, one host after the other, while traffic goes on.
